"""The two forms in which boxes travel: what is in an image (`Target`), and what a detector says is in it (`Detections`)."""

from dataclasses import dataclass

import numpy as np

from minivision.backend import array_module
from minivision.detection.boxes import area, ordered

__all__ = ["Detections", "Target"]


def column(boxes, values, name, dtype):
    """One entry a box, as an array of the given kind, where the boxes lie. ValueError for another number of them, for what is no
    number, or for an array on another device."""
    n, xp = len(boxes), array_module(boxes, values)
    values = xp.asarray(values)
    if values.shape != (n,) and not (n == 0 and values.size == 0):
        raise ValueError(f"{n} boxes and {name} of the shape {values.shape}; expected one for each box")
    kinds = {"i": "iu", "b": "biu", "f": "fiu"}[np.dtype(dtype).kind]
    if values.size and values.dtype.kind not in kinds:
        raise ValueError(f"{name} are {values.dtype}; expected {np.dtype(dtype)}")
    return values.reshape(n).astype(dtype)


def check_labels(labels):
    if len(labels) and int(labels.min()) < 0:
        raise ValueError(f"label {int(labels.min())}; classes are 0 … K−1, and background has no number")


@dataclass
class Target:
    """The objects of one image; checked when made.

    boxes       (G,4) x1 y1 x2 y2, each with an area > 0
    labels      (G,) class, 0 … K−1
    difficult   (G,) VOC's mark: hard to see even for people; not counted when found, nor when missed
    crowd       (G,) COCO's mark: one box around many objects; never counted, takes up any number
                of detections
    area        (G,) in square pixels, as COCO sorts objects into small, medium and large: of the
                object's outline where that is known, else of its box
    """

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray | None = None
    crowd: np.ndarray | None = None
    area: np.ndarray | None = None

    def __post_init__(self):
        self.boxes = ordered(self.boxes)
        sizes, n = area(self.boxes), len(self.boxes)
        xp = array_module(self.boxes)
        flat = xp.flatnonzero(~(sizes > 0))
        if len(flat):
            raise ValueError(f"object {int(flat[0])} is {self.boxes[int(flat[0])].tolist()}: a box without an area")
        self.labels = column(self.boxes, self.labels, "labels", np.int64)
        check_labels(self.labels)
        self.difficult = xp.zeros(n, bool) if self.difficult is None else column(self.boxes, self.difficult, "difficult", bool)
        self.crowd = xp.zeros(n, bool) if self.crowd is None else column(self.boxes, self.crowd, "crowd", bool)
        self.area = sizes if self.area is None else column(self.boxes, self.area, "area", np.float64)
        wrong = xp.flatnonzero(~(xp.isfinite(self.area) & (self.area >= 0)))
        if len(wrong):
            raise ValueError(f"object {int(wrong[0])} has the area {float(self.area[int(wrong[0])])}; expected a number ≥ 0")

    def __len__(self):
        return len(self.boxes)

    def keep(self, which):
        """These objects only: a mask (G,) or indices."""
        return Target(self.boxes[which], self.labels[which], self.difficult[which], self.crowd[which], self.area[which])

    def moved(self, boxes):
        """The same objects at other places, boxes (G,4); their areas grow as their boxes do."""
        growth = area(boxes) / area(self.boxes)
        return Target(boxes, self.labels, self.difficult, self.crowd, self.area * growth)


@dataclass
class Detections:
    """What a detector found in one image: boxes (D,4) x1 y1 x2 y2, labels (D,) in 0 … K−1, scores (D,); in any order."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def __post_init__(self):
        self.boxes = ordered(self.boxes)
        self.labels = column(self.boxes, self.labels, "labels", np.int64)
        check_labels(self.labels)
        kind = getattr(self.scores, "dtype", np.dtype(float))
        self.scores = column(self.boxes, self.scores, "scores", kind if kind.kind == "f" else np.dtype(float))
        if bool(array_module(self.scores).isnan(self.scores).any()):
            raise ValueError("a score is NaN")

    def __len__(self):
        return len(self.boxes)

    def keep(self, which):
        """These detections only, in this order: a mask (D,) or indices."""
        return Detections(self.boxes[which], self.labels[which], self.scores[which])
