"""Rectifiers as single passes over memory."""

from minivision.backend import array_module
from minivision.kernels.registry import Kernel


@Kernel
def relu(x):
    """max(x, 0); NaN stays NaN."""
    return array_module(x).maximum(x, 0)


@Kernel
def relu_gradient(dy, y):
    """dy where the output y is positive, else 0."""
    return dy * (y > 0)


@Kernel
def bend(x, slope, most):
    """min(x where x > 0 else slope·x, most): leaky ReLU, and with slope 0 and most 6 ReLU6; NaN stays NaN."""
    xp = array_module(x)
    return xp.minimum(xp.where(x > 0, x, slope * x) if slope else xp.maximum(x, 0), most)       # 0·∞ would be NaN


@Kernel
def bend_gradient(dy, y, slope, most):
    """dy where the output y lies between 0 and most, slope·dy where it is not positive, 0 where it is most."""
    return array_module(y).where(y > 0, dy * (y < most), slope * dy)
