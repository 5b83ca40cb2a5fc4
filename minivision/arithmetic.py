"""Arithmetic on Tensors: + − · / @, powers, reductions and reshaping, each an op of a few lines.

Shapes broadcast as NumPy's do. Where an operand was stretched, its gradient is summed over the copies:
if z = x + y and y was repeated along an axis, every copy passes its dz back to the one y.
"""

import numpy as np

from minivision.backend import array_module
from minivision.tensor import Tensor, op


def unbroadcast(dz, x):
    """Sum dz (shape of the result) over the axes along which x was repeated: the transpose of broadcasting."""
    shape = np.shape(x)
    dz = dz.sum(axis=tuple(range(dz.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and dz.shape[i] != 1)
    return dz.sum(axis=stretched, keepdims=True) if stretched else dz


@op
def add(x, y):
    """z = x + y      dx = dz      dy = dz"""
    return x + y, lambda dz: (lambda: unbroadcast(dz, x), lambda: unbroadcast(dz, y))


@op
def subtract(x, y):
    """z = x − y      dx = dz      dy = −dz"""
    return x - y, lambda dz: (lambda: unbroadcast(dz, x), lambda: unbroadcast(-dz, y))


@op
def multiply(x, y):
    """z = x·y, entry by entry      dx = y·dz      dy = x·dz"""
    return x * y, lambda dz: (lambda: unbroadcast(dz * y, x), lambda: unbroadcast(dz * x, y))


@op
def divide(x, y):
    """z = x / y      dx = dz / y      dy = −x·dz / y²"""
    return x / y, lambda dz: (lambda: unbroadcast(dz / y, x), lambda: unbroadcast(-dz * x / (y * y), y))


@op
def power(x, *, exponent):
    """z = xⁿ, n a constant      dx = n·xⁿ⁻¹·dz"""
    return x ** exponent, lambda dz: (dz * exponent * x ** (exponent - 1),)


@op
def matmul(x, y):
    """z = x @ y: (…,I,J) @ (…,J,K) → (…,I,K)      dx = dz·yᵀ      dy = xᵀ·dz"""
    if np.ndim(x) < 2 or np.ndim(y) < 2:
        raise ValueError(f"matmul takes matrices; got shapes {np.shape(x)} and {np.shape(y)}: reshape the vector")
    return x @ y, lambda dz: (lambda: unbroadcast(dz @ y.swapaxes(-1, -2), x),
                              lambda: unbroadcast(x.swapaxes(-1, -2) @ dz, y))


@op
def exp(x):
    """y = eˣ      dx = y·dy"""
    y = array_module(x).exp(x)
    return y, lambda dy: (dy * y,)


@op
def log(x):
    """y = ln x      dx = dy / x"""
    return array_module(x).log(x), lambda dy: (dy / x,)


def spread(dy, x, axis, keepdims):
    """dy of a reduction, with the reduced axes put back so that it broadcasts against x."""
    if axis is not None and not keepdims:
        dy = array_module(dy).expand_dims(dy, axis)
    return array_module(dy).broadcast_to(dy, x.shape)


@op
def reduce_sum(x, *, axis=None, keepdims=False):
    """y = Σ x over the axes      dx = dy, copied along them"""
    return x.sum(axis=axis, keepdims=keepdims), lambda dy: (spread(dy, x, axis, keepdims),)


@op
def reduce_mean(x, *, axis=None, keepdims=False):
    """y = (1/n) Σ x over the axes      dx = dy / n, copied along them"""
    y = x.mean(axis=axis, keepdims=keepdims)
    return y, lambda dy: (spread(dy / (x.size // max(1, y.size)), x, axis, keepdims),)


@op
def reduce_max(x, *, axis=None, keepdims=False):
    """y = max x over the axes      dx = dy at the largest entry; equal largest entries share dy equally"""
    y = x.max(axis=axis, keepdims=True)

    def backward(dy):
        largest = x == y
        return (spread(dy, x, axis, keepdims) * largest / largest.sum(axis=axis, keepdims=True, dtype=x.dtype),)

    return (y if keepdims else y.squeeze(axis) if axis is not None else y.reshape(())), backward


@op
def reshape(x, *, shape):
    """y has x's entries in another shape; dx has dy's entries in x's shape."""
    return x.reshape(shape), lambda dy: (dy.reshape(x.shape),)


@op
def transpose(x, *, axes):
    """y's axis i is x's axis axes[i]; dx undoes the permutation."""
    return x.transpose(axes), lambda dy: (dy.transpose([axes.index(i) for i in range(x.ndim)]),)


@op
def getitem(x, *, index):
    """y = x[index]; dx is zero but where the index reached, and an entry taken twice receives both its dy."""
    parts = index if isinstance(index, tuple) else (index,)
    only_slices = all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in parts)

    def backward(dy):
        xp = array_module(x)
        dx = xp.zeros_like(x)
        if only_slices:             # they take no entry twice
            dx[index] = dy
        else:
            xp.add.at(dx, index, dy)
        return (dx,)

    return x[index], backward


def reflected(f):
    return lambda x, y: f(y, x)


def normal_axes(x, axes):
    """Axes as `x.transpose(2, 0, 1)`, `x.transpose((2, 0, 1))` or `x.transpose()` give them, counted from 0."""
    axes = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
    return [i % x.ndim for i in axes] if axes else list(range(x.ndim))[::-1]


Tensor.__add__, Tensor.__radd__ = add, reflected(add)
Tensor.__sub__, Tensor.__rsub__ = subtract, reflected(subtract)
Tensor.__mul__, Tensor.__rmul__ = multiply, reflected(multiply)
Tensor.__truediv__, Tensor.__rtruediv__ = divide, reflected(divide)
Tensor.__matmul__, Tensor.__rmatmul__ = matmul, reflected(matmul)
Tensor.__neg__ = lambda x: subtract(0, x)
Tensor.__pow__ = lambda x, n: power(x, exponent=n)
Tensor.__getitem__ = lambda x, index: getitem(x, index=index)
Tensor.exp, Tensor.log, Tensor.sum, Tensor.mean, Tensor.max = exp, log, reduce_sum, reduce_mean, reduce_max
Tensor.reshape = lambda x, *shape: reshape(x, shape=shape[0] if isinstance(shape[0], (tuple, list)) else shape)
Tensor.transpose = lambda x, *axes: transpose(x, axes=normal_axes(x, axes))
