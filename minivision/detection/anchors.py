"""Anchors (锚框): boxes laid over an image beforehand, which a detector then shifts and stretches
onto objects.

Three ways to choose their shapes: by scale and ratio (Faster R-CNN, here), by level of a pyramid
(SSD: default_boxes.py), by clustering the boxes of the training set (YOLO: priors.py). `grid`
places shapes on a feature map for all of them.
"""

import numpy as np

from minivision.backend import array_module
from minivision.detection.boxes import as_boxes

__all__ = ["as_levels", "corner_levels", "grid", "inside", "levels", "shapes"]


def shapes(scales, ratios):
    """(A,2) widths and heights of every scale with every ratio, ratios fastest (Ren et al. 2015,
    §3.1.1).

        width = scale / √ratio      height = scale · √ratio      so that width · height = scale²,
        height / width = ratio

    scales in pixels; the paper has 128, 256, 512 and 1/2, 1, 2: A = 9.
    """
    scale, ratio = np.asarray(scales, float).reshape(-1, 1), np.asarray(ratios, float).reshape(1, -1)
    for name, x in (("scale", scale), ("ratio", ratio)):
        if not (np.isfinite(x) & (x > 0)).all():
            raise ValueError(f"{name}s are {x.ravel().tolist()}; each must be > 0")
    return np.stack([scale / np.sqrt(ratio), scale * np.sqrt(ratio)], axis=-1).reshape(-1, 2)


def grid(shapes, size, stride):
    """(H·W·A, 4) boxes of A shapes (A,2) centred on every cell of a feature map (H,W): row, then
    column, then shape.

    stride: pixels of the image to a cell, a number or (down, across). Cell (p, q) is centred at
    ((p+½)·stride, (q+½)·stride).
    """
    xp, (H, W) = array_module(shapes), size
    shapes = xp.asarray(shapes)
    down, across = stride if np.ndim(stride) else (stride, stride)
    if shapes.ndim != 2 or shapes.shape[1] != 2 or H < 0 or W < 0 or not (down > 0 and across > 0):
        raise ValueError(f"shapes {shapes.shape}, map {H}×{W}, stride {stride}; expected shapes (A,2) and a stride > 0")
    y, x = xp.meshgrid((xp.arange(H) + 0.5) * down, (xp.arange(W) + 0.5) * across, indexing="ij")
    shapes = shapes if shapes.dtype.kind == "f" else shapes.astype(float)
    centre = xp.stack([x, y], axis=-1)[:, :, None].astype(shapes.dtype)                          # (H,W,1,2)
    return xp.concatenate([centre - shapes / 2, centre + shapes / 2], axis=-1).reshape(-1, 4)


def levels(shapes, sizes, strides):
    """(R,4) boxes of several maps, one after the other: for each map shapes (A,2), its size (H,W) and its stride."""
    maps = zip(shapes, sizes, strides, strict=True)
    return np.concatenate([grid(np.asarray(level, float), size, stride) for level, size, stride in maps])


def corner_levels(shapes, sizes, frame):
    """(R,4) boxes of several maps as torchvision lays them, for its weights: shapes rounded to whole pixels, centred on each cell's
    upper left corner, a cell being ⌊frame/size⌋ pixels: at the coarsest map of a frame of 800 that is 61 and not 64.

    shapes (A,2) of each map, its size (H,W), and the frame (P,Q) that all maps show.
    """
    found = []
    for level, (H, W) in zip(shapes, sizes, strict=True):
        half = np.round(np.asarray(level, float) / 2)
        y, x = np.meshgrid(np.arange(H) * (frame[0] // H), np.arange(W) * (frame[1] // W), indexing="ij")
        centre = np.stack([x, y], axis=-1)[:, :, None]
        found.append(np.concatenate([centre - half, centre + half], axis=-1).reshape(-1, 4))
    return np.concatenate(found)


def as_levels(shapes, strides):
    """Shapes of every map as nested tuples of floats; ValueError if there are not as many lists of them as maps. Tuples, since an
    array that a network holds would be saved with its weights."""
    rows = [tuple(map(tuple, np.asarray(level, float).reshape(-1, 2).tolist())) for level in shapes]
    if len(rows) != len(strides) or not all(rows):
        raise ValueError(f"shapes of {len(rows)} maps ({', '.join(str(len(level)) for level in rows)}) for maps of strides "
                         f"{tuple(strides)}; expected some for each")
    return rows


def inside(boxes, size, slack=0):
    """(R,) which boxes lie within an image (H,W), or stick out by at most `slack` pixels. Faster R-CNN trains on those."""
    (H, W), boxes = size, as_boxes(boxes)
    return (boxes[:, 0] >= -slack) & (boxes[:, 1] >= -slack) & (boxes[:, 2] <= W + slack) & (boxes[:, 3] <= H + slack)
