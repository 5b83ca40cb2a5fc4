"""Why is AP not 1? Every wrong answer has one reason (after Hoiem et al., ECCV 2012; duplicates apart, as in Bolya et al., ECCV
2020), and every object that nobody found is missed."""

from dataclasses import dataclass

import numpy as np

from minivision.detection.average_precision import evaluate
from minivision.detection.pairs import Pairs

__all__ = ["Breakdown", "KINDS", "breakdown"]

KINDS = ("right", "localisation", "duplicate", "confusion", "background", "ignored")
ABOUT = {"localisation": "right class, 0.1 ≤ IoU < 0.5", "duplicate": "a better answer for this object came first",
         "confusion": "on an object of another class (IoU ≥ 0.1)", "background": "on nothing (IoU < 0.1)",
         "missed": "objects that no right answer found"}


@dataclass
class Breakdown:
    """kinds: one array (D,) an image, the place in KINDS of each detection; missed: one array
    (G,) bool an image; counts {kind: how many}; gain {kind: what AP50 would gain without that
    kind of mistake}; confused {(said, is): how many}."""

    kinds: list
    missed: list
    counts: dict
    gain: dict
    confused: dict


def breakdown(detections, targets, protocol="voc10", threshold=0.5, least=0.1):
    """Sort every detection and every object by what went wrong with it. Lists as `evaluate`
    takes them.

    right, and which detection of an object is first, are as VOC counts them, at IoU ≥ threshold.
    A wrong one is named by the object that it overlaps most, by at least `least`: of its own
    class (localisation) or of another (confusion). What lies on a difficult object or a crowd of
    its class is ignored. A gain is measured by taking that kind's detections away, or for
    "missed" the objects nobody found, and evaluating again; gains do not add up, since precision
    is a ratio.
    """
    if not 0 < least <= threshold <= 1:
        raise ValueError(f"least {least} and threshold {threshold}; expected 0 < least ≤ threshold ≤ 1")
    own, any_class = Pairs.of(detections, targets), Pairs.of(detections, targets, any_class=True)
    most, best = any_class.best()
    same = any_class.label == np.append(any_class.object_label, -1)[best]
    kind = np.empty(len(own.first), int)
    kind[any_class.detection_order] = np.where(most < least, KINDS.index("background"),
                                               np.where(same, KINDS.index("localisation"), KINDS.index("confusion")))
    kind = kind[own.detection_order]
    right, duplicate, skipped = own.claims(threshold)
    in_crowd = Pairs.of(detections, [t.keep(t.crowd) for t in targets], crowds=True).best()[0] >= threshold    # most of it does
    kind[skipped | in_crowd] = KINDS.index("ignored")
    kind[duplicate] = KINDS.index("duplicate")
    kind[right] = KINDS.index("right")
    missed = ~(own.difficult | own.crowd)
    missed[own.best()[1][right]] = False
    given, lost = np.empty(len(kind), int), np.empty(len(missed), bool)
    given[own.detection_order], lost[own.object_order] = kind, missed
    kinds = np.split(given, np.cumsum([len(d) for d in detections])[:-1]) if len(detections) else []
    lost = np.split(lost, np.cumsum([len(t) for t in targets])[:-1]) if len(targets) else []
    counts = {name: int((kind == i).sum()) for i, name in enumerate(KINDS)} | {"missed": int(missed.sum())}
    return Breakdown(kinds, lost, counts, gains(detections, targets, kinds, lost, protocol), confusions(detections, targets, kinds))


def gains(detections, targets, kinds, missed, protocol):
    before = evaluate(detections, targets, protocol).ap50
    gain = {}
    for name in ABOUT:
        if name == "missed":
            after = evaluate(detections, [t.keep(~m) for t, m in zip(targets, missed)], protocol)
            after.ap50 = after.ap50 if after.curves else 1.0            # nothing was found, and nothing is left to find
        else:
            after = evaluate([d.keep(k != KINDS.index(name)) for d, k in zip(detections, kinds)], targets, protocol)
        gain[name] = after.ap50 - before
    return gain


def confusions(detections, targets, kinds):
    """{(said, is): how many} of the detections that lie on an object of another class."""
    wrong = [d.keep(k == KINDS.index("confusion")) for d, k in zip(detections, kinds)]
    pairs = Pairs.of(wrong, targets, any_class=True)
    _, best = pairs.best()
    both, counts = np.unique(np.stack([pairs.label, pairs.object_label[best]]) if len(best) else np.zeros((2, 0), int),
                             axis=1, return_counts=True)
    return {(int(said), int(true)): int(n) for said, true, n in zip(*both, counts)}
