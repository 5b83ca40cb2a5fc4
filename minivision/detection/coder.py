"""What a detector regresses: boxes written as offsets (偏移量) from their anchors."""

import math

from minivision.backend import array_module
from minivision.detection.boxes import as_boxes, from_centre, to_centre

__all__ = ["decode", "encode"]

LARGEST_STRETCH = math.log(1000 / 16)       # an untrained network may say "e^80 times as wide", or as narrow


def encode(boxes, anchors, deviations=(1, 1, 1, 1)):
    """(R,4) offsets of boxes (R,4) from anchors (R,4) (Girshick et al. 2014, appendix C; Ren et
    al. 2015, equation 2):

        t = ((x − xa)/wa, (y − ya)/ha, log(w/wa), log(h/ha)) / deviations        x y: centres

    Divided by the anchor's size, so that a shift counts as much for a small box as for a large
    one; the logarithm makes "twice" and "half" opposite numbers, and every real number decodes
    to a width > 0. Dividing by `deviations` brings the four to similar size (SSD's "variances"
    0.1, 0.1, 0.2, 0.2). The documents put a softmax here (F3, E6): its outputs are positive and
    sum to 1, and so cannot be offsets. ValueError for a box or an anchor without an area: log 0
    is no number.
    """
    xp = array_module(boxes, anchors)
    boxes, anchors = as_boxes(boxes), as_boxes(anchors, "anchors")
    if boxes.shape != anchors.shape:
        raise ValueError(f"{len(boxes)} boxes and {len(anchors)} anchors; expected one anchor for each box")
    b, a = to_centre(boxes), to_centre(anchors)
    for name, rows, corners in (("box", b, boxes), ("anchor", a, anchors)):
        wrong = xp.flatnonzero((rows[:, 2:] <= 0).any(axis=1))
        if len(wrong):
            raise ValueError(f"{name} {int(wrong[0])} is {corners[int(wrong[0])].tolist()}: it has no area, so it has no offsets")
    t = xp.concatenate([(b[:, :2] - a[:, :2]) / a[:, 2:], xp.log(b[:, 2:] / a[:, 2:])], axis=1)
    return t / xp.asarray(deviations, t.dtype)


def decode(offsets, anchors, deviations=(1, 1, 1, 1), limit=LARGEST_STRETCH):
    """(R,4) boxes from offsets (R,4) and anchors (R,4): `encode` backwards. A side grows
    or shrinks at most e^limit times (62.5)."""
    xp = array_module(offsets, anchors)
    offsets, anchors = as_boxes(offsets, "offsets"), as_boxes(anchors, "anchors")
    if offsets.shape != anchors.shape:
        raise ValueError(f"{len(offsets)} offsets and {len(anchors)} anchors; expected one anchor for each row")
    t, a = offsets * xp.asarray(deviations, offsets.dtype), to_centre(anchors)
    centre, size = a[:, :2] + t[:, :2] * a[:, 2:], a[:, 2:] * xp.exp(xp.clip(t[:, 2:], -limit, limit))
    return from_centre(xp.concatenate([centre, size], axis=1))
