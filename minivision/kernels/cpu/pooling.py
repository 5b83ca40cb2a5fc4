"""Pooling in one pass over the image, window by window, with the windows that overhang the border cut off."""

import numpy as np

from minivision.kernels import pooling
from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.strips import winner_of_four
from minivision.kernels.cpu.threads import split


@compiled
def largest(x, y, winner, lo, hi, top, left, s, t, K, L):
    """x (M,H,W) → y, winner (M,P,Q) for the images lo … hi: a row of places at a time, tap by tap, as the specification does."""
    H, W = x.shape[1:]
    P, Q = y.shape[1:]
    at = np.empty(Q, np.int32)
    for m in range(lo, hi):
        for p in range(P):
            best = y[m, p]
            best[:] = -np.inf
            at[:] = -1                                          # no pixel seen yet
            for k in range(max(0, top - p * s), min(K, H + top - p * s)):
                row = x[m, p * s + k - top]
                for l in range(L):
                    q0 = max(0, (left - l + t - 1) // t)        # the places whose tap l sees a pixel: q0 … q1
                    q1 = max(q0, min(Q, (W - 1 + left - l) // t + 1))
                    compare(row[q0 * t + l - left:], t, best[q0:q1], at[q0:q1], k * L + l)
            winner[m, p] = at


@compiled
def compare(seen, t, best, at, tap):
    """Every t-th of the pixels seen against the best of its place."""
    if t == 1:
        for q in range(len(best)):
            v, b = seen[q], best[q]
            better = v > b or at[q] < 0 or (v != v and b == b)
            best[q], at[q] = v if better else b, tap if better else at[q]
    elif t == 2:
        for q in range(len(best)):
            v, b = seen[2 * q], best[q]
            better = v > b or at[q] < 0 or (v != v and b == b)
            best[q], at[q] = v if better else b, tap if better else at[q]
    else:
        for q in range(len(best)):
            v, b = seen[t * q], best[q]
            better = v > b or at[q] < 0 or (v != v and b == b)
            best[q], at[q] = v if better else b, tap if better else at[q]


@compiled
def largest_of_four(x, y, winner, lo, hi):
    """2×2 windows with stride 2 that all fit: the usual case, without a test for borders."""
    P, Q = y.shape[1:]
    for m in range(lo, hi):
        for p in range(P):
            upper, lower, out, won = x[m, 2 * p], x[m, 2 * p + 1], y[m, p], winner[m, p]
            for q in range(Q):
                out[q], won[q] = winner_of_four(upper[2 * q], upper[2 * q + 1], lower[2 * q], lower[2 * q + 1])


@compiled
def give_to_largest(dy, winner, dx, lo, hi, top, left, s, t, L):
    P, Q = dy.shape[1:]
    for m in range(lo, hi):
        dx[m] = 0
        for p in range(P):
            for q in range(Q):
                at = int(winner[m, p, q])
                dx[m, p * s - top + at // L, q * t - left + at % L] += dy[m, p, q]


@compiled
def give_to_one_of_four(dy, winner, dx, lo, hi):
    P, Q = dy.shape[1:]
    H, W = dx.shape[1:]
    for m in range(lo, hi):
        for p in range(P):
            upper, lower, d, won = dx[m, 2 * p], dx[m, 2 * p + 1], dy[m, p], winner[m, p]
            for q in range(Q):
                v, at = d[q], won[q]
                upper[2 * q] = v if at == 0 else 0
                upper[2 * q + 1] = v if at == 1 else 0
                lower[2 * q] = v if at == 2 else 0
                lower[2 * q + 1] = v if at == 3 else 0
            upper[2 * Q:] = 0
            lower[2 * Q:] = 0
        dx[m, 2 * P:] = 0


def is_quarter(window):
    """2×2 windows side by side on the image, without padding."""
    return (window.K, window.L, *window.stride) == (2, 2, 2, 2) and not any(map(any, window.padding))


def corner(window):
    (top, _), (left, _) = window.padding
    return top, left, *window.stride


@pooling.max_pool.on("cpu")
def max_pool(x, window):
    N, C = x.shape[:2]
    images = np.ascontiguousarray(x).reshape(N * C, window.H, window.W)
    y = np.empty((N * C, window.P, window.Q), x.dtype)
    winner = np.empty(y.shape, pooling.winner_dtype(window))
    if is_quarter(window):
        split(N * C, lambda lo, hi: largest_of_four(images, y, winner, lo, hi))
    else:
        split(N * C, lambda lo, hi: largest(images, y, winner, lo, hi, *corner(window), window.K, window.L))
    return y.reshape(N, C, window.P, window.Q), winner.reshape(N, C, window.P, window.Q)


@pooling.max_pool_gradient.on("cpu")
def max_pool_gradient(dy, winner, window):
    N, C = dy.shape[:2]
    dy, winner = (np.ascontiguousarray(a).reshape(N * C, window.P, window.Q) for a in (dy, winner))
    dx = np.empty((N * C, window.H, window.W), dy.dtype)
    if is_quarter(window):
        split(N * C, lambda lo, hi: give_to_one_of_four(dy, winner, dx, lo, hi))
    else:
        split(N * C, lambda lo, hi: give_to_largest(dy, winner, dx, lo, hi, *corner(window), window.L))
    return dx.reshape(N, C, window.H, window.W)
