"""Sliding maxima and sums, tap by tap, and their transposes."""

import numpy as np

from minivision.backend import array_module
from minivision.kernels.registry import Kernel


@Kernel
def max_pool(x, window):
    """Largest pixel of every window, and which tap saw it: x (N,C,H,W) → y, winner (N,C,P,Q).

    winner = k·L + l. Of equal pixels the first in reading order wins; padding never wins; NaN always does.
    """
    xp = array_module(x)
    padded, is_pixel = window.pad(x), window.pad(xp.ones(x.shape, bool), False)
    y = xp.empty((*x.shape[:2], window.P, window.Q), x.dtype)
    winner = xp.zeros(y.shape, winner_dtype(window))
    empty = xp.ones(y.shape, bool)                          # no pixel seen yet
    for k, l in window.taps():
        seen = padded[window.seen_by(k, l)]
        better = is_pixel[window.seen_by(k, l)] & (empty | (seen > y) | (xp.isnan(seen) & ~xp.isnan(y)))
        y[better] = seen[better]
        winner[better] = k * window.L + l
        empty &= ~better
    return y, winner


@Kernel
def max_pool_gradient(dy, winner, window):
    """Hand every dy to the pixel that won: → dx (N,C,H,W). A pixel that won twice receives both."""
    dx = window.pad(array_module(dy).zeros((*dy.shape[:2], window.H, window.W), dy.dtype))
    for k, l in window.taps():
        dx[window.seen_by(k, l)] += dy * (winner == k * window.L + l)
    return window.crop(dx)


@Kernel
def sum_pool(x, window):
    """Sum of every window: x (N,C,H,W) → y (N,C,P,Q)."""
    padded = window.pad(x)
    y = array_module(x).zeros((*x.shape[:2], window.P, window.Q), x.dtype)
    for k, l in window.taps():
        y += padded[window.seen_by(k, l)]
    return y


@Kernel
def sum_pool_gradient(dy, window):
    """Hand every dy to all pixels of its window: → dx (N,C,H,W)."""
    dx = window.pad(array_module(dy).zeros((*dy.shape[:2], window.H, window.W), dy.dtype))
    for k, l in window.taps():
        dx[window.seen_by(k, l)] += dy
    return window.crop(dx)


def winner_dtype(window):
    """The smallest integer that can number the taps: kept for the backward pass, so its size is memory."""
    return np.uint8 if window.K * window.L <= 256 else np.int32
