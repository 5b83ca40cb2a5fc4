"""Every detection beside every object of its image and class: the flat table that all protocols of evaluation read."""

from dataclasses import dataclass

import numpy as np

from minivision.backend import to_device
from minivision.detection.answers import Detections, Target

__all__ = ["Pairs", "ranges"]


def ranges(starts, counts):
    """starts[0], starts[0]+1, … (counts[0] of them), starts[1], …: one after the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)


def stacked(items, name, dtype=float):
    columns = [to_device(getattr(item, name), "cpu") for item in items]
    return np.concatenate(columns).astype(dtype) if columns else np.zeros(0, dtype)


@dataclass
class Pairs:
    """Detections and objects of all images, sorted by image, then class, then score; and the
    overlap of those that could match.

    image, label, score, area     of D detections
    object_label, …               of G objects
    start (D+1,), first (D,)      the overlaps of detection d are overlap[start[d]:start[d+1]],
    with the objects first[d], first[d]+1, …
    """

    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    area: np.ndarray
    rank: np.ndarray            # place among the detections of its image and class, best first
    object_label: np.ndarray
    object_area: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    start: np.ndarray
    first: np.ndarray
    overlap: np.ndarray
    detection_order: np.ndarray         # where each detection, and each object, stood before sorting
    object_order: np.ndarray

    @staticmethod
    def of(detections, targets, most=None, any_class=False, crowds=False):
        """Of lists with one entry an image. most: detections kept of each image and class.
        any_class: objects of every class of the image are looked at, to tell a wrong name from a
        wrong place. crowds: what counts for a crowd is how much of the detection lies in it
        (COCO), not the IoU."""
        check(detections, targets)
        counts = [len(d) for d in detections], [len(t) for t in targets]
        image, object_image = (np.repeat(np.arange(len(n)), n) for n in counts)
        label, object_label = stacked(detections, "labels", np.int64), stacked(targets, "labels", np.int64)
        score = stacked(detections, "scores")
        used, code = np.unique(np.concatenate([label, object_label]), return_inverse=True)       # labels may be any numbers
        code, object_code = np.split(np.zeros_like(code) if any_class else code, [len(label)])
        group, object_group = image * len(used) + code, object_image * len(used) + object_code
        order = np.lexsort((-score, group))                     # stable: of equal scores, the one that came first
        object_order = np.argsort(object_group, kind="stable")
        group, object_group = group[order], object_group[object_order]
        rank = np.arange(len(order)) - np.searchsorted(group, group)
        if most is not None:
            order, group, rank = order[rank < most], group[rank < most], rank[rank < most]
        first = np.searchsorted(object_group, group)
        count = np.searchsorted(object_group, group, side="right") - first
        box = stacked(detections, "boxes").reshape(-1, 4)[order]
        object_box = stacked(targets, "boxes").reshape(-1, 4)[object_order]
        crowd = stacked(targets, "crowd", bool)[object_order]
        area = (box[:, 2:] - box[:, :2]).prod(axis=1)
        d, g = np.repeat(np.arange(len(order)), count), ranges(first, count)
        shared = np.maximum(np.minimum(box[d, 2:], object_box[g, 2:]) - np.maximum(box[d, :2], object_box[g, :2]), 0).prod(axis=1)
        object_size = (object_box[:, 2:] - object_box[:, :2]).prod(axis=1)
        whole = np.where(crowd[g] & crowds, area[d], area[d] + object_size[g] - shared)
        overlap = np.divide(shared, whole, out=np.zeros(len(d)), where=whole > 0)
        return Pairs(image[order], label[order], score[order], area, rank, object_label[object_order],
                     stacked(targets, "area")[object_order], stacked(targets, "difficult", bool)[object_order], crowd,
                     np.concatenate([[0], np.cumsum(count)]), first, overlap, order, object_order)

    def best(self):
        """(overlap, object) of the object that each detection overlaps most, the first of equals; 0 and −1 where there is none."""
        D, count = len(self.first), np.diff(self.start)
        some = np.flatnonzero(count)
        most, found = np.zeros(D), np.full(D, -1)
        if len(some):
            most[some] = np.maximum.reduceat(self.overlap, self.start[some])
            d = np.repeat(np.arange(D), count)
            winners = np.flatnonzero(self.overlap == most[d])
            d, at = np.unique(d[winners], return_index=True)
            found[d] = self.first[d] + winners[at] - self.start[d]
        return most, found

    def claims(self, threshold):
        """(right, duplicate, skipped), each (D,) bool, by VOC's rule: a detection answers for the one
        object that it overlaps most. Of those with enough overlap the best score is right, and the
        others are duplicates; on a difficult object or a crowd they do not count."""
        most, best = self.best()
        fits, unasked = most >= threshold, self.difficult | self.crowd
        skipped = fits & np.append(unasked, False)[best]
        duplicate, right = fits & ~skipped, np.zeros(len(best), bool)
        claiming = np.flatnonzero(duplicate)
        _, earliest = np.unique(best[claiming], return_index=True)      # by falling score within an image and class
        right[claiming[earliest]] = True
        return right, duplicate & ~right, skipped


def check(detections, targets):
    if len(detections) != len(targets):
        raise ValueError(f"{len(detections)} lists of detections and {len(targets)} targets; expected one of each for every image")
    for items, kind in ((detections, Detections), (targets, Target)):
        for i, item in enumerate(items):
            if not isinstance(item, kind):
                raise ValueError(f"image {i}: {type(item).__name__} where a {kind.__name__} is expected")
