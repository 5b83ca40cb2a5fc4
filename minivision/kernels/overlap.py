"""Overlap of boxes (R,4) x1 y1 x2 y2: how much each of one list shares with each of another (交并比)."""

import numpy as np

from minivision.backend import array_module
from minivision.kernels.registry import Kernel


@Kernel
def iou_matrix(a, b):
    """(R,S) intersection over union of every box of a (R,4) with every box of b (S,4), both of
    one float type.

        iou = I / (area_a + area_b − I)        and 0 where the union is empty
    """
    xp = array_module(a, b)
    corner, opposite = xp.maximum(a[:, None, :2], b[:, :2]), xp.minimum(a[:, None, 2:], b[:, 2:])
    width, height = xp.maximum(opposite - corner, 0).swapaxes(0, 2).swapaxes(1, 2)
    shared = width * height
    area_a, area_b = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b))
    union = area_a[:, None] + area_b - shared
    with np.errstate(divide="ignore", invalid="ignore"):
        return xp.where(union > 0, shared / union, union.dtype.type(0))
