"""Ten mistakes that people really make in detectors, each put in on request (chapter 16): which step of the ladder sees it?

    with failure_lab.injected("labels off by one"):
        for step in ladder.climb(model, images, targets): print(step)

A mistake is in the library only inside the `with`; outside nothing is changed.
"""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from minivision import ops
from minivision.detection import boxes, coder, suppression
from minivision.kernels.nms import survivors
from minivision.models import SSD
from minivision.models.faster_rcnn import RoIHeads
from minivision.models.small_backbone import SmallBackbone
from minivision.nn import BatchNorm2d

__all__ = ["BUGS", "Bug", "injected"]


@dataclass(frozen=True)
class Bug:
    """about: what was written wrongly; model: the detector to look at; step: of the ladder, where it shows; owner.name: the
    function or attribute that `wrong` (given the right one) replaces."""

    about: str
    model: str
    step: str
    owner: object
    name: str
    wrong: object


@contextmanager
def injected(name):
    """Inside the `with` the library has this mistake. ValueError for a name that is not in BUGS."""
    if name not in BUGS:
        raise ValueError(f"no bug {name!r}; there are {', '.join(BUGS)}")
    bug = BUGS[name]
    right = vars(bug.owner)[bug.name]
    with ExitStack() as stack:
        stack.callback(setattr, bug.owner, bug.name, right)
        setattr(bug.owner, bug.name, bug.wrong(right))
        yield bug


def swapped(decode):
    return lambda offsets, anchors, *rest: decode(offsets[:, [1, 0, 3, 2]], anchors, *rest)


def only_boxes_sorted(_):
    return lambda self, rois, *columns: (rois[np.argsort(self.level(rois), kind="stable")], *columns)


def without_background(choose):
    def wrong(self, proposals, targets):
        chosen = choose(self, proposals, targets)
        return tuple(column[chosen[2] > 0] for column in chosen)
    return wrong


def plain_sum(class_loss):
    return lambda scores, *, labels, divisor: class_loss(scores, labels=labels, divisor=1)


def as_they_come(_):
    return lambda rows, scores, threshold: survivors(boxes.as_boxes(rows), threshold)


def one_more(_):
    def wrong(a, b):
        low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
        shared = np.maximum(high - low + 1, 0).prod(axis=2)
        area = lambda rows: (rows[:, 2:] - rows[:, :2] + 1).prod(axis=1)
        return shared / (area(a)[:, None] + area(b) - shared)
    return wrong


def through_softmax(box_loss):
    return lambda offsets, **options: box_loss(ops.softmax(offsets, axis=1), **options)


def shifted(answers):
    return lambda self, scores, *rest: answers(self, np.roll(scores, -1, axis=-1), *rest)


def forgetful(statistics):
    return lambda self, x: statistics(self, x) | ({"observe": None} if self.training else {})


BUGS = {
    "+1 in IoU": Bug("widths as x2 − x1 + 1, from the days of whole pixels",
                     "ssd", "examples", boxes, "iou_matrix", one_more),
    "unsorted NMS": Bug("suppression goes through the boxes as they come, not by score",
                        "ssd", "examples", suppression, "nms", as_they_come),
    "wrong stride": Bug("the maps are said to be twice as fine as they are",
                        "ssd", "anchors", SmallBackbone, "strides", lambda _: (4, 8, 16)),
    "no 1/N": Bug("the class loss is a sum, not divided by the number of matched boxes",
                  "ssd", "chance", ops, "class_loss", plain_sum),
    "softmax on offsets": Bug("F3 as the document prints it: offsets that are positive and sum to 1",
                              "ssd", "chance", ops, "box_loss", through_softmax),
    "x and y swapped": Bug("decoding takes the second offset for x",
                           "ssd", "targets", coder, "decode", swapped),
    "labels off by one": Bug("the last column of scores is read as background, not the first",
                             "ssd", "targets", SSD, "answers", shifted),
    "RoI order": Bug("RoIs are sorted by pyramid level, their labels are not",
                     "faster-rcnn", "targets", RoIHeads, "sorted_by_level", only_boxes_sorted),
    "no background proposals": Bug("the second stage learns only from proposals with an object",
                                   "faster-rcnn", "overfit", RoIHeads, "choose", without_background),
    "frozen batch norm": Bug("the running averages are never updated",
                             "ssd", "overfit", BatchNorm2d, "statistics", forgetful),
}
