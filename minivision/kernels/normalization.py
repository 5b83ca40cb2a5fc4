"""Batch normalisation as passes over memory; where its formulas come from stands in `ops/normalization.py`.

x, y, r, dy (N,C,H,W)      mean, inverse (1/σ), gamma, beta and all sums (C,)      x̂ = (x − mean)·inverse
"""

from minivision.backend import array_module
from minivision.kernels import activation
from minivision.kernels.registry import Kernel

AXES = (0, 2, 3)


def spread(a):
    """(C,) → (C,1,1), to stand beside (N,C,H,W)."""
    return a[:, None, None]


@Kernel
def normalize(x, mean, inverse, gamma, beta):
    """γ·x̂ + β, with a mean and a deviation that are given."""
    return spread(gamma * inverse) * (x - spread(mean)) + spread(beta)


@Kernel
def normalize_relu(x, mean, inverse, gamma, beta, r=None):
    """max(0, γ·x̂ + β + r), where r is what a residual block adds, or None."""
    y = normalize(x, mean, inverse, gamma, beta)
    return activation.relu(y if r is None else y + r)


@Kernel
def batch_norm(x, gamma, beta, eps):
    """→ y, mean, variance (divided by m, not m − 1), inverse, of every channel over the batch."""
    mean, variance, inverse = moments(x, eps)
    return normalize(x, mean, inverse, gamma, beta), mean, variance, inverse


@Kernel
def batch_norm_relu(x, gamma, beta, eps, r=None):
    mean, variance, inverse = moments(x, eps)
    return normalize_relu(x, mean, inverse, gamma, beta, r), mean, variance, inverse


def moments(x, eps):
    mean = x.mean(axis=AXES)
    centred = x - spread(mean)
    variance = (centred * centred).mean(axis=AXES)
    return mean, variance, (1 / array_module(x).sqrt(variance + eps)).astype(x.dtype, copy=False)


@Kernel
def batch_norm_gradient(dy, x, gamma, mean, inverse):
    """→ dx = γ/σ·(dy − Σdy/m − x̂·Σ(dy·x̂)/m), dγ = Σ dy·x̂, dβ = Σ dy"""
    x_hat, m = (x - spread(mean)) * spread(inverse), x.size // x.shape[1]
    dbeta, dgamma = dy.sum(axis=AXES), (dy * x_hat).sum(axis=AXES)
    return spread(gamma * inverse) * (dy - spread(dbeta / m) - x_hat * spread(dgamma / m)), dgamma, dbeta


@Kernel
def batch_norm_relu_gradient(dy, y, x, gamma, mean, inverse, keep=True):
    """The same from dz = dy where y > 0, and dz itself if it is to be kept: → dx, dγ, dβ, dz or None"""
    dz = activation.relu_gradient(dy, y)
    return (*batch_norm_gradient(dz, x, gamma, mean, inverse), dz if keep else None)
