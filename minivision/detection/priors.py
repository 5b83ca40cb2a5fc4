"""YOLO's priors (先验框): box shapes found by clustering the training set's own (Redmon and Farhadi, CVPR 2017, §2)."""

import numpy as np

from minivision.backend import as_rng, to_device

__all__ = ["best_overlap", "cluster", "shape_iou"]


def on_cpu(shapes):
    return np.asarray(to_device(shapes, "cpu"), float)


def shape_iou(a, b):
    """(R,K) IoU of shapes a (R,2) and b (K,2), widths and heights, laid on one centre: only size and form count."""
    a, b = on_cpu(a), on_cpu(b)
    shared = np.minimum(a[:, None], b).prod(axis=2)
    return shared / (a.prod(axis=1)[:, None] + b.prod(axis=1) - shared)


def best_overlap(shapes, priors):
    """The mean over shapes of the IoU with the nearest prior: the figure of the paper's Figure 2 and Table 1."""
    return float(shape_iou(shapes, priors).max(axis=1).mean())


def cluster(shapes, K, rng, rounds=300):
    """(K,2) shapes, small to large: k-means (k均值聚类) with the distance d = 1 − IoU instead of
    Euclid's, for which a pixel more on a large box would weigh as much as on a small one.

    shapes (R,2) widths and heights > 0; a cluster's centre is the mean of its members. Starts
    are drawn as k-means++ does, far from each other.
    """
    shapes, rng = on_cpu(shapes), as_rng(rng)
    if shapes.ndim != 2 or shapes.shape[1] != 2 or not (np.isfinite(shapes) & (shapes > 0)).all():
        raise ValueError(f"shapes {shapes.shape}: expected rows of a width and a height, all > 0")
    distinct = len(np.unique(shapes, axis=0))
    if not 1 <= K <= distinct:
        raise ValueError(f"{K} priors from {distinct} different shapes; expected 1 … {distinct}")
    centres = shapes[rng.integers(len(shapes))][None]
    while len(centres) < K:
        distance = 1 - shape_iou(shapes, centres).max(axis=1)
        distance[distance < 1e-12] = 0                  # a shape that is a centre already
        if distance.sum() == 0:
            raise ValueError(f"{K} priors, but only {len(centres)} shapes that differ by more than rounding")
        chosen = rng.choice(len(shapes), p=distance / distance.sum())
        centres = np.concatenate([centres, shapes[[chosen]]])
    before = None
    for _ in range(rounds):
        nearest = shape_iou(shapes, centres).argmax(axis=1)
        if before is not None and (nearest == before).all():
            break
        before = nearest
        members = [shapes[nearest == k] for k in range(K)]
        centres = np.stack([m.mean(axis=0) if len(m) else c for m, c in zip(members, centres)])
    return centres[np.argsort(centres.prod(axis=1))]
