"""Shapes as signed distances: how far a point lies outside a shape's edge (negative inside). A picture of any size, angle and
sharpness follows from one function."""

import numpy as np

__all__ = ["SHAPES", "disc", "handwriting", "polygon", "ring"]


def disc(x, y):
    """The unit disc."""
    return np.hypot(x, y) - 1


def ring(x, y):
    """Between the radii 0.56 and 1."""
    return np.abs(np.hypot(x, y) - 0.78) - 0.22


def polygon(corners):
    """The distance function of a polygon with these corners (n,2), in order."""
    corners = np.asarray(corners, float)

    def distance(x, y):
        nearest, inside = np.full(np.shape(x), np.inf), np.zeros(np.shape(x), bool)
        for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0)):
            ex, ey, px, py = bx - ax, by - ay, x - ax, y - ay
            along = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1)          # the edge's point nearest to (x, y)
            nearest = np.minimum(nearest, np.hypot(px - along * ex, py - along * ey))
            if ey:                                                                  # a ray to the right crosses the edge: in ↔ out
                inside ^= ((ay <= y) != (by <= y)) & (x < ax + (y - ay) * ex / ey)
        return np.where(inside, -nearest, nearest)

    return distance


def around(radii):
    """Corners at equal angles, the first at the top, with these distances from the centre in turn."""
    angle = 2 * np.pi * np.arange(len(radii)) / len(radii) - np.pi / 2
    return np.stack([radii * np.cos(angle), radii * np.sin(angle)], axis=1)


_arm = 0.3
SHAPES = {
    "disc": disc,
    "ring": ring,
    "square": polygon(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.9),
    "triangle": polygon(around(np.ones(3))),
    "star": polygon(around(np.tile([1, 0.45], 5))),
    "cross": polygon([[-_arm, -1], [_arm, -1], [_arm, -_arm], [1, -_arm], [1, _arm], [_arm, _arm],
                      [_arm, 1], [-_arm, 1], [-_arm, _arm], [-1, _arm], [-1, -_arm], [-_arm, -_arm]]),
}


def handwriting(digit):
    """Something like a distance from the strokes of a small picture (8,8) of 0 … 255: negative where it is more than half
    bright."""
    ink = np.pad(digit.astype(float) / 255, 1)
    n = len(ink)

    def distance(x, y):
        column, row = np.clip((x + 1) / 2 * (n - 2) + 0.5, 0, n - 1.001), np.clip((y + 1) / 2 * (n - 2) + 0.5, 0, n - 1.001)
        q, p = column.astype(int), row.astype(int)
        u, v = column - q, row - p
        smooth = lambda t: t * t * (3 - 2 * t)                          # rounder than straight lines from pixel to pixel
        u, v = smooth(u), smooth(v)
        value = (1 - v) * ((1 - u) * ink[p, q] + u * ink[p, q + 1]) + v * ((1 - u) * ink[p + 1, q] + u * ink[p + 1, q + 1])
        return (0.45 - value) * 0.4

    return distance
