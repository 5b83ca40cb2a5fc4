"""Reverse-mode differentiation: the tape (反向传播, F14c).

An op is a function on plain arrays that returns its value and its backward:

    y, backward = f(x, w)             backward(dy) -> (dx, dw)

where, for a scalar loss far downstream, dy = ∂loss/∂y is given and dx = ∂loss/∂x is asked: dx = Jᵀ·dy with J the
Jacobian of f. `@op` lifts such a function to Tensors; `Tensor.backward()` chains the backwards in reverse order.

Arguments before the star of an op's signature are differentiated, arguments after it are options.
An entry of the tuple that `backward` returns is an array, None (no gradient: labels, boxes), or a function without
arguments that computes the array: the tape calls it only if somebody wants that gradient.
"""

import inspect
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from itertools import count

import numpy as np

from minivision.backend import array_module, device_of, to_device

__all__ = ["Tensor", "op", "vjp", "no_grad"]

births = count()
recording = ContextVar("recording", default=True)
tracer = ContextVar("tracer", default=None)     # if set, told of every op: tracer(op, inputs, options, result); see onnx_export


class Tensor:
    """An array that remembers which op made it, and from what.

    data            the array (NumPy or CuPy)
    requires_grad   True on a leaf whose gradient is wanted, and on all that is computed from it
    grad            after `backward()`, on leaves only: ∂loss/∂data, an array of the same shape
    """

    __slots__ = ("data", "requires_grad", "grad", "parents", "backward_of_op", "made_by", "birth", "__weakref__")
    __array_ufunc__ = None      # array * Tensor is Tensor.__rmul__, not an array of Tensors

    def __init__(self, data, requires_grad=False):
        if isinstance(data, Tensor):
            raise ValueError("this is a Tensor already; Tensor(x.data) makes a new leaf")
        self.data = data if hasattr(data, "dtype") and hasattr(data, "shape") else np.asarray(data)
        if self.data.dtype.kind not in "fiub":
            raise ValueError(f"a Tensor holds numbers; this array has dtype {self.data.dtype}")
        if requires_grad and self.data.dtype.kind != "f":
            raise ValueError(f"only float arrays have gradients; this one is {self.data.dtype}")
        self.requires_grad, self.grad = requires_grad, None
        self.parents, self.backward_of_op, self.made_by = (), None, None
        self.birth = next(births)

    def backward(self, dy=None):
        """Add ∂self/∂leaf to the `.grad` of every leaf that self was computed from.

        Walks from the youngest tensor to the oldest: a tensor is younger than all it was made from, so by the time
        its turn comes every contribution to its gradient has been added. dy: ∂loss/∂self, needed unless self is a
        single number.
        """
        pending = {self: first_gradient(self, dy)}
        for t in sorted(ancestry(self), key=lambda t: t.birth, reverse=True):
            dy = pending.pop(t)
            if t.backward_of_op is None:
                t.grad = dy if t.grad is None else t.grad + dy
                continue
            for x, dx in zip(t.parents, gradients_of(t.made_by, t.backward_of_op, dy, len(t.parents))):
                if x is not None:
                    dx = wanted_gradient(t.made_by, dx, x)
                    pending[x] = pending[x] + dx if x in pending else dx    # not +=: others may hold it

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    device = property(lambda self: device_of(self.data))

    def to(self, device):
        """The same values as a new leaf on "cpu" or "gpu"."""
        return Tensor(to_device(self.data, device), self.requires_grad)

    def item(self):
        return self.data.item()

    def __len__(self):
        return len(self.data)

    def __array__(self, *_, **__):
        raise TypeError("a Tensor is not an array: take its .data")

    def __repr__(self):
        origin = f", made by {self.made_by}" if self.made_by else ", requires_grad" if self.requires_grad else ""
        return f"Tensor({np.array2string(self.data, threshold=20, prefix='Tensor(')}, {self.dtype}{origin})"


def first_gradient(t, dy):
    """dy as an array like t's data, by default 1 for a single number; ValueError where backward() cannot start."""
    if not t.requires_grad:
        raise ValueError("nothing here requires a gradient: was it computed under no_grad, or from plain arrays?")
    if dy is None and t.size != 1:
        raise ValueError(f"backward() starts from a single number; this has shape {t.shape}: give it dy")
    dy = array_module(t.data).asarray(1.0 if dy is None else dy, t.dtype)
    if dy.shape != t.shape and not dy.size == t.size == 1:
        raise ValueError(f"dy has shape {dy.shape}, the tensor {t.shape}")
    return dy.reshape(t.shape)


