"""Softmax and cross-entropy, row by row."""

from minivision.backend import array_module
from minivision.kernels.registry import Kernel


@Kernel
def cross_entropy_rows(scores, target):
    """loss (N,) = −Σ_k t_k·ln p_k and its slope (N,K) = p·Σt − t, with p = softmax(scores): scores, target (N,K), target ≥ 0.

    ln p = s − max s − ln Σ e^(s − max s) needs no small numbers. A class with target 0 may have score −∞ (masked), a row
    whose target is 0 everywhere may hold anything: 0·∞ must not become NaN.
    """
    xp, target = array_module(scores), target.astype(scores.dtype, copy=False)
    weight = target.sum(axis=1, keepdims=True)
    shifted = scores - scores.max(axis=1, keepdims=True)
    e = xp.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    loss = -(target * xp.where(target > 0, shifted - xp.log(total), 0)).sum(axis=1)
    return loss, xp.where(weight > 0, weight * e / total - target, 0).astype(scores.dtype, copy=False)
