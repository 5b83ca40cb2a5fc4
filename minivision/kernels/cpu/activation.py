"""ReLU and its relatives in one pass forwards and one backwards; NumPy's dy·(y > 0) makes three."""

import numpy as np

from minivision.kernels import activation
from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.threads import split


@compiled
def rectify(x, y, lo, hi):
    x, y, zero = x[lo:hi], y[lo:hi], x.dtype.type(0)
    for i in range(hi - lo):
        y[i] = zero if x[i] < zero else x[i]


@compiled
def pass_where_positive(dy, y, dx, lo, hi):
    dy, y, dx, zero = dy[lo:hi], y[lo:hi], dx[lo:hi], y.dtype.type(0)
    for i in range(hi - lo):
        dx[i] = dy[i] if y[i] > zero else zero


@compiled
def bend_some(x, y, slope, most, lo, hi):
    x, y, zero, flat = x[lo:hi], y[lo:hi], x.dtype.type(0), slope == 0
    for i in range(hi - lo):
        v = x[i] if x[i] > zero else zero if flat and x[i] < zero else slope * x[i]         # 0·∞ would be NaN
        y[i] = most if v > most else v


@compiled
def pass_bent(dy, y, dx, slope, most, lo, hi):
    dy, y, dx, zero = dy[lo:hi], y[lo:hi], dx[lo:hi], y.dtype.type(0)
    for i in range(hi - lo):
        dx[i] = (dy[i] if y[i] < most else zero) if y[i] > zero else slope * dy[i]


def in_parts(f, arrays, *numbers):
    """The result of f(arrays …, result, numbers …, lo, hi) over flat arrays of one shape, shared out among the threads."""
    arrays = [np.asarray(a, order="C") for a in arrays]
    result = np.empty(arrays[0].shape, arrays[0].dtype)
    flat = [a.reshape(-1) for a in (*arrays, result)]
    split(result.size, lambda lo, hi: f(*flat, *map(result.dtype.type, numbers), lo, hi), least=100_000)
    return result


@activation.relu.on("cpu")
def relu(x):
    return in_parts(rectify, (x,))


@activation.relu_gradient.on("cpu")
def relu_gradient(dy, y):
    return in_parts(pass_where_positive, (dy, y))


@activation.bend.on("cpu")
def bend(x, slope, most):
    return in_parts(bend_some, (x,), slope, most)


@activation.bend_gradient.on("cpu")
def bend_gradient(dy, y, slope, most):
    return in_parts(pass_bent, (dy, y), slope, most)
