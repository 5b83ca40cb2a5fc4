"""COCO's protocol, to the last digit of its own code (cocodataset.org/#detection-eval;
pycocotools, cocoeval.py).

Each detection takes the free object of its class that it overlaps most, at ten thresholds; AP is
the mean of the precision at 101 recalls, then over thresholds, then over classes. Objects
outside a range of areas are ignored: finding one is neither right nor wrong, and a detection
that finds nothing is ignored if its own area is outside. Crowds are ignored always. COCO knows
no "difficult"; such objects count as any other.
"""

import numpy as np

from minivision.detection.curves import Curve, at_recalls
from minivision.kernels.pairing import pair

__all__ = ["AREAS", "FIGURES", "MOST", "RECALLS", "THRESHOLDS", "figures"]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
AREAS = {"all": (0, 1e10), "small": (0, 32 ** 2), "medium": (32 ** 2, 96 ** 2), "large": (96 ** 2, 1e10)}   # square pixels
MOST = (1, 10, 100)         # detections of an image and class that are looked at
FIGURES = ("AP", "AP at IoU 0.50", "AP at IoU 0.75", "AP of small objects", "AP of medium objects", "AP of large objects",
           "recall, at most 1 detection an image and class", "recall, at most 10", "recall, at most 100",
           "recall of small objects", "recall of medium objects", "recall of large objects")
# Every figure without a threshold in its name is a mean over the ten, the recalls too.
ROUNDING = 1e-9             # x2 − x1 is not always the width that a file gave: areas on a limit count as on it
RIGHT, WRONG = 1, -1        # of a verdict; 0 is ignored


def outside(area):
    """(4,n) whether each area lies outside each range."""
    limits = np.array(list(AREAS.values()))[:, :, None]
    return (area < limits[:, 0] * (1 - ROUNDING)) | (area > limits[:, 1] * (1 + ROUNDING))


def verdicts(pairs):
    """(4,10,D) for each range of areas and threshold, whether each detection is right, wrong or ignored; and ignored (4,G)."""
    ignored = pairs.crowd | outside(pairs.object_area)
    found = pair(pairs.overlap, pairs.start, pairs.first, pairs.crowd, ignored, THRESHOLDS)
    verdict = np.where(outside(pairs.area), 0, WRONG).astype(np.int8)[:, None].repeat(len(THRESHOLDS), axis=1)
    for a in range(len(AREAS)):
        counts = np.append(np.where(ignored[a], 0, RIGHT), 0).astype(np.int8)
        verdict[a] = np.where(found[a] >= 0, counts[found[a]], verdict[a])
    return verdict, ignored


def figures(pairs):
    """(the twelve figures, {label: AP}, {label: Curve at IoU 0.5}) of `Pairs` with at most 100 detections an image and class."""
    verdict, ignored = verdicts(pairs)
    labels = np.unique(pairs.object_label)
    precision = np.full((len(AREAS), len(labels), len(THRESHOLDS)), -1.0)       # mean over recalls; −1: nothing to find
    recall = np.full((len(MOST) + 3, len(labels), len(THRESHOLDS)), -1.0)       # the six last figures, class by class
    curves = {}
    by_label = np.lexsort((-pairs.score, pairs.label))                          # stable: images in order among equals
    ends = np.searchsorted(pairs.label[by_label], labels), np.searchsorted(pairs.label[by_label], labels, side="right")
    for k, (label, lo, hi) in enumerate(zip(labels.tolist(), *ends)):
        mine, objects = by_label[lo:hi], pairs.object_label == label
        for a in range(len(AREAS)):
            number = int((objects & ~ignored[a]).sum())
            if not number:
                continue
            said = verdict[a][:, mine]
            precision[a, k], reached = average(said, number)
            recall[len(MOST) - 1 + a, k] = reached
            if a == 0:
                for m, most in enumerate(MOST[:-1]):
                    recall[m, k] = (said[:, pairs.rank[mine] < most] == RIGHT).sum(axis=1) / number
                counted = said[0] != 0
                curves[label] = Curve.of(said[0][counted] == RIGHT, pairs.score[mine][counted], number)
    mean = lambda x: float(x[x >= 0].mean()) if (x >= 0).any() else -1.0
    ap = [precision[0], precision[0, :, 0], precision[0, :, 5], *precision[1:]]
    per_class = {label: float(precision[0, k].mean()) for k, label in enumerate(labels.tolist()) if label in curves}
    return [mean(x) for x in (*ap, *recall)], per_class, curves


def average(said, number):
    """Mean precision (T,) over the 101 recalls, and the recall reached (T,), from verdicts said (T,D), best score first."""
    right, counted = np.cumsum(said == RIGHT, axis=1), np.cumsum(said != 0, axis=1)
    recall, precision = right / number, right / (counted + np.spacing(1))
    mean = [at_recalls(r, p, RECALLS).mean() for r, p in zip(recall, precision)]
    return mean, recall[:, -1] if said.shape[1] else np.zeros(len(said))
