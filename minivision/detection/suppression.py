"""Non-maximum suppression (非极大值抑制): a detector answers many times for one object; the surest answer stays."""

import numpy as np

from minivision.backend import array_module
from minivision.detection.boxes import iou, ordered
from minivision.kernels.nms import survivors

__all__ = ["by_class", "gaussian", "linear", "nms", "soft_nms"]


def checked(boxes, scores, threshold):
    xp = array_module(boxes, scores)
    boxes, scores = ordered(boxes), xp.asarray(scores)
    if scores.dtype.kind not in "fiu":
        raise ValueError(f"scores are {scores.dtype}; expected numbers")
    scores = scores if scores.dtype.kind == "f" else scores.astype(np.float64)
    if scores.shape != (len(boxes),) or bool(xp.isnan(scores).any()):
        raise ValueError(f"{len(boxes)} boxes and scores {scores.shape}; expected one score a box, and none of them NaN")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; expected an IoU, 0 … 1")
    return xp, boxes, scores


def nms(boxes, scores, threshold):
    """Indices of the boxes (R,4) that stay, by falling score (R,), the first of equals first.

    From the highest score down, each box that still stands removes every later one with IoU >
    threshold.
    """
    xp, boxes, scores = checked(boxes, scores, threshold)
    order = xp.argsort(-scores, kind="stable")
    return order[survivors(boxes[order], threshold)]


def by_class(boxes, scores, labels, threshold, limit=None):
    """`nms` within each class, labels (R,): a person does not remove the horse. Indices by
    falling score over all classes; at most `limit` of them."""
    xp, boxes, scores = checked(boxes, scores, threshold)
    labels = xp.asarray(labels)
    if labels.shape != scores.shape:
        raise ValueError(f"{len(boxes)} boxes and labels {labels.shape}; expected one label a box")
    kept = [xp.zeros(0, int)]
    for label in xp.unique(labels).tolist():
        mine = xp.flatnonzero(labels == label)
        kept.append(mine[nms(boxes[mine], scores[mine], threshold)])
    kept = xp.sort(xp.concatenate(kept))
    return kept[xp.argsort(-scores[kept], kind="stable")[:limit]]


def gaussian(deviation=0.5):
    """Soft suppression's factor exp(−iou²/σ) (Bodla et al., ICCV 2017, §3)."""
    return lambda overlap: np.exp(-overlap ** 2 / deviation)


def linear(threshold=0.3):
    """Soft suppression's factor 1 − iou where iou ≥ threshold (Bodla et al., ICCV 2017, §3)."""
    return lambda overlap: np.where(overlap >= threshold, 1 - overlap, 1)


def soft_nms(boxes, scores, factor, least=0.001):
    """(indices, new scores), by falling new score: the surest box left is taken, and lowers the
    scores of the rest by factor(iou) instead of removing them (Bodla et al., ICCV 2017, §3).
    Ends where no score reaches `least`.

    boxes (R,4), scores (R,) ≥ 0; factor: `gaussian(σ)`, `linear(threshold)`, or any function of
    an array of IoUs. With a factor of 0 above a threshold and 1 below, it is `nms`. One round an
    answer: for hundreds of boxes, not for thousands.
    """
    xp, boxes, scores = checked(boxes, scores, 0)
    if bool((scores < 0).any()):
        raise ValueError("scores below 0 cannot be lowered by a factor; expected probabilities")
    overlap, scores, order = iou(boxes, boxes), scores.copy(), []
    waiting = xp.ones(len(boxes), bool)
    for _ in range(len(boxes)):
        i = int(xp.where(waiting, scores, -1).argmax())
        if scores[i] < least:
            break
        order.append(i)
        waiting[i] = False
        scores = xp.where(waiting, scores * factor(overlap[i]), scores)
    order = xp.asarray(order, dtype=int)
    return order, scores[order]
