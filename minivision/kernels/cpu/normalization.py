"""Batch normalisation channel by channel: a channel's pixels are still in the cache from the pass before, so that memory is
read once, whatever the number of passes."""

import numpy as np

from minivision.kernels import normalization
from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.threads import split

LEAST = 50_000      # numbers, for which it is worth waking a thread


@compiled
def forward(x, r, gamma, beta, eps, y, mean, variance, inverse, rectified, given, lo, hi):
    """y = γ·x̂ + β (+ r, rectified) for the channels lo … hi; their mean, variance and inverse are found, unless given."""
    N, _, M = x.shape
    for c in range(lo, hi):
        if not given:
            mean[c], variance[c] = moments(x, c)
            inverse[c] = 1 / np.sqrt(variance[c] + eps)
        scale = gamma[c] * inverse[c]
        shift = beta[c] - scale * mean[c]
        for n in range(N):
            if not rectified:
                scale_and_shift(x[n, c], scale, shift, y[n, c])
            elif len(r) == N:
                add_and_rectify(x[n, c], scale, shift, r[n, c], y[n, c])
            else:
                rectify(x[n, c], scale, shift, y[n, c])


@compiled
def moments(x, c):
    N, _, M = x.shape
    total = 0.0
    for n in range(N):
        total += line_sum(x[n, c])
    centre, total = x.dtype.type(total / (N * M)), 0.0
    for n in range(N):
        total += line_squares(x[n, c], centre)
    return centre, total / (N * M)


@compiled
def line_sum(x):
    total = x.dtype.type(0)
    for i in range(len(x)):
        total += x[i]
    return total


@compiled
def line_squares(x, centre):
    total = x.dtype.type(0)
    for i in range(len(x)):
        d = x[i] - centre
        total += d * d
    return total


@compiled
def scale_and_shift(x, a, b, y):
    for i in range(len(y)):
        y[i] = a * x[i] + b


@compiled
def rectify(x, a, b, y):
    zero = y.dtype.type(0)
    for i in range(len(y)):
        v = a * x[i] + b
        y[i] = zero if v < zero else v


@compiled
def add_and_rectify(x, a, b, r, y):
    zero = y.dtype.type(0)
    for i in range(len(y)):
        v = a * x[i] + b + r[i]
        y[i] = zero if v < zero else v


@compiled
def backward(dy, y, x, gamma, mean, inverse, dz, dx, dgamma, dbeta, rectified, keep, lo, hi):
    """dx, dγ, dβ of the channels lo … hi from dy, of which only what belongs to y > 0 counts if rectified; dz, if to be kept."""
    N, _, M = x.shape
    for c in range(lo, hi):
        centre, total, product = mean[c], 0.0, 0.0
        for n in range(N):
            if rectified and keep:
                pass_where_positive(dy[n, c], y[n, c], dz[n, c])
                s, p = line_sums(dz[n, c], x[n, c], centre)
            elif rectified:
                s, p = positive_sums(dy[n, c], y[n, c], x[n, c], centre)
            else:
                s, p = line_sums(dy[n, c], x[n, c], centre)
            total += s
            product += p
        dbeta[c], dgamma[c] = total, product * inverse[c]
        # γ/σ·(dy − Σdy/m − x̂·Σ(dy·x̂)/m) is a·dy + b·x + shift
        a = gamma[c] * inverse[c]
        b = x.dtype.type(-a * inverse[c] * dgamma[c] / (N * M))
        shift = x.dtype.type(-a * dbeta[c] / (N * M) - b * centre)
        for n in range(N):
            if rectified and not keep:
                combine_positive(dy[n, c], y[n, c], x[n, c], a, b, shift, dx[n, c])
            else:
                combine((dz if rectified else dy)[n, c], x[n, c], a, b, shift, dx[n, c])


@compiled
def pass_where_positive(dy, y, dz):
    zero = y.dtype.type(0)
    for i in range(len(dz)):
        dz[i] = dy[i] if y[i] > zero else zero


