"""Launching pooling.cu."""

import numpy as np

from minivision.backend import array_module
from minivision.kernels import pooling
from minivision.kernels.gpu.program import Program, blocks

program = Program("pooling.cu")


def geometry(N, C, window):
    (top, _), (left, _) = window.padding
    return N * C, window.H, window.W, window.P, window.Q, window.K, window.L, *window.stride, top, left


def run(kernel, out, window, *arrays):
    """One thread an entry of `out`, the last of the arrays but for a winner."""
    program.launch(kernel, (blocks(out.size),), (256,), *arrays, *geometry(*out.shape[:2], window))


@pooling.max_pool.on("gpu")
def max_pool(x, window):
    xp, dtype = array_module(x), pooling.winner_dtype(window)
    if dtype != np.uint8:                                       # windows of more than 256 pixels number their taps in 4 bytes
        return pooling.max_pool.specification(x, window)
    y = xp.empty((*x.shape[:2], window.P, window.Q), x.dtype)
    winner = xp.empty(y.shape, dtype)
    run("max_pool", y, window, xp.ascontiguousarray(x), y, winner)
    return y, winner


@pooling.max_pool_gradient.on("gpu")
def max_pool_gradient(dy, winner, window):
    xp = array_module(dy)
    if winner.dtype != np.uint8:
        return pooling.max_pool_gradient.specification(dy, winner, window)
    dx = xp.empty((*dy.shape[:2], window.H, window.W), dy.dtype)
    run("max_pool_gradient", dx, window, xp.ascontiguousarray(dy), xp.ascontiguousarray(winner), dx)
    return dx


@pooling.sum_pool.on("gpu")
def sum_pool(x, window):
    xp = array_module(x)
    y = xp.empty((*x.shape[:2], window.P, window.Q), x.dtype)
    run("sum_pool", y, window, xp.ascontiguousarray(x), y)
    return y


@pooling.sum_pool_gradient.on("gpu")
def sum_pool_gradient(dy, window):
    xp = array_module(dy)
    dx = xp.empty((*dy.shape[:2], window.H, window.W), dy.dtype)
    run("sum_pool_gradient", dx, window, xp.ascontiguousarray(dy), dx)
    return dx
