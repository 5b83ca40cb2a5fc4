"""Pooling layers (池化层): shrink the image, keep what matters."""

import numpy as np

from minivision.backend import array_module, floats, sizes
from minivision.kernels import Window
from minivision.kernels import pooling as kernels
from minivision.kernels.window import margins, pair
from minivision.tensor import op


def pooling_window(x, size, stride, padding, ceil):
    floats(x=x)
    N, C, H, W = sizes("NCHW", x)
    window = Window.of((H, W), size, size if stride is None else stride, padding, ceil=ceil)
    given = Window.of((H, W), size, size if stride is None else stride, padding).padding
    if any(side >= length for sides, length in zip(given, (window.K, window.L)) for side in sides):
        raise ValueError(f"padding {padding} is not smaller than the window {size}: some windows would see no pixel")
    return window


@op
def max_pool2d(x, *, size, stride=None, padding=0, ceil=False):
    """The largest pixel of every window (F9, F12: documents 002 §3.1.2, 003 §3.3.2; neither prints the stride).

        y[n,c,p,q] = max_kl x[n, c, p·stride + k − padding, q·stride + l − padding]

    x (N,C,H,W)   y (N,C,P,Q)   size K or (K,L)   stride: size if not given

    Nudging the largest pixel nudges y by as much, nudging another does nothing: dx is dy at the winner, 0 elsewhere,
    and where windows overlap a pixel that won twice receives both. Of equal pixels the first in reading order wins.
    """
    window = pooling_window(x, size, stride, padding, ceil)
    y, winner = kernels.max_pool(x, window)
    return y, lambda dy: (kernels.max_pool_gradient(dy, winner, window),)


@op
def avg_pool2d(x, *, size, stride=None, padding=0, ceil=False, count_padding=False):
    """The mean of every window.

        y[n,c,p,q] = (1/m) Σ_kl x[n, c, p·stride + k − padding, q·stride + l − padding]      dx: dy/m to all m pixels

    x (N,C,H,W)   y (N,C,P,Q)   size K or (K,L)   stride: size if not given
    m (P,Q) counts the pixels of the window that lie in the image; with `count_padding` also those in the padding
    asked for (never those that `ceil` adds).
    """
    window = pooling_window(x, size, stride, padding, ceil)
    ones = array_module(x).ones((1, 1, window.H, window.W), x.dtype)
    asked = margins(padding) if count_padding else ((0, 0), (0, 0))
    counted = window._replace(padding=asked).pad(ones, 1)
    # The same places on a canvas of ones; what the window pads beyond `asked` counts for nothing.
    rest = tuple((w[0] - a[0], w[1] - a[1]) for w, a in zip(window.padding, asked))
    m = kernels.sum_pool(counted, window._replace(H=counted.shape[2], W=counted.shape[3], padding=rest))
    return kernels.sum_pool(x, window) / m, lambda dy: (kernels.sum_pool_gradient(dy / m, window),)


@op
def global_avg_pool2d(x):
    """One number a channel (Lin et al., ICLR 2014, §3.2): y[n,c] = (1/HW) Σ_hw x[n,c,h,w]      dx = dy/HW everywhere

    x (N,C,H,W)   y (N,C)
    """
    N, C, H, W = sizes("NCHW", x)
    xp = array_module(x)
    return x.mean(axis=(2, 3)), lambda dy: (xp.broadcast_to((dy / (H * W))[:, :, None, None], x.shape),)


@op
def adaptive_avg_pool2d(x, *, size):
    """A map of `size` (P,Q) whatever the size of x: bin p is the mean of the rows ⌊p·H/P⌋ … ⌈(p+1)·H/P⌉ − 1, columns alike
    (the adaptive pooling of PyTorch; He et al., ECCV 2014, §2.2, pool so to feed photos of any size to fully-connected layers).

    A mean is linear, and this one separable: a matrix product on either side.

        y = A·x·Bᵀ      dx = Aᵀ·dy·B      A (P,H) along the height, B (Q,W) along the width; each row of them sums to 1

    x (N,C,H,W)   y (N,C,P,Q)   bins overlap where P does not divide H, and repeat pixels where P > H
    """
    floats(x=x)
    N, C, H, W = sizes("NCHW", x)
    (P, Q), xp = pair("size", size, 1), array_module(x)
    A, B = (xp.asarray(bins(n, m), x.dtype) for n, m in ((H, P), (W, Q)))
    return A @ x @ B.T, lambda dy: (A.T @ dy @ B,)


def bins(n, m):
    """(m,n): row p is the mean over the p-th of m bins of n numbers."""
    at, p = np.arange(n), np.arange(m)[:, None]
    within = (at >= p * n // m) & (at < -(-(p + 1) * n // m))
    return within / within.sum(axis=1, keepdims=True)
