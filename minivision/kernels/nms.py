"""Greedy non-maximum suppression (非极大值抑制): of boxes that overlap too much, the one with the higher score stays."""

import numpy as np

from minivision.backend import array_module
from minivision.kernels.registry import Kernel


@Kernel
def survivors(boxes, threshold):
    """(R,) bool: which boxes stay. boxes (R,4) x1 y1 x2 y2 come in the order of falling scores.

    One after the other, each box that still stands removes those behind it with IoU > threshold.
    Boxes without an area overlap nothing.
    """
    xp, R = array_module(boxes), len(boxes)
    x1, y1, x2, y2 = boxes.T
    area = (x2 - x1) * (y2 - y1)
    stands = xp.ones(R, bool)
    for i in range(R):
        if not stands[i]:
            continue
        width = xp.minimum(x2[i], x2[i + 1:]) - xp.maximum(x1[i], x1[i + 1:])
        height = xp.minimum(y2[i], y2[i + 1:]) - xp.maximum(y1[i], y1[i + 1:])
        shared = xp.maximum(width, 0) * xp.maximum(height, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            stands[i + 1:] &= ~(shared / (area[i] + area[i + 1:] - shared) > threshold)
    return stands