@compiled
def line_sums(dy, x, centre):
    total, product = x.dtype.type(0), x.dtype.type(0)
    for i in range(len(x)):
        total += dy[i]
        product += dy[i] * (x[i] - centre)
    return total, product


@compiled
def positive_sums(dy, y, x, centre):
    total, product, zero = x.dtype.type(0), x.dtype.type(0), x.dtype.type(0)
    for i in range(len(x)):
        d = dy[i] if y[i] > zero else zero
        total += d
        product += d * (x[i] - centre)
    return total, product


@compiled
def combine(dy, x, a, b, shift, dx):
    for i in range(len(dx)):
        dx[i] = a * dy[i] + b * x[i] + shift


@compiled
def combine_positive(dy, y, x, a, b, shift, dx):
    zero = x.dtype.type(0)
    for i in range(len(dx)):
        d = dy[i] if y[i] > zero else zero
        dx[i] = a * d + b * x[i] + shift


def lines(a):
    """(N,C,H,W) → (N,C,H·W), contiguous."""
    return np.ascontiguousarray(a).reshape(*a.shape[:2], a.shape[2] * a.shape[3])


def by_channel(f, x, *args):
    """f(…, lo, hi) over the channels of x, shared out."""
    C = x.shape[1]
    split(C, lambda lo, hi: f(*args, lo, hi), least=max(1, -(-LEAST * C // max(1, x.size))))


def run_forward(x, gamma, beta, rectified, r=None, eps=0.0, mean=None, inverse=None):
    shape, x, given = x.shape, lines(x), mean is not None
    r = np.empty((len(x) + 1, 0, 0), x.dtype) if r is None else lines(r)        # no r: a wrong length tells
    number = lambda a: np.array(a, x.dtype)
    variance = np.empty(shape[1], x.dtype)
    mean, inverse = (number(mean), number(inverse)) if given else (np.empty_like(variance), np.empty_like(variance))
    y = np.empty_like(x)
    by_channel(forward, x, x, r, number(gamma), number(beta), eps, y, mean, variance, inverse, rectified, given)
    return y.reshape(shape), mean, variance, inverse


@normalization.normalize.on("cpu")
def normalize(x, mean, inverse, gamma, beta):
    return run_forward(x, gamma, beta, False, mean=mean, inverse=inverse)[0]


@normalization.normalize_relu.on("cpu")
def normalize_relu(x, mean, inverse, gamma, beta, r=None):
    return run_forward(x, gamma, beta, True, r, mean=mean, inverse=inverse)[0]


@normalization.batch_norm.on("cpu")
def batch_norm(x, gamma, beta, eps):
    return run_forward(x, gamma, beta, False, eps=eps)


@normalization.batch_norm_relu.on("cpu")
def batch_norm_relu(x, gamma, beta, eps, r=None):
    return run_forward(x, gamma, beta, True, r, eps)


def run_backward(dy, y, x, gamma, mean, inverse, keep=False):
    shape, dy, x, rectified = x.shape, lines(dy), lines(x), y is not None
    number = lambda a: np.asarray(a, x.dtype)
    dx, dgamma, dbeta = np.empty_like(x), np.empty(shape[1], x.dtype), np.empty(shape[1], x.dtype)
    y, dz = lines(y) if rectified else dy, np.empty_like(x) if keep else dx
    by_channel(backward, x, dy, y, x, number(gamma), number(mean), number(inverse), dz, dx, dgamma, dbeta, rectified, keep)
    return dx.reshape(shape), dgamma, dbeta, dz.reshape(shape) if keep else None


@normalization.batch_norm_gradient.on("cpu")
def batch_norm_gradient(dy, x, gamma, mean, inverse):
    return run_backward(dy, None, x, gamma, mean, inverse)[:3]


@normalization.batch_norm_relu_gradient.on("cpu")
def batch_norm_relu_gradient(dy, y, x, gamma, mean, inverse, keep=True):
    return run_backward(dy, y, x, gamma, mean, inverse, keep)
