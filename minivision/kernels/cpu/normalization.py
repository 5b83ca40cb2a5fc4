"""Batch normalisation channel by channel: a channel's pixels are read while they are still in the cache from the pass before."""

import numpy as np

from minivision.kernels import normalization
from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.threads import split

LEAST = 50_000      # numbers, for which it is worth waking a thread


@compiled
def channel_moments(x, mean, variance, lo, hi):
    N, _, M = x.shape
    for c in range(lo, hi):
        total = 0.0
        for n in range(N):
            line, part = x[n, c], mean[c] * 0
            for i in range(M):
                part += line[i]
            total += part
        mean[c] = centre = x.dtype.type(total / (N * M))
        total = 0.0
        for n in range(N):
            line, part = x[n, c], centre * 0
            for i in range(M):
                d = line[i] - centre
                part += d * d
            total += part
        variance[c] = total / (N * M)


@compiled
def scale_and_shift(x, scale, shift, y, lo, hi):
    N, _, M = x.shape
    for c in range(lo, hi):
        a, b = scale[c], shift[c]
        for n in range(N):
            line, out = x[n, c], y[n, c]
            for i in range(M):
                out[i] = a * line[i] + b


@compiled
def scale_shift_rectify(x, scale, shift, r, y, lo, hi):
    N, _, M = x.shape
    residual, zero = r.shape[0] == N, x.dtype.type(0)
    for c in range(lo, hi):
        a, b = scale[c], shift[c]
        for n in range(N):
            line, out = x[n, c], y[n, c]
            if residual:
                more = r[n, c]
                for i in range(M):
                    v = a * line[i] + b + more[i]
                    out[i] = zero if v < zero else v
            else:
                for i in range(M):
                    v = a * line[i] + b
                    out[i] = zero if v < zero else v


@compiled
def channel_sums(dy, x, mean, inverse, sum_dy, sum_dy_x_hat, lo, hi):
    N, _, M = x.shape
    for c in range(lo, hi):
        centre, total, product = mean[c], 0.0, 0.0
        for n in range(N):
            line, slope = x[n, c], dy[n, c]
            s, p = centre * 0, centre * 0
            for i in range(M):
                s += slope[i]
                p += slope[i] * (line[i] - centre)
            total += s
            product += p
        sum_dy[c] = total
        sum_dy_x_hat[c] = product * inverse[c]


@compiled
def combine(dy, x, a, b, shift, dx, lo, hi):
    """dx = a·dy + b·x + shift"""
    N, _, M = x.shape
    for c in range(lo, hi):
        for n in range(N):
            line, slope, out = x[n, c], dy[n, c], dx[n, c]
            for i in range(M):
                out[i] = a[c] * slope[i] + b[c] * line[i] + shift[c]


def planes(*arrays):
    """(N,C,H,W) → (N,C,H·W), contiguous."""
    return [np.ascontiguousarray(a).reshape(*a.shape[:2], a.shape[2] * a.shape[3]) for a in arrays]


def by_channel(f, x, *args):
    """f(…, lo, hi) over the channels of x, shared out."""
    C = x.shape[1]
    split(C, lambda lo, hi: f(*args, lo, hi), least=max(1, -(-LEAST * C // max(1, x.size))))


def like(x, *arrays):
    return [np.asarray(a, x.dtype) for a in arrays]


@normalization.moments.on("cpu")
def moments(x):
    (x,) = planes(x)
    mean, variance = np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    by_channel(channel_moments, x, x, mean, variance)
    return mean, variance


@normalization.normalize.on("cpu")
def normalize(x, mean, inverse, gamma, beta):
    shape, (x,) = x.shape, planes(x)
    y, (scale, shift) = np.empty_like(x), like(x, gamma * inverse, beta - gamma * inverse * mean)
    by_channel(scale_and_shift, x, x, scale, shift, y)
    return y.reshape(shape)


@normalization.normalize_relu.on("cpu")
def normalize_relu(x, mean, inverse, gamma, beta, r=None):
    shape, (x,) = x.shape, planes(x)
    r = np.empty((len(x) + 1, 0, 0), x.dtype) if r is None else planes(r)[0]
    y, (scale, shift) = np.empty_like(x), like(x, gamma * inverse, beta - gamma * inverse * mean)
    by_channel(scale_shift_rectify, x, x, scale, shift, r, y)
    return y.reshape(shape)


@normalization.normalize_sums.on("cpu")
def normalize_sums(dy, x, mean, inverse):
    dy, x = planes(dy, x)
    sum_dy, sum_dy_x_hat = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    by_channel(channel_sums, x, dy, x, *like(x, mean, inverse), sum_dy, sum_dy_x_hat)
    return sum_dy, sum_dy_x_hat


@normalization.normalize_gradient.on("cpu")
def normalize_gradient(dy, x, mean, inverse, scale, mean_dy, mean_dy_x_hat):
    shape, (dy, x) = x.shape, planes(dy, x)
    b = -scale * inverse * mean_dy_x_hat
    dx = np.empty_like(x)
    by_channel(combine, x, dy, x, *like(x, scale, b, -scale * mean_dy - b * mean), dx)
    return dx.reshape(shape)
