"""The update rules as one pass over memory: each number is read once and written once."""

import numpy as np

from minivision.kernels import update
from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.threads import split

LEAST = 50_000      # below that, handing work to another thread costs more than it saves


@compiled
def sgd_pass(w, g, v, lr, momentum, ahead, decay, lo, hi):
    w, g, v = w[lo:hi], g[lo:hi], v[lo:hi]
    for i in range(hi - lo):
        d = g[i] + decay * w[i]
        s = momentum * v[i] + d
        v[i] = s
        w[i] -= lr * (s + ahead * (d + momentum * s - s))


@compiled
def adam_pass(w, g, m, v, step, rest1, rest2, correction, eps, shrink, decay, lo, hi):
    w, g, m, v = w[lo:hi], g[lo:hi], m[lo:hi], v[lo:hi]
    for i in range(hi - lo):
        d = g[i] + decay * w[i]
        m[i] += rest1 * (d - m[i])
        v[i] += rest2 * (d * d - v[i])
        w[i] = shrink * w[i] - step * m[i] / (np.sqrt(v[i] * correction) + eps)


@update.sgd.on("cpu")
def sgd(ws, gs, vs, lr, momentum, nesterov, weight_decay):
    if not momentum or not all(a.flags.c_contiguous for a in (*ws, *vs)):
        return update.sgd.specification(ws, gs, vs, lr, momentum, nesterov, weight_decay)
    for w, g, v in zip(ws, gs, vs, strict=True):
        options = [w.dtype.type(o) for o in (lr, momentum, nesterov, weight_decay)]
        run(sgd_pass, w, g, v, *options)


@update.adam.on("cpu")
def adam(ws, gs, ms, vs, lr, beta1, beta2, eps, weight_decay, decoupled, t):
    if not all(a.flags.c_contiguous for a in (*ws, *ms, *vs)):
        return update.adam.specification(ws, gs, ms, vs, lr, beta1, beta2, eps, weight_decay, decoupled, t)
    shrink, decay = (1 - lr * weight_decay, 0) if decoupled else (1, weight_decay)
    factors = lr / (1 - beta1 ** t), 1 - beta1, 1 - beta2, 1 / (1 - beta2 ** t), eps, shrink, decay
    for w, g, m, v in zip(ws, gs, ms, vs, strict=True):
        run(adam_pass, w, g, m, v, *(w.dtype.type(o) for o in factors))


def run(one_pass, w, g, *rest):
    """Over the entries of one parameter, shared out where it is large."""
    if g.shape != w.shape:
        raise ValueError(f"a parameter has shape {w.shape} and its gradient {g.shape}")
    w, g = w.reshape(-1), np.ascontiguousarray(g).reshape(-1)
    rest = [a.reshape(-1) if isinstance(a, np.ndarray) else a for a in rest]
    split(w.size, lambda lo, hi: one_pass(w, g, *rest, lo, hi), LEAST)
