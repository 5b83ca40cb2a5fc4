"""Loss functions (损失函数): one number that says how wrong the network is, and its first gradient."""

import numpy as np

from minivision.backend import array_module, sizes
from minivision.kernels import loss as kernels
from minivision.ops.activation import stable_sigmoid
from minivision.tensor import op


def targets_of(labels, N, K, ignore, smoothing, dtype):
    """(t (N,K), n): what the probabilities should be, and how many rows count. labels as `softmax_cross_entropy` takes them."""
    xp = array_module(labels)
    if getattr(labels, "ndim", 0) == 2 and labels.dtype.kind == "f":
        if labels.shape != (N, K) or not bool((labels >= 0).all()) or not bool((abs(labels.sum(axis=1) - 1) < 1e-4).all()):
            raise ValueError(f"shares are {labels.shape}; expected ({N},{K}), each ≥ 0, each row with the sum 1")
        if ignore is not None:
            raise ValueError(f"ignore is {ignore}; it goes with labels, and these are shares of classes")
        return (labels * (1 - smoothing) + smoothing / K).astype(dtype), N
    counted = labels_that_count(labels, N, K, ignore)
    target = xp.full((N, K), smoothing / K, dtype)
    target[xp.arange(N), xp.where(counted, labels, 0)] += 1 - smoothing
    return target * counted[:, None], int(counted.sum())                # an ignored row has target 0 everywhere


def labels_that_count(labels, N, K, ignore):
    """(N,) bool: which labels are not `ignore`. ValueError if one of them is no class index."""
    if getattr(labels, "shape", None) != (N,) or labels.dtype.kind not in "iu":
        what = f"{labels.dtype} {labels.shape}" if hasattr(labels, "shape") else f"a {type(labels).__name__}"
        raise ValueError(f"labels are {what}; expected an array ({N},) of whole numbers, one class index an image "
                         "(not one-hot)")
    xp = array_module(labels)
    counted = xp.ones(N, bool) if ignore is None else labels != ignore
    wrong = counted & ((labels < 0) | (labels >= K))
    if wrong.any():
        n = int(xp.argmax(wrong))
        raise ValueError(f"label {int(labels[n])} of image {n} is not in 0 … {K - 1}, the {K} classes scored")
    return counted


@op
def softmax_cross_entropy(scores, labels, *, smoothing=0.0, ignore=None):
    """Softmax and cross-entropy (交叉熵) in one, the mean over the batch (F14a: document 004 §3 item 6).

        p = softmax(scores)      loss = −(1/n) Σ_n Σ_k t[n,k]·ln p[n,k]      dscores = (p − t)·dloss / n

    scores (N,K): raw, never softmaxed (logits)      labels (N,) whole numbers in 0 … K−1, or shares (N,K) of classes (`data.mixup`)
    t is 1 at the label and 0 elsewhere; with smoothing ε it is 1 − ε + ε/K and ε/K (Szegedy et al., CVPR 2016, §7).
    Rows labelled `ignore` count for nothing, in the sum or in n.

    Together the two have the simplest derivative there is, and ln p = scores − ln Σ e^scores needs no small numbers.
    """
    N, K = sizes("NK", scores)
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is {smoothing}; expected 0 ≤ smoothing < 1")
    target, n = targets_of(labels, N, K, ignore, smoothing, scores.dtype)
    n = max(1, n)
    losses, slope = kernels.cross_entropy_rows(scores, target)          # slope = p − t, and 0 in an ignored row
    return losses.sum() / n, lambda dloss: (slope * (dloss / n), None)


@op
def sigmoid_cross_entropy(scores, targets, weights=None):
    """Cross-entropy of independent yes/no questions, the mean over all entries.

        p = sigmoid(scores)      loss = −mean( t·ln p + (1−t)·ln(1−p) )      dscores = (p − t)·dloss / n
                                                                            dt = −scores·dloss / n

    scores, targets, weights: the same shape, targets in [0, 1]; with weights the mean is Σ w·(…) / Σ w
    Computed as max(s,0) − s·t + ln(1 + e^−|s|), which neither overflows nor loses small probabilities.
    """
    xp = array_module(scores)
    same_shape(scores, targets)
    if weights is not None:
        same_shape(scores, weights)
    if targets.size and (targets.min() < 0 or targets.max() > 1):
        raise ValueError(f"targets lie in [{targets.min()}, {targets.max()}]; expected probabilities in [0, 1]")
    w = xp.ones_like(scores) if weights is None else weights.astype(scores.dtype, copy=False)
    total = w.sum() if w.sum() > 0 else w.dtype.type(1)
    losses = xp.maximum(scores, 0) - scores * targets + xp.log1p(xp.exp(-xp.abs(scores)))
    loss = (w * losses).sum() / total

    def backward(dloss):
        return (lambda: dloss * w / total * (stable_sigmoid(scores) - targets),
                lambda: -dloss * w / total * scores,
                lambda: None if weights is None else dloss * (losses - loss) / total)

    return loss.astype(scores.dtype, copy=False), backward


@op
def smooth_l1(x, target, *, beta=1.0):
    """Squared near zero, absolute far away, so that one bad box cannot dominate (Girshick, ICCV 2015, equation 3).

        d = x − target      loss = mean( d²/(2·beta) if |d| < beta else |d| − beta/2 )

        dx = clip(d/beta, −1, 1)·dloss / n      dtarget = −dx

    x, target: the same shape.  The paper has beta = 1 and sums where we take the mean over all n entries.
    """
    same_shape(x, target)
    if beta <= 0:
        raise ValueError(f"beta is {beta}; expected a number > 0")
    xp, n = array_module(x), max(1, x.size)
    d = x - target
    size = xp.abs(d)
    loss = xp.where(size < beta, d * d / (2 * beta), size - beta / 2).sum() / n

    def backward(dloss):
        dx = xp.clip(d / beta, -1, 1) * (dloss / n)
        return dx, -dx

    return loss.astype(x.dtype, copy=False), backward


@op
def mse(x, target):
    """Mean squared error (均方误差): loss = mean((x − target)²)      dx = 2·(x − target)·dloss / n      dtarget = −dx

    x, target: the same shape, n entries.
    """
    same_shape(x, target)
    n = max(1, x.size)
    d = x - target

    def backward(dloss):
        dx = d * (2 * dloss / n)
        return dx, -dx

    return (d * d).sum() / n, backward


def same_shape(x, target):
    if np.shape(x) != np.shape(target):
        raise ValueError(f"x has shape {np.shape(x)} and target {np.shape(target)}; the loss compares entry by entry")