def wanted_gradient(name, dx, x):
    """The gradient that an op's backward gives for x: computed now if it was put off, and checked against x's shape."""
    dx = dx() if callable(dx) else dx
    if dx is None or dx.shape != x.shape:
        found = None if dx is None else dx.shape
        raise ValueError(f"{name}: backward returned {found} for an argument of shape {x.shape}")
    return dx


def gradients_of(name, backward, dy, n):
    """What a backward returns, checked to be a tuple with at least one entry for each of n arguments."""
    gradients = backward(dy)
    if not isinstance(gradients, tuple) or len(gradients) < n:
        what = f"{len(gradients)} entries" if isinstance(gradients, tuple) else f"a {type(gradients).__name__}"
        raise ValueError(f"{name}: backward returned {what}; expected a tuple with one entry for each of {n} argument(s)")
    return gradients[:n]


def ancestry(t):
    """t and every tensor it was computed from that wants a gradient, each once. No recursion: nets are deep."""
    seen, stack = {t}, [t]
    while stack:
        new = {x for x in stack.pop().parents if x is not None} - seen
        seen |= new
        stack.extend(new)
    return seen


def op(f):
    """Lift f(*arrays, **options) -> (y, backward) from arrays to Tensors. `f` itself stays at `.__wrapped__`."""
    signature = inspect.signature(f)
    positional = [p.name for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]

    @wraps(f)
    def lifted(*inputs, **options):
        if any(name in options for name in positional):                 # conv2d(x, w, b=b): put b in its place
            bound = signature.bind(*inputs, **options)
            bound.apply_defaults()
            inputs, options = bound.args, bound.kwargs
        arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
        for name, value in options.items():
            if isinstance(value, Tensor):
                raise ValueError(f"{f.__name__}: option {name} is a Tensor, but options are not differentiated")
        y, backward = f(*arrays, **options)
        result = Tensor(y)
        if recording.get():
            parents = tuple(x if isinstance(x, Tensor) and x.requires_grad else None for x in inputs)
            if any(x is not None for x in parents):
                result.requires_grad, result.parents, result.backward_of_op = True, parents, backward
                result.made_by = f.__name__
        if trace := tracer.get():
            trace(lifted, inputs, options, result)
        return result

    lifted.is_op = True
    return lifted


def vjp(f, *arrays, **options):
    """Value and backward of f at plain arrays: `y, backward = vjp(conv2d, x, w, b, stride=2)`.

    f is an op, a plain function that returns (y, backward), or a function from Tensors to a Tensor. `backward(dy)`
    returns one gradient per array: Jᵀ·dy (vjp: vector–Jacobian product), None for those that are not differentiated.
    """
    result = on_arrays(f, arrays, options)
    if isinstance(result, tuple) and len(result) == 2 and callable(result[1]):
        y, backward = result
        name = getattr(f, "__name__", type(f).__name__)

        def checked(dy):
            if np.shape(dy) != np.shape(y):
                raise ValueError(f"{name}: dy has shape {np.shape(dy)}, the value {np.shape(y)}")
            return tuple(dx() if callable(dx) else dx for dx in gradients_of(name, backward, dy, len(arrays)))

        return y, checked
    leaves = [Tensor(x, requires_grad=True) if getattr(x, "dtype", np.dtype("O")).kind == "f" else x for x in arrays]
    y = f(*leaves, **options)
    if not isinstance(y, Tensor):
        raise ValueError(f"{getattr(f, '__name__', f)} returned {type(y).__name__}; expected (y, backward) or a Tensor")

    def backward(dy):
        for leaf in leaves:
            if isinstance(leaf, Tensor):
                leaf.grad = None
        if y.requires_grad:
            y.backward(dy)
        return tuple(None if not isinstance(x, Tensor) else x.data * 0 if x.grad is None else x.grad for x in leaves)

    return y.data, backward


def on_arrays(f, arrays, options):
    """What f returns for plain arrays, or None if it is written for Tensors."""
    if getattr(f, "is_op", False):
        return f.__wrapped__(*arrays, **options)
    try:
        return f(*arrays, **options)
    except AttributeError:          # x.exp(), x.relu(): methods that only a Tensor has
        return None


@contextmanager
def no_grad():
    """Inside `with no_grad():` nothing is recorded: evaluation needs no memory for a backward pass."""
    token = recording.set(False)
    try:
        yield
    finally:
        recording.reset(token)


import minivision.arithmetic  # noqa: E402, F401  (+, @, sum … are ops like any other; they attach themselves to Tensor)
