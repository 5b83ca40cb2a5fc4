"""Gradient clipping (梯度裁剪): one bad batch may not throw the parameters far away."""

from math import isfinite, sqrt


def clip_gradients(parameters, largest):
    """Scale all gradients together so that the norm of the whole, √Σ g², is at most `largest`; the direction stays
    (Pascanu et al., ICML 2013, algorithm 1). Returns the norm before clipping.

    ValueError if the norm is not finite: scaling cannot mend NaN.
    """
    if not largest > 0:
        raise ValueError(f"largest is {largest}; expected a number > 0")
    with_gradient = [p for p in parameters if p.grad is not None]
    norm = sqrt(sum(float((p.grad * p.grad).sum(dtype="float64")) for p in with_gradient))
    if not isfinite(norm):
        raise ValueError(f"the gradients' norm is {norm}")
    if norm > largest:
        for p in with_gradient:
            p.grad = p.grad * (largest / norm)
    return norm
