"""ReLU in one pass forwards and one backwards; NumPy's dy·(y > 0) makes three."""

import numpy as np

from minivision.kernels import activation
from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.threads import split


@compiled
def rectify(x, y, lo, hi):
    x, y, zero = x[lo:hi], y[lo:hi], x.dtype.type(0)
    for i in range(hi - lo):
        y[i] = zero if x[i] < zero else x[i]


@compiled
def pass_where_positive(dy, y, dx, lo, hi):
    dy, y, dx, zero = dy[lo:hi], y[lo:hi], dx[lo:hi], y.dtype.type(0)
    for i in range(hi - lo):
        dx[i] = dy[i] if y[i] > zero else zero


@activation.relu.on("cpu")
def relu(x):
    x = np.asarray(x, order="C")
    y = np.empty_like(x)
    split(x.size, lambda lo, hi: rectify(x.reshape(-1), y.reshape(-1), lo, hi), least=100_000)
    return y


@activation.relu_gradient.on("cpu")
def relu_gradient(dy, y):
    dy, y = np.asarray(dy, order="C"), np.asarray(y, order="C")
    dx = np.empty_like(dy)
    split(dy.size, lambda lo, hi: pass_where_positive(dy.reshape(-1), y.reshape(-1), dx.reshape(-1), lo, hi), least=100_000)
    return dx
