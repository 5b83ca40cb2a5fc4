"""Who found what: detections, in the order of their scores, claim objects, at many thresholds of overlap at once."""

import numpy as np

from minivision.kernels.registry import Kernel


@Kernel
def pair(overlap, start, first, crowd, ignored, thresholds):
    """(A,T,D) which object each detection finds, −1 for none: COCO's greedy rule (cocoeval.py,
    `evaluateImg`).

    overlap (P,)      of every detection with every object of its image and class, one detection
    after the other start (D+1,)      where in `overlap` each detection begins; they come by
    image and class, best score first first (D,)        the object that its first entry belongs
    to; the others follow crowd (G,)        objects that stand for many, and may be found any
    number of times ignored (A,G)     objects that do not count, in each of A ways of counting
    thresholds (T,)   the least overlap

    A detection takes the free object that it overlaps most, the later one of equals; one that is
    ignored only if no other will do.
    """
    A, T, D = len(ignored), len(thresholds), len(first)
    found = np.full((A, T, D), -1, np.int32)
    for a, t in np.ndindex(A, T):
        free = np.ones(len(crowd), bool)
        for d in range(D):
            objects = first[d] + np.arange(start[d + 1] - start[d])
            shared = overlap[start[d]:start[d + 1]]
            for group in (~ignored[a, objects], ignored[a, objects]):
                fits = np.flatnonzero(group & (free | crowd)[objects] & (shared >= thresholds[t]))
                if fits.size:
                    best = fits[::-1][shared[fits[::-1]].argmax()]
                    found[a, t, d] = objects[best]
                    free[objects[best]] = False
                    break
    return found
