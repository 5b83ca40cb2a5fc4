"""Boxes (边界框): arrays (R,4) of rows x1 y1 x2 y2, on the CPU or a GPU.

Coordinates are continuous: pixel (row p, column q) of an image is the square from (q, p) to
(q+1, p+1). A box is half-open: its width is x2 − x1, with no "+1" anywhere, and the box of a
whole image (H,W) is 0 0 W H. Formats that count pixels otherwise (VOC begins at 1 and includes
the last) are translated where they are read and written, nowhere else.
"""

import numpy as np

from minivision.backend import array_module
from minivision.kernels.overlap import iou_matrix

__all__ = ["area", "as_boxes", "clip", "covered", "from_centre", "from_corner_size", "giou", "intersection", "iou", "ordered",
           "to_centre", "to_corner_size"]


def as_boxes(boxes, name="boxes"):
    """The same numbers as floats (R,4); an empty list becomes (0,4). ValueError for other
    shapes, and for NaN and infinity, with the first row that is wrong."""
    xp = array_module(boxes)
    boxes = xp.asarray(boxes)
    if boxes.dtype.kind not in "fiu":
        raise ValueError(f"{name} are {boxes.dtype}; expected numbers")
    boxes = boxes if boxes.dtype in (np.float32, np.float64) else boxes.astype(np.float64)
    boxes = boxes.reshape(0, 4) if boxes.shape == (0,) else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} have the shape {boxes.shape}; expected (R,4), rows of x1 y1 x2 y2")
    if not xp.isfinite(boxes).all():
        complain(name, boxes, ~xp.isfinite(boxes), "finite numbers")
    return boxes


def complain(name, boxes, wrong, expected):
    """ValueError that names the first row in which an entry of `wrong` is true."""
    row = int(array_module(boxes).flatnonzero(wrong.any(axis=1))[0])
    raise ValueError(f"{name}: row {row} is {boxes[row].tolist()}; expected {expected}")


def ordered(boxes, name="boxes"):
    """`as_boxes`, and ValueError for the first box whose right or lower edge lies before its left or upper one."""
    boxes = as_boxes(boxes, name)
    wrong = boxes[:, 2:] < boxes[:, :2]
    if wrong.any():
        complain(name, boxes, wrong, "x1 ≤ x2 and y1 ≤ y2")
    return boxes


def area(boxes):
    """(R,) width · height."""
    boxes = ordered(boxes)
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def clip(boxes, size):
    """Cut off what lies outside an image of size (H,W). A box wholly outside keeps no area; it is not removed."""
    xp, boxes, (H, W) = array_module(boxes), as_boxes(boxes), size
    return xp.clip(boxes, 0, xp.asarray([W, H, W, H], boxes.dtype))


def intersection(a, b):
    """(R,S) area that each box of a (R,4) shares with each box of b (S,4)."""
    xp, a, b = array_module(a, b), ordered(a, "a"), ordered(b, "b")
    corner, opposite = xp.maximum(a[:, None, :2], b[:, :2]), xp.minimum(a[:, None, 2:], b[:, 2:])
    return xp.maximum(opposite - corner, 0).prod(axis=2)


def iou(a, b):
    """(R,S) intersection over union (交并比) of each box of a (R,4) with each of b (S,4): 0 apart,
    1 the same.

        iou = I / (area_a + area_b − I)

    Jaccard's index of two sets of points; 0 where neither box has an area.
    """
    a, b = ordered(a, "a"), ordered(b, "b")
    return iou_matrix(a, b)


def covered(a, b):
    """(R,S) share of each box of a that lies inside each box of b: I / area_a. COCO's overlap with a crowd."""
    xp, own = array_module(a, b), area(a)[:, None]
    return xp.where(own > 0, intersection(a, b) / xp.where(own > 0, own, 1), 0)


def giou(a, b):
    """(R,S) generalised IoU (Rezatofighi et al., CVPR 2019, algorithm 1): iou − (hull −
    union)/hull, from −1 to 1.

    The hull is the smallest box around both. Unlike IoU, it says how far apart two boxes are
    that do not touch.
    """
    xp, a, b = array_module(a, b), ordered(a, "a"), ordered(b, "b")
    union = area(a)[:, None] + area(b) - intersection(a, b)
    low, high = xp.minimum(a[:, None, :2], b[:, :2]), xp.maximum(a[:, None, 2:], b[:, 2:])
    hull = (high - low).prod(axis=2)
    return iou(a, b) - xp.where(hull > 0, (hull - union) / xp.where(hull > 0, hull, 1), 0)


def to_centre(boxes):
    """x1 y1 x2 y2 → centre x, centre y, width, height."""
    xp, boxes = array_module(boxes), as_boxes(boxes)
    return xp.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def from_centre(rows):
    """centre x, centre y, width, height → x1 y1 x2 y2."""
    xp, rows = array_module(rows), as_boxes(rows, "rows")
    return xp.concatenate([rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2], axis=1)


def to_corner_size(boxes):
    """x1 y1 x2 y2 → x1, y1, width, height, as COCO writes boxes."""
    xp, boxes = array_module(boxes), as_boxes(boxes)
    return xp.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def from_corner_size(rows):
    """x1, y1, width, height → x1 y1 x2 y2."""
    xp, rows = array_module(rows), as_boxes(rows, "rows")
    return xp.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)
