"""Optimiser updates of all parameters, in place: ws, vs, ms (lists of arrays) are written. The rules stand in `optim/rules.py`."""

from minivision.kernels.registry import Kernel


@Kernel
def sgd(ws, gs, vs, lr, momentum, nesterov, weight_decay):
    """vs: None where momentum is 0."""
    for w, g, v in zip(ws, gs, vs or [None] * len(ws), strict=True):
        if weight_decay:
            g = g + weight_decay * w
        if momentum:
            v *= momentum
            v += g
            g = g + momentum * v if nesterov else v
        w -= lr * g


@Kernel
def adam(ws, gs, ms, vs, lr, beta1, beta2, eps, weight_decay, decoupled, t):
    for w, g, m, v in zip(ws, gs, ms, vs, strict=True):
        if weight_decay and decoupled:
            w -= lr * weight_decay * w
        elif weight_decay:
            g = g + weight_decay * w
        m += (1 - beta1) * (g - m)
        v += (1 - beta2) * (g * g - v)
        w -= lr / (1 - beta1 ** t) * m / ((v / (1 - beta2 ** t)) ** 0.5 + eps)
