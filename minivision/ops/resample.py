"""Upsampling (上采样): feature maps made larger."""

import numpy as np

from minivision.backend import array_module, sizes
from minivision.kernels.window import pair
from minivision.tensor import op


@op
def upsample(x, *, factor=2):
    """Nearest neighbour: each pixel becomes a factor×factor square, so its gradient is the sum over that square.

        y[n,c,p,q] = x[n, c, ⌊p/factor⌋, ⌊q/factor⌋]      x (N,C,H,W)   y (N,C,H·factor,W·factor)
    """
    N, C, H, W = sizes("NCHW", x)
    factor, _ = pair("factor", factor, 1)
    y = x.repeat(factor, axis=2).repeat(factor, axis=3)
    return y, lambda dy: (dy.reshape(N, C, H, factor, W, factor).sum(axis=(3, 5)),)


def interpolation(n, m, corners):
    """The (m,n) matrix that stretches n numbers to m by linear interpolation: row i weighs the two neighbours of
    position (i + ½)·n/m − ½, or of i·(n−1)/(m−1) where the corners are to coincide. Beyond the ends the end repeats."""
    i = np.arange(m)
    at = i * ((n - 1) / max(1, m - 1)) if corners else (i + 0.5) * (n / m) - 0.5
    return np.maximum(0, 1 - np.abs(np.clip(at, 0, n - 1)[:, None] - np.arange(n)))


@op
def upsample_bilinear(x, *, size, corners=False):
    """Bilinear interpolation (双线性插值) to `size` (P,Q) is linear and separable: a matrix product on either side.

        y = A·x·Bᵀ      dx = Aᵀ·dy·B      A (P,H) along the height, B (Q,W) along the width

    x (N,C,H,W)   y (N,C,P,Q)   corners: the corner pixels' centres coincide (else the images' borders do)
    """
    N, C, H, W = sizes("NCHW", x)
    size = pair("size", size, 1)
    A, B = (array_module(x).asarray(interpolation(n, m, corners), x.dtype) for n, m in zip((H, W), size))
    return A @ x @ B.T, lambda dy: (A.T @ dy @ B,)
