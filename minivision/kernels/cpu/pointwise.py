"""1×1 convolutions are matrix products over the channels at every pixel, and BLAS is fastest at those.

    y (O,P·Q) = w (O,C) · x (C,P·Q)          dx = wᵀ · dy          dw = dy · xᵀ

The pixels lie in memory as the product wants them: no film, no patches. A stride picks some of them first. With hundreds of
channels a column of film is spread over as many pages, where BLAS first packs what it reads into a few.
"""

import numpy as np

from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.strips import CEILING, PLAIN, RECTIFIED
from minivision.kernels.cpu.threads import WORTH, split

BLOCK = 16                      # rows or columns of a product: narrower strips waste BLAS


def pays(window, C):
    """One tap, which never sees the padding, and enough channels C in a group for a matrix product."""
    return window.K == window.L == 1 and window.padding == ((0, 0), (0, 0)) and C >= 8


def share(units, M, K, N, product):
    """Call product(unit, r0, r1, q0, q1) for all rows and columns of `units` results (M,N), which are sums over K: shared out by
    units, or each by its longer side."""
    work = max(1, M * K * N)
    if units >= 4:
        split(units, lambda lo, hi: [product(unit, 0, M, 0, N) for unit in range(lo, hi)], -(-WORTH // work))
        return
    for unit in range(units):
        if M >= N:
            split(M, lambda lo, hi, unit=unit: product(unit, lo, hi, 0, N), max(BLOCK, WORTH * M // work), parts=4)
        else:
            split(N, lambda lo, hi, unit=unit: product(unit, 0, M, lo, hi), max(BLOCK, WORTH * N // work), parts=4)


@compiled
def finish(y, unit, r0, r1, q0, q1, b, g, ending):
    """Rows r0 … r1 and columns q0 … q1 of y[unit] += b[g], with an ending of strips.py (NaN stays)."""
    zero, most = y.dtype.type(0), y.dtype.type(CEILING)
    for r in range(r0, r1):
        places, bias = y[unit, r, q0:q1], b[g, r]
        if ending == PLAIN:
            for q in range(q1 - q0):
                places[q] += bias
        elif ending == RECTIFIED:
            for q in range(q1 - q0):
                v = places[q] + bias
                places[q] = zero if v < zero else v
        else:
            for q in range(q1 - q0):
                v = places[q] + bias
                places[q] = most if v > most else (zero if v < zero else v)


def correlate(x, w, b, window, groups, ending):
    """x (N,C,H,W), w (O,C/G,1,1) → y (N,O,P,Q)"""
    G, O, C, places = groups, len(w) // groups, w.shape[1], window.P * window.Q
    seen = np.ascontiguousarray(x[window.seen_by(0, 0)]).reshape(len(x) * G, C, places)
    w = np.ascontiguousarray(w, x.dtype).reshape(G, O, C)
    if b is not None or ending != PLAIN:
        b = np.zeros((G, O), x.dtype) if b is None else np.ascontiguousarray(b, x.dtype).reshape(G, O)
    y = np.empty((len(seen), O, places), x.dtype)

    def product(unit, r0, r1, q0, q1):
        np.matmul(w[unit % G, r0:r1], seen[unit, :, q0:q1], out=y[unit, r0:r1, q0:q1])
        if b is not None:
            finish(y, unit, r0, r1, q0, q1, b, unit % G, ending)

    share(len(y), O, C, places, product)
    return y.reshape(len(x), G * O, window.P, window.Q)


def correlate_input_gradient(dy, w, window, groups):
    """dy (N,O,P,Q), w (O,C/G,1,1) → dx (N,C,H,W)"""
    G, O, C, places = groups, len(w) // groups, w.shape[1], window.P * window.Q
    slopes = np.ascontiguousarray(dy).reshape(len(dy) * G, O, places)
    w = np.ascontiguousarray(w, dy.dtype).reshape(G, O, C).swapaxes(1, 2)
    dx = np.empty((len(slopes), C, places), dy.dtype)

    def product(unit, r0, r1, q0, q1):
        np.matmul(w[unit % G, r0:r1], slopes[unit, :, q0:q1], out=dx[unit, r0:r1, q0:q1])

    share(len(dx), C, O, places, product)
    dx = dx.reshape(len(dy), G * C, window.P, window.Q)
    if window.stride == (1, 1):
        return dx
    spread = np.zeros((len(dy), G * C, window.H, window.W), dx.dtype)
    spread[window.seen_by(0, 0)] = dx
    return spread


def correlate_weight_gradient(dy, x, window, groups):
    """dy (N,O,P,Q), x (N,C,H,W) → dw (O,C/G,1,1): parts of dw for few images, a sum over some images in each part for many."""
    N, G, O, C, places = len(x), groups, dy.shape[1] // groups, x.shape[1] // groups, window.P * window.Q
    seen = np.ascontiguousarray(x[window.seen_by(0, 0)]).reshape(N, G, C, places).swapaxes(2, 3)
    slopes = np.ascontiguousarray(dy, x.dtype).reshape(N, G, O, places)
    if N >= 4:
        worth = -(-WORTH // (G * O * C * places))
        dw = sum(split(N, lambda lo, hi: sum(slopes[n] @ seen[n] for n in range(lo, hi)), worth, parts=4))
    else:
        dw = np.zeros((G, O, C), x.dtype)

        def product(g, r0, r1, q0, q1):
            for n in range(N):
                if n == 0:
                    np.matmul(slopes[n, g, r0:r1], seen[n, g, :, q0:q1], out=dw[g, r0:r1, q0:q1])
                else:
                    dw[g, r0:r1, q0:q1] += slopes[n, g, r0:r1] @ seen[n, g, :, q0:q1]

        share(G, O, N * places, C, product)
    return dw.reshape(G * O, C, 1, 1)
