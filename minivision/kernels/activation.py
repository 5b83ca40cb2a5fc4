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
