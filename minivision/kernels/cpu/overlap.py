"""The IoU matrix row by row: the coordinates of the second list lie side by side, so one box meets sixteen at a time."""

import numpy as np

from minivision.kernels import overlap
from minivision.kernels.cpu.compiled import compiled_exactly
from minivision.kernels.cpu.threads import split

WORTH_A_THREAD = 1 << 15        # entries of the matrix; with fewer, starting a thread takes longer than the work


@compiled_exactly
def rows(a, b, out, first, last):
    x1, y1, x2, y2 = b
    zero = x1.dtype.type(0)
    for i in range(first, last):
        a1, b1, a2, b2 = a[i]
        size, row = (a2 - a1) * (b2 - b1), out[i]
        for j in range(len(row)):
            width = (a2 if a2 < x2[j] else x2[j]) - (a1 if a1 > x1[j] else x1[j])
            height = (b2 if b2 < y2[j] else y2[j]) - (b1 if b1 > y1[j] else y1[j])
            shared = (width if width > zero else zero) * (height if height > zero else zero)
            union = size + (x2[j] - x1[j]) * (y2[j] - y1[j]) - shared
            ratio = shared / union
            row[j] = ratio if union > zero else zero


@overlap.iou_matrix.on("cpu")
def iou_matrix(a, b):
    dtype = np.result_type(a, b)
    a, b = np.ascontiguousarray(a, dtype), np.ascontiguousarray(b.T, dtype)
    out = np.empty((len(a), b.shape[1]), dtype)
    split(len(a), lambda first, last: rows(a, b, out, first, last), least=-(-WORTH_A_THREAD // max(1, len(b.T))))
    return out
