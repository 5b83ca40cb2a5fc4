"""The terms of detectors' losses. Each is a sum over the entries that were chosen for learning, divided by a number that the
paper names: most of a detector's answers are about nothing, and a mean over all of them would drown the few that count.

Who is chosen, and what the targets are, was decided before, on arrays (`minivision.detection`): labels, targets and weights are
options, which no gradient enters, and a Tensor among them is an error.
"""

from minivision.backend import array_module, sizes
from minivision.kernels import loss as kernels
from minivision.ops.activation import stable_sigmoid
from minivision.ops.loss import labels_that_count, same_shape
from minivision.tensor import op


@op
def class_loss(scores, *, labels, divisor):
    """Which class: softmax and cross-entropy over the rows with a label ≥ 0 (F2, F4: documents 000 §3.4, §3.6).

        p = softmax(scores)      loss = −(1/divisor) Σ_r ln p[r, label_r]      dscores = (p − onehot(label))·dloss / divisor

    scores (R,K) raw   labels (R,) in 0 … K−1, or −1: this row is not asked, and its gradient is 0
    Fast R-CNN's L_cls (Girshick, ICCV 2015, equation 1), SSD's L_conf (Liu et al., ECCV 2016, equation 3), YOLO v2's class per box.
    """
    xp, (R, K) = array_module(scores), sizes("RK", scores)
    asked = xp.flatnonzero(labels_that_count(labels, R, K, -1))
    above_zero(divisor)
    target = xp.zeros((len(asked), K), scores.dtype)
    target[xp.arange(len(asked)), labels[asked]] = 1
    losses, slope = kernels.cross_entropy_rows(scores[asked], target)

    def backward(dloss):
        dscores = xp.zeros_like(scores)
        dscores[asked] = slope * (dloss / divisor)
        return (dscores,)

    return losses.sum() / divisor, backward


@op
def objectness_loss(scores, *, target, weight, divisor):
    """Is something here: cross-entropy of yes/no questions, each with its weight, 0 for those that are not asked.

        p = sigmoid(scores)      loss = −(1/divisor) Σ w·( t·ln p + (1−t)·ln(1−p) )      dscores = w·(p − t)·dloss / divisor

    scores, target, weight: the same shape, target in [0, 1]
    The RPN's L_cls (Ren et al., NIPS 2015, equation 1, written for one probability instead of two that sum to 1), YOLO v3's
    objectness, and the gradient of its centre (Redmon and Farhadi, arXiv 1804.02767, §2.1, as in its code).
    """
    xp, target, weight = array_module(scores), alike(scores, target), alike(scores, weight)
    above_zero(divisor)
    if target.size and not (target.min() >= 0 and target.max() <= 1):
        raise ValueError(f"targets lie in [{target.min()}, {target.max()}]; expected probabilities in [0, 1]")
    losses = xp.maximum(scores, 0) - scores * target + xp.log1p(xp.exp(-xp.abs(scores)))
    slope = weight * (stable_sigmoid(scores) - target)
    return (weight * losses).sum() / divisor, lambda dloss: (slope * (dloss / divisor),)


@op
def box_loss(offsets, *, target, positive, divisor, beta=1.0):
    """Where: smooth L1 over the four offsets of every positive row (F15's L_loc, F3 as it must be, F5: linear offsets, no softmax).

        d = offsets − target      loss = (1/divisor) Σ_positive Σ_4 ( d²/(2·beta) if |d| < beta else |d| − beta/2 )

        doffsets = clip(d/beta, −1, 1)·dloss / divisor in positive rows, else 0

    offsets, target (R,4)   positive (R,) bool
    Fast R-CNN's L_loc (Girshick, ICCV 2015, equations 2 and 3), the RPN's L_reg (Ren et al. 2015, equation 1), SSD's L_loc (Liu
    et al. 2016, equation 2); beta = 1 in the papers, 1/9 in the RPN of the authors' code.
    """
    xp, target, (R, four) = array_module(offsets), alike(offsets, target), sizes("RF", offsets)
    above_zero(divisor)
    if four != 4 or positive.shape != (R,):
        raise ValueError(f"offsets have shape {offsets.shape} and positive {positive.shape}; expected (R,4) and (R,)")
    d = xp.where(positive[:, None], offsets - target, 0)
    size = xp.abs(d)
    loss = xp.where(size < beta, d * d / (2 * beta), size - beta / 2).sum() / divisor
    return loss, lambda dloss: (xp.clip(d / beta, -1, 1) * (dloss / divisor),)


@op
def squared_loss(x, *, target, weight, divisor):
    """All of YOLO v1's terms (Redmon et al., CVPR 2016, equation 3), and the widths and heights of v2 and v3: weighted squares.

        loss = (1/divisor) Σ w·(x − target)²      dx = 2·w·(x − target)·dloss / divisor

    x, target, weight: the same shape; weight is λ where an entry is asked, 0 elsewhere
    """
    above_zero(divisor)
    d = x - alike(x, target)
    slope = alike(x, weight) * d
    return (slope * d).sum() / divisor, lambda dloss: (slope * (2 * dloss / divisor),)


def alike(x, target):
    """The target (or the weights) in x's precision; ValueError for another shape."""
    same_shape(x, target)
    return target.astype(x.dtype, copy=False)


def above_zero(divisor):
    if not divisor > 0:
        raise ValueError(f"divisor is {divisor}; expected a number > 0 (an image without objects: divide by 1)")
