"""Average precision (平均精度) under the three protocols that papers quote, all of which are called
"mAP".

    voc07   VOC 2007: precision read at 11 recalls, IoU ≥ 0.5              (Everingham et al.,
            IJCV 2010, §4.2)
    voc10   VOC 2010 and later: the whole area under the curve, IoU ≥ 0.5   (devkit of 2012, §3.4.1)
    coco    101 recalls, ten thresholds 0.50 … 0.95, sizes, crowds         (coco.py)

Precision P = TP/(TP + FP): how much of what is reported is there. Recall R = TP/(all objects):
how much of what is there is reported (document 002, §3.2.2, names both and gives neither). Both
are read down the list of detections, best score first.
"""

from dataclasses import dataclass, field

import numpy as np

from minivision.detection import coco
from minivision.detection.answers import Detections, Target
from minivision.detection.curves import Curve, area_under, eleven_points
from minivision.detection.pairs import Pairs

__all__ = ["Curve", "Detections", "Result", "Target", "evaluate"]


@dataclass
class Result:
    """What `evaluate` returns.

    ap, ap50, ap75    means over the classes that have objects to find; for VOC, `ap` is at IoU
                      0.5, as `ap50`
    per_class         {label: AP}, for those classes alone; for COCO the mean over ten thresholds
    curves            {label: Curve} of precision and recall at IoU 0.5
    absent            labels that were reported but have no object to find: they are in no mean
                      (an AP of 0/0)
    stats             the twelve figures of COCO, in its order and under its names; empty for VOC

    Where nothing is to be found at all a mean is NaN, for COCO −1, as its code writes it.
    """

    protocol: str
    ap: float
    ap50: float
    ap75: float
    per_class: dict
    curves: dict
    absent: tuple = ()
    stats: list = field(default_factory=list)

    def table(self, classes=None):
        """The figures as text; classes: names by label."""
        name = lambda label: classes[label] if classes else f"class {label}"
        lines = [f"{value:8.4f}  {what}" for what, value in zip(coco.FIGURES, self.stats)]
        lines += [] if self.stats else [f"{self.ap:8.4f}  mean AP ({self.protocol}) at IoU 0.50", f"{self.ap75:8.4f}  at IoU 0.75"]
        lines += [f"{value:8.4f}  {name(label)}, {self.curves[label].objects} objects" for label, value in self.per_class.items()]
        return "\n".join(lines + [f"       —  {name(label)}: reported, but there is none to find" for label in self.absent])

    def __str__(self):
        return self.table()


def evaluate(detections, targets, protocol="coco"):
    """Score detections against targets: two lists with one `Detections` and one `Target` for
    each image, in the same order.

    protocol: "coco", "voc07" or "voc10". Detections of equal score keep the order of images, and
    within one their own. ValueError for lists of different lengths or other contents.
    """
    if protocol not in ("coco", "voc07", "voc10"):
        raise ValueError(f"protocol is {protocol!r}; expected 'coco', 'voc07' or 'voc10'")
    if protocol == "coco":
        pairs = Pairs.of(detections, targets, most=coco.MOST[-1], crowds=True)
        stats, per_class, curves = coco.figures(pairs)
        ap, ap50, ap75 = stats[:3]
    else:
        pairs, stats = Pairs.of(detections, targets), []
        average = eleven_points if protocol == "voc07" else area_under
        curves = voc_curves(pairs, 0.5)
        per_class = {label: average(curve) for label, curve in curves.items()}
        strict = [average(curve) for curve in voc_curves(pairs, 0.75).values()]
        ap = ap50 = float(np.mean(list(per_class.values()))) if per_class else float("nan")
        ap75 = float(np.mean(strict)) if strict else float("nan")
    absent = tuple(sorted(set(pairs.label.tolist()) - set(per_class)))
    return Result(protocol, ap, ap50, ap75, per_class, curves, absent, stats)


def voc_curves(pairs, threshold):
    """{label: Curve} by VOC's rule: each detection answers for the one object that it overlaps most.

        IoU < threshold             wrong
        the object is difficult     not counted (a crowd, which VOC does not have, neither)
        found already               wrong: a duplicate
        else                        right
    """
    right, _, skipped = pairs.claims(threshold)
    unasked, curves = pairs.difficult | pairs.crowd, {}
    for label in np.unique(pairs.object_label[~unasked]).tolist():
        mine = np.flatnonzero((pairs.label == label) & ~skipped)
        mine = mine[np.argsort(-pairs.score[mine], kind="stable")]
        curves[label] = Curve.of(right[mine], pairs.score[mine], int((pairs.object_label[~unasked] == label).sum()))
    return curves
