"""Bilinear interpolation to another size: linear and separable, so a matrix product on either side of the map."""

import numpy as np

from minivision.backend import array_module
from minivision.kernels.registry import Kernel


def interpolation(n, m, corners):
    """The (m,n) matrix that stretches n numbers to m by linear interpolation: row i weighs the two neighbours of
    position (i + ½)·n/m − ½, or of i·(n−1)/(m−1) where the corners are to coincide. Beyond the ends the end repeats."""
    i = np.arange(m)
    at = i * ((n - 1) / max(1, m - 1)) if corners else (i + 0.5) * (n / m) - 0.5
    return np.maximum(0, 1 - np.abs(np.clip(at, 0, n - 1)[:, None] - np.arange(n)))


def sides(x, image, size, corners):
    return (array_module(x).asarray(interpolation(n, m, corners), x.dtype) for n, m in zip(image, size))


@Kernel
def upsample_bilinear(x, size, corners):
    """A·x·Bᵀ, A (P,H) along the height and B (Q,W) along the width: x (N,C,H,W) → y (N,C,P,Q)"""
    A, B = sides(x, x.shape[2:], size, corners)
    return A @ x @ B.T


@Kernel
def upsample_bilinear_gradient(dy, image, corners):
    """Aᵀ·dy·B: dy (N,C,P,Q) → dx (N,C,H,W), H, W = image"""
    A, B = sides(dy, image, dy.shape[2:], corners)
    return A.T @ dy @ B
