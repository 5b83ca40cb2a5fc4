"""Interpolation by matrix products, the maps shared out among the threads."""

import numpy as np

from minivision.kernels import resample
from minivision.kernels.cpu.threads import split


def products(A, x, B):
    """A·x·Bᵀ of every map of x (N,C,·,·), the axis that shrinks most first."""
    N, C, H, W = x.shape
    x, y = np.ascontiguousarray(x).reshape(N * C, H, W), np.empty((N * C, len(A), len(B)), x.dtype)
    rows_first = len(A) * W <= H * len(B)

    def work(lo, hi):
        np.matmul(A @ x[lo:hi] if rows_first else A, B.T if rows_first else x[lo:hi] @ B.T, out=y[lo:hi])

    split(N * C, work)
    return y.reshape(N, C, len(A), len(B))


@resample.upsample_bilinear.on("cpu")
def upsample_bilinear(x, size, corners):
    A, B = resample.sides(x, x.shape[2:], size, corners)
    return products(A, x, B)


@resample.upsample_bilinear_gradient.on("cpu")
def upsample_bilinear_gradient(dy, image, corners):
    A, B = resample.sides(dy, image, dy.shape[2:], corners)
    return products(np.ascontiguousarray(A.T), dy, np.ascontiguousarray(B.T))
