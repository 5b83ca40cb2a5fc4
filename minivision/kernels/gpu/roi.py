"""Launching roi.cu."""

import numpy as np

from minivision.backend import array_module
from minivision.kernels import roi
from minivision.kernels.gpu.program import Program, blocks

program = Program("roi.cu", exact=True)


def prepared(xp, boxes, image):
    return xp.ascontiguousarray(boxes, np.float64), xp.ascontiguousarray(image, np.int32)


@roi.roi_align.on("gpu")
def roi_align(x, boxes, image, size, samples):
    xp, R, (_, C, H, W) = array_module(x), len(boxes), x.shape
    y = xp.empty((R, C, *size), x.dtype)
    program.launch("roi_align", (blocks(y.size),), (256,), xp.ascontiguousarray(x), *prepared(xp, boxes, image), y,
                   R, C, H, W, *size, samples)
    return y


@roi.roi_align_gradient.on("gpu")
def roi_align_gradient(dy, boxes, image, shape, samples):
    xp, R, (_, C, H, W) = array_module(dy), len(boxes), shape
    dx = xp.zeros(shape, dy.dtype)
    program.launch("roi_align_gradient", (blocks(dy.size),), (256,), xp.ascontiguousarray(dy), *prepared(xp, boxes, image), dx,
                   R, C, H, W, *dy.shape[2:], samples)
    return dx


@roi.roi_pool.on("gpu")
def roi_pool(x, boxes, image, size):
    xp, R, (_, C, H, W) = array_module(x), len(boxes), x.shape
    x1, y1, x2, y2 = (boxes if isinstance(boxes, np.ndarray) else boxes.get()).T
    edges = [xp.asarray(a, np.int32) for a in (*roi.bins(y1, y2, H, size[0]), *roi.bins(x1, x2, W, size[1]))]
    y, winner = xp.empty((R, C, *size), x.dtype), xp.empty((R, C, *size), np.int32)
    program.launch("roi_pool", (blocks(y.size),), (256,), xp.ascontiguousarray(x), *edges, xp.ascontiguousarray(image, np.int32),
                   y, winner, R, C, H, W, *size)
    return y, winner


@roi.roi_pool_gradient.on("gpu")
def roi_pool_gradient(dy, winner, image, shape):
    xp, (R, C, P, Q), (_, _, H, W) = array_module(dy), dy.shape, shape
    dx = xp.zeros(shape, dy.dtype)
    program.launch("roi_pool_gradient", (blocks(dy.size),), (256,), xp.ascontiguousarray(dy), xp.ascontiguousarray(winner),
                   xp.ascontiguousarray(image, np.int32), dx, R, C, H * W, P * Q)
    return dx
