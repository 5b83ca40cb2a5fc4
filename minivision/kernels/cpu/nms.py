"""Suppression in blocks: coordinates as rows, so that one box meets sixteen others at a time."""

import numpy as np

from minivision.kernels import nms
from minivision.kernels.cpu.compiled import compiled_exactly


@compiled_exactly
def suppress(x1, y1, x2, y2, area, fallen, threshold):
    """fallen[j] = 1 for every box that a standing one before it removes."""
    zero = x1.dtype.type(0)
    for i in range(len(area)):
        if fallen[i]:
            continue
        a1, b1, a2, b2, size = x1[i], y1[i], x2[i], y2[i], area[i]
        c1, d1, c2, d2, other, out = x1[i + 1:], y1[i + 1:], x2[i + 1:], y2[i + 1:], area[i + 1:], fallen[i + 1:]
        for j in range(len(other)):
            width = (a2 if a2 < c2[j] else c2[j]) - (a1 if a1 > c1[j] else c1[j])
            height = (b2 if b2 < d2[j] else d2[j]) - (b1 if b1 > d1[j] else d1[j])
            shared = (width if width > zero else zero) * (height if height > zero else zero)
            out[j] |= shared / (size + other[j] - shared) > threshold


@nms.survivors.on("cpu")
def survivors(boxes, threshold):
    boxes = boxes if boxes.dtype.kind == "f" else boxes.astype(np.float64)
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
    fallen = np.zeros(len(boxes), np.int32)
    suppress(x1, y1, x2, y2, (x2 - x1) * (y2 - y1), fallen, boxes.dtype.type(threshold))
    return fallen == 0
