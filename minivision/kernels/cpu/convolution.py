"""Convolution by patches: the columns of one image at a time, small enough for the cache, and one BLAS product each.

Laying out the patches of a whole batch would write K·L times the input to memory and read it back; one image's columns
never leave the cache. The images are shared out among the threads.
"""

import numpy as np

from minivision.kernels import convolution
from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.threads import split


@compiled
def take_patches(x, cols, P, Q, top, left, s, t, d, e, K, L):
    """x (C,H,W) → cols (C·K·L, P·Q): row (c,k,l) is what tap (k,l) sees in channel c; outside the image it sees 0."""
    C, H, W = x.shape
    for c in range(C):
        for k in range(K):
            for l in range(L):
                row = cols[(c * K + k) * L + l]
                first = left - l * e                                # column of the image: q·t − first
                q0 = min(Q, max(0, (first + t - 1) // t))
                q1 = max(q0, min(Q, (W - 1 + first) // t + 1))
                for p in range(P):
                    i = p * s + k * d - top
                    out = row[p * Q:(p + 1) * Q]
                    if i < 0 or i >= H:
                        out[:] = 0
                        continue
                    out[:q0] = 0
                    out[q1:] = 0
                    inside, seen = out[q0:q1], x[c, i, q0 * t - first:]
                    if t == 1:
                        for q in range(q1 - q0):
                            inside[q] = seen[q]
                    else:
                        for q in range(q1 - q0):
                            inside[q] = seen[q * t]


@compiled
def add_patches(cols, x, P, Q, top, left, s, t, d, e, K, L):
    """The transpose: every number of cols is added to the pixel it was taken from; x (C,H,W) starts at 0."""
    C, H, W = x.shape
    x[:] = 0
    for c in range(C):
        for k in range(K):
            for l in range(L):
                row = cols[(c * K + k) * L + l]
                first = left - l * e
                q0 = min(Q, max(0, (first + t - 1) // t))
                q1 = max(q0, min(Q, (W - 1 + first) // t + 1))
                for p in range(P):
                    i = p * s + k * d - top
                    if i < 0 or i >= H:
                        continue
                    inside, seen = row[p * Q + q0:p * Q + q1], x[c, i, q0 * t - first:]
                    if t == 1:
                        for q in range(q1 - q0):
                            seen[q] += inside[q]
                    else:
                        for q in range(q1 - q0):
                            seen[q * t] += inside[q]


def geometry(window):
    (top, _), (left, _) = window.padding
    return (window.P, window.Q, top, left, *window.stride, *window.dilation, window.K, window.L)


def is_pointwise(window):
    """A 1×1 window that takes every pixel: the columns are the image itself."""
    return window.K == window.L == 1 and window.stride == (1, 1) and not any(map(any, window.padding))


def columns_of(x, cols, window):
    """Columns (C·K·L, P·Q) of one image (C,H,W), written into `cols` unless they are the image."""
    if is_pointwise(window):
        return x.reshape(len(x), -1)
    take_patches(x, cols, *geometry(window))
    return cols


def empty_columns(channels, window, dtype):
    shape = (channels * window.K * window.L, window.P * window.Q)
    return np.empty((0, 0) if is_pointwise(window) else shape, dtype)


@convolution.correlate.on("cpu")
def correlate(x, w, b, window, groups=1):
    x, N, O = np.ascontiguousarray(x), len(x), len(w)
    filters = np.ascontiguousarray(w).reshape(groups, O // groups, -1)
    y = np.empty((N, groups, O // groups, window.P * window.Q), x.dtype)

    def work(lo, hi):
        cols = empty_columns(x.shape[1], window, x.dtype)
        for n in range(lo, hi):
            taken = columns_of(x[n], cols, window).reshape(groups, -1, window.P * window.Q)
            np.matmul(filters, taken, out=y[n])
            if b is not None:
                y[n] += b.reshape(groups, -1, 1)

    split(N, work)
    return y.reshape(N, O, window.P, window.Q)


@convolution.correlate_weight_gradient.on("cpu")
def correlate_weight_gradient(dy, x, window, groups=1):
    x, (N, O), C = np.ascontiguousarray(x), dy.shape[:2], x.shape[1]
    dy = np.ascontiguousarray(dy).reshape(N, groups, O // groups, window.P * window.Q)
    shape = (groups, O // groups, C // groups * window.K * window.L)

    def work(lo, hi):
        dw, one = np.zeros(shape, x.dtype), np.empty(shape, x.dtype)
        cols = empty_columns(C, window, x.dtype)
        for n in range(lo, hi):
            taken = columns_of(x[n], cols, window).reshape(groups, -1, window.P * window.Q)
            np.matmul(dy[n], taken.swapaxes(-1, -2), out=one)
            dw += one
        return dw

    # Few parts: each holds a whole dw, and they are added up in the end.
    return sum(split(N, work, parts=4)).reshape(O, C // groups, window.K, window.L)


@convolution.correlate_input_gradient.on("cpu")
def correlate_input_gradient(dy, w, window, groups=1):
    N, O = dy.shape[:2]
    C = w.shape[1] * groups
    dy = np.ascontiguousarray(dy).reshape(N, groups, O // groups, window.P * window.Q)
    filters = np.ascontiguousarray(np.ascontiguousarray(w).reshape(groups, O // groups, -1).swapaxes(-1, -2))
    dx = np.empty((N, C, window.H, window.W), dy.dtype)

    def work(lo, hi):
        cols = np.empty((groups, len(filters[0]), window.P * window.Q), dy.dtype)
        for n in range(lo, hi):
            if is_pointwise(window):
                np.matmul(filters, dy[n], out=dx[n].reshape(cols.shape))
            else:
                np.matmul(filters, dy[n], out=cols)
                add_patches(cols.reshape(-1, cols.shape[-1]), dx[n], *geometry(window))

    split(N, work)
    return dx
