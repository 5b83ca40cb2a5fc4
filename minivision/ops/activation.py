"""Activation functions (激活函数): f in y = f(Wx + b), entry by entry, and softmax over an axis."""

from math import inf

from minivision.backend import array_module, floats
from minivision.kernels import activation as kernels
from minivision.tensor import op


@op
def relu(x):
    """y = max(x, 0)      dx = dy where x > 0, else 0      any shape

    At x = 0 there is no derivative; we take 0, as everybody does (Nair and Hinton, ICML 2010).
    The output tells where the input was positive, so the backward pass keeps y, which the next layer keeps anyway.
    """
    floats(x=x)
    y = kernels.relu(x)
    return y, lambda dy: (kernels.relu_gradient(dy, y),)


@op
def leaky_relu(x, *, slope=0.01):
    """y = x where x > 0, else slope·x      dx = dy where x > 0, else slope·dy      (Maas et al., ICML workshop 2013)

    With slope ≥ 0 the output has the sign of the input, so the backward pass keeps y alone.
    """
    floats(x=x)
    if slope < 0:
        raise ValueError(f"slope is {slope}; expected a number ≥ 0")
    y = kernels.bend(x, slope, inf)
    return y, lambda dy: (kernels.bend_gradient(dy, y, slope, inf),)


@op
def relu6(x):
    """y = min(max(x, 0), 6)      dx = dy where 0 < x < 6, else 0      any shape      (Sandler et al., CVPR 2018, §4: MobileNetV2)

    The ceiling keeps activations in a range that few bits can hold.
    """
    floats(x=x)
    y = kernels.bend(x, 0, 6)
    return y, lambda dy: (kernels.bend_gradient(dy, y, 0, 6),)


def stable_sigmoid(x):
    """1 / (1 + e⁻ˣ), taking only e^(−|x|), which never overflows: for x < 0 the formula is e^x / (1 + e^x)."""
    xp = array_module(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype, copy=False)


@op
def sigmoid(x):
    """y = 1 / (1 + e⁻ˣ)      dx = y·(1 − y)·dy      any shape"""
    y = stable_sigmoid(x)
    return y, lambda dy: (dy * y * (1 - y),)


def stable_softmax(x, axis):
    """e^x / Σ e^x. Subtracting the largest x changes nothing, since it cancels, and keeps e^x ≤ 1."""
    e = array_module(x).exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@op
def softmax(x, *, axis=1):
    """y_i = e^{x_i} / Σ_j e^{x_j} along the axis: positive, and its sum is 1.

    ∂y_i/∂x_j = y_i·(δ_ij − y_j), and so

        dx = y·(dy − Σ_j dy_j·y_j)

    With dy all ones the bracket is 0: a check that uses ones cannot tell this gradient from 37 times it (chapter 02).
    """
    y = stable_softmax(x, axis)
    return y, lambda dy: (y * (dy - (dy * y).sum(axis=axis, keepdims=True)),)
