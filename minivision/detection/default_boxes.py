"""SSD's default boxes (默认框): small ones on fine feature maps, large ones on coarse maps (F15:
document 000, §3.5, which prints no formula; Liu et al., ECCV 2016, §2.2)."""

import numpy as np

from minivision.detection.anchors import grid

__all__ = ["SSD300", "SSD300_COCO", "default_boxes", "level_shapes", "scales", "ssd300_levels"]


def scales(m, least=0.2, most=0.9):
    """(m,) share of the image's side that the boxes of each of m levels take (equation 4, F15):

        s_k = s_min + (s_max − s_min)/(m − 1) · (k − 1)         k = 1 … m
    """
    if m < 1 or not 0 < least <= most:
        raise ValueError(f"{m} levels from {least} to {most}; expected at least one, and 0 < least ≤ most")
    return np.linspace(least, most, m)


def level_shapes(size, following, ratios):
    """(A,2) widths and heights of one level, A = 2 + 2·len(ratios): a square of `size`, one of
    √(size · following) (the "extra" box between this level and the next), and for each ratio r
    of `ratios` (without 1) boxes of r and 1/r."""
    squares = [(size, size), (np.sqrt(size * following),) * 2]
    return np.array(squares + [(size * np.sqrt(a), size / np.sqrt(a)) for r in ratios for a in (r, 1 / r)])


def default_boxes(levels):
    """(R,4) boxes of all levels in pixels. levels: (map size (H,W), stride, size, following size, ratios) of each."""
    return np.concatenate([grid(level_shapes(size, following, ratios), (H, W), stride)
                           for (H, W), stride, size, following, ratios in levels])


def ssd300_levels(sizes):
    """The six levels of SSD300 (figure 2; ratios: §3.1), for the seven sizes of its boxes in pixels of an image of 300²."""
    maps, strides, ratios = (38, 19, 10, 5, 3, 1), (8, 16, 32, 64, 100, 300), ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
    return tuple(((n, n), stride, size, following, r)
                 for n, stride, size, following, r in zip(maps, strides, sizes, sizes[1:], ratios))


# As its authors released it for VOC: 0.1 of 300 pixels on conv4_3, then 0.2 … 0.88 on five more, 8732 boxes. The sizes are those
# of equation 4 with m = 5, rounded down to whole percent: a step of 17 %. For COCO, whose objects are smaller: 0.07, then 0.15 …
SSD300 = ssd300_levels((30, 60, 111, 162, 213, 264, 315))
SSD300_COCO = ssd300_levels((21, 45, 99, 153, 207, 261, 315))
