"""Sampling: of many thousand anchors nearly all are background, and a loss over all of them learns to say "nothing"."""

import numpy as np

from minivision.backend import array_module, as_rng
from minivision.detection.matching import BACKGROUND

__all__ = ["balanced", "hard_negatives"]


def balanced(match, number, rng, positive=0.5):
    """(positives, negatives): indices of at most `number` anchors, at most the share `positive`
    of them with an object; background fills up (Ren et al. 2015, §3.1.3: 256 of an image, half
    and half). match (A,) as matching.py returns; −2 is never drawn."""
    xp, rng = array_module(match), as_rng(rng)
    if number < 0 or not 0 <= positive <= 1:
        raise ValueError(f"a sample of {number} with a share {positive} of positives; expected ≥ 0 and 0 … 1")
    with_object, without = xp.flatnonzero(match >= 0), xp.flatnonzero(match == BACKGROUND)
    P = min(len(with_object), int(number * positive))
    B = min(len(without), number - P)
    return (with_object[xp.asarray(rng.permutation(len(with_object))[:P])],
            without[xp.asarray(rng.permutation(len(without))[:B])])


def hard_negatives(loss, match, ratio=3):
    """(N,A) bool: in each image the background anchors with the largest loss, `ratio` for each
    positive one (Liu et al. 2016, §2.2: "hard negative mining", 难负例挖掘). loss, match (N,A); the
    first of equals. An image without positives gets none."""
    xp = array_module(loss, match)
    if loss.shape != match.shape or loss.ndim != 2:
        raise ValueError(f"loss {loss.shape} and match {match.shape}: expected one (N,A) each")
    negative = match == BACKGROUND
    wanted = ratio * (match >= 0).sum(axis=1, keepdims=True)
    order = xp.argsort(xp.where(negative, -loss, np.inf), axis=1, kind="stable")
    rank = xp.argsort(order, axis=1, kind="stable")
    return negative & (rank < wanted)
