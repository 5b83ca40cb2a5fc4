"""Convolution of a small map with many channels, as one matrix product over patches laid out in memory (im2col).

    y (O,P·Q) = w (O,C·K·L) · cols (C·K·L,P·Q)

On a map of 19×19 film wastes a third of its sums on the gaps between rows, and with holes in the filter (dilation 6: SSD's fc6) two
thirds. The patches of so small a map fit into the cache, and laying them out costs little beside hundreds of filters.
"""

import numpy as np

from minivision.kernels.cpu.pointwise import finish, share
from minivision.kernels.cpu.threads import split

PLACES, FILTERS, TERMS = 1600, 64, 2000         # of a map at most; filters, and numbers in a patch, at least
LEAST = 4e11                                    # multiplications, times the numbers in a patch: found by trying


def pays(images, w, window, groups):
    """One group, a small map, and filters enough to make up for the layout (measured with AVX2 on maps of 7² to 38²)."""
    places, terms = window.P * window.Q, w[0].size
    return (groups == 1 and 0 < images <= 4 and 0 < places <= PLACES and len(w) >= FILTERS and terms >= TERMS
            and images * places * len(w) * terms ** 2 >= LEAST)


def correlate(x, w, b, window, groups, ending):
    """x (N,C,H,W), w (O,C,K,L) → y (N,O,P,Q)"""
    (N, C), O, places = x.shape[:2], len(w), window.P * window.Q
    cols, padded = np.empty((N, C, window.K, window.L, window.P, window.Q), x.dtype), window.pad(x)

    def lay(lo, hi):
        for k, l in window.taps():
            cols[:, lo:hi, k, l] = padded[:, lo:hi][window.seen_by(k, l)]

    split(C, lay, parts=4)
    cols, filters = cols.reshape(N, -1, places), np.ascontiguousarray(w, x.dtype).reshape(O, -1)
    b = np.zeros((1, O), x.dtype) if b is None else np.ascontiguousarray(b, x.dtype).reshape(1, O)
    y = np.empty((N, O, places), x.dtype)

    def product(unit, r0, r1, q0, q1):
        np.matmul(filters[r0:r1], cols[unit, :, q0:q1], out=y[unit, r0:r1, q0:q1])
        finish(y, unit, r0, r1, q0, q1, b, 0, ending)

    share(N, O, filters.shape[1], places, product)
    return y.reshape(N, O, window.P, window.Q)
