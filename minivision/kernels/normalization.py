"""The passes over memory that batch normalisation is made of; its formulas stand in `ops/normalization.py`.

x, y, dy (N,C,H,W)      mean, inverse (1/σ), gamma, beta and all sums (C,)      x̂ = (x − mean)·inverse
"""

from minivision.backend import array_module
from minivision.kernels.registry import Kernel

AXES = (0, 2, 3)


def spread(a):
    """(C,) → (C,1,1), to stand beside (N,C,H,W)."""
    return a[:, None, None]


@Kernel
def moments(x):
    """Mean and variance (divided by m, not m − 1) of every channel."""
    mean = x.mean(axis=AXES)
    centred = x - spread(mean)
    return mean, (centred * centred).mean(axis=AXES)


@Kernel
def normalize(x, mean, inverse, gamma, beta):
    """γ·x̂ + β"""
    return spread(gamma * inverse) * (x - spread(mean)) + spread(beta)


@Kernel
def normalize_relu(x, mean, inverse, gamma, beta, r=None):
    """max(0, γ·x̂ + β + r), where r (N,C,H,W) is what a residual block adds, or None."""
    y = normalize(x, mean, inverse, gamma, beta)
    return array_module(x).maximum(y if r is None else y + r, 0)


@Kernel
def normalize_sums(dy, x, mean, inverse):
    """Σ dy and Σ dy·x̂ of every channel."""
    return dy.sum(axis=AXES), (dy * (x - spread(mean))).sum(axis=AXES) * inverse


@Kernel
def normalize_gradient(dy, x, mean, inverse, scale, mean_dy, mean_dy_x_hat):
    """scale·(dy − mean_dy − x̂·mean_dy_x_hat)"""
    x_hat = (x - spread(mean)) * spread(inverse)
    return spread(scale) * (dy - spread(mean_dy) - x_hat * spread(mean_dy_x_hat))
