"""From thousands of scored boxes to the few that are reported: the last step of every detector."""

from minivision.backend import array_module
from minivision.detection.answers import Detections
from minivision.detection.boxes import clip
from minivision.detection.suppression import by_class

__all__ = ["select"]


def select(boxes, scores, size, *, least=0.05, threshold=0.5, most=100, candidates=400):
    """`Detections` in an image of (H,W).

    boxes (R,4), or (R,K,4) one for each class      scores (R,K): how likely row r is class k

        score ≥ least → in each class the best `candidates` → clip to the image → suppression at IoU > threshold → `most` of all

    A row may be reported as several classes, each with its own score, as COCO's and VOC's evaluation reward it.
    """
    xp = array_module(boxes, scores)
    if len(scores) > candidates:
        cut = -xp.partition(-scores, candidates - 1, axis=0)[candidates - 1]
        scores = xp.where(scores >= cut, scores, -1)
    row, label = xp.nonzero(scores >= max(least, 0))
    score = scores[row, label]
    chosen = clip(boxes[row, label] if boxes.ndim == 3 else boxes[row], size)
    seen = (chosen[:, 2:] > chosen[:, :2]).all(axis=1)
    chosen, label, score = chosen[seen], label[seen], score[seen]
    kept = by_class(chosen, score, label, threshold, most)
    return Detections(chosen[kept], label[kept], score[kept])
