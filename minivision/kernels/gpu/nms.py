"""Launching nms.cu."""

import numpy as np

from minivision.backend import array_module
from minivision.kernels import nms
from minivision.kernels.gpu.program import Program, blocks

WORD = 64
program = Program("nms.cu", exact=True)


@nms.survivors.on("gpu")
def survivors(boxes, threshold):
    xp, R = array_module(boxes), len(boxes)
    boxes = boxes if boxes.dtype.kind == "f" else boxes.astype(np.float64)
    words = blocks(R, WORD)
    mask, fallen = xp.empty((R, words), np.uint64), xp.zeros(words, np.uint64)
    program.launch("overlaps", (words, words), (WORD,), xp.ascontiguousarray(boxes), mask, R, words, threshold)
    if R:
        program.launch("sweep", (1,), (256,), mask, fallen, R, words)
    bits = (fallen[:, None] >> xp.arange(WORD, dtype=np.uint64)) & np.uint64(1)
    return bits.reshape(-1)[:R] == 0
