"""Pairing as one loop over detections, one threshold and way of counting after the other."""

import numpy as np

from minivision.kernels import pairing
from minivision.kernels.cpu.compiled import compiled_exactly
from minivision.kernels.cpu.threads import split


@compiled_exactly
def claim(overlap, start, first, crowd, ignored, threshold, found):
    """found[d] = the object that detection d takes, or −1."""
    free = np.ones(len(crowd), np.bool_)
    for d in range(len(first)):
        least, ignored_least, best, second = threshold, threshold, -1, -1
        for i in range(start[d], start[d + 1]):
            g = first[d] + i - start[d]
            if overlap[i] < threshold or not (free[g] or crowd[g]):
                continue
            if not ignored[g] and overlap[i] >= least:
                least, best = overlap[i], g
            elif ignored[g] and overlap[i] >= ignored_least:
                ignored_least, second = overlap[i], g
        best = best if best >= 0 else second
        found[d] = best
        if best >= 0:
            free[best] = False


@pairing.pair.on("cpu")
def pair(overlap, start, first, crowd, ignored, thresholds):
    A, T, D = len(ignored), len(thresholds), len(first)
    found = np.empty((A * T, D), np.int32)

    def work(lo, hi):
        for i in range(lo, hi):
            claim(overlap, start, first, crowd, ignored[i // T], thresholds[i % T], found[i])

    split(A * T, work)
    return found.reshape(A, T, D)
