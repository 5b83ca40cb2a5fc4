"""Depthwise convolution: groups of so few channels that there is no matrix product left, only sums along rows of film.

A group with one channel and one filter is y = Σ_kl w_kl · film[start_kl + i]: one number of the filter times one long row, K·L
times. The tiles of microkernel.py get their speed from several filters that see the same channel, so they cannot help; what
costs time here is everything around the sums. Hence one compiled loop that takes a channel from its pixels to its results while
it is in the nearest cache, and nothing in Python that grows with the number of channels. 3×3 filters with stride 1 or 2, which
nearly all such layers have, are summed by walk.py.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.film import Axis, Band, Film, lay, places_of
from minivision.kernels.cpu.microkernel import dot, tile
from minivision.kernels.cpu.strips import CEILING, CLIPPED, PLAIN, POOLED, RECTIFIED, pool_rows, write_rows
from minivision.kernels.cpu.threads import WORTH, split
from minivision.kernels.cpu.vector import VECTOR_BYTES
from minivision.kernels.cpu.walk import walk_down

MOST = 4                        # channels and filters of a group up to which this road is the shorter one
CELLS = 4096                    # of film for one channel: it stays in the L1 cache together with the results
LONG, SHORT, DOTS = 8, 4, 9     # vectors of results at a time; taps whose sums run side by side
A_CELL, A_ROW = 16, 256         # multiplications that take as long as what else is done for a cell of film, for a row

long_row, short_row, dots, walk_1, walk_2 = tile(1, LONG), tile(1, SHORT), dot(1, DOTS), walk_down(1), walk_down(2)


def pays(G, C, O):
    return G >= 4 and max(C, O) <= MOST


@compiled
def sum_of_taps(out, w, w0, J, film, start, starts, n):
    """out[i] = Σ_j w[w0 + j] · film[start + starts[j] + i] for i < n, and some more: whole vectors, several at a time."""
    i, lanes = 0, VECTOR_BYTES // film.itemsize
    while i < n:
        if n - i > SHORT * lanes:
            long_row(out[i:], 0, w, w0, J, film, start + i, starts, 0, J)
            i += LONG * lanes
        else:
            short_row(out[i:], 0, w, w0, J, film, start + i, starts, 0, J)
            i += SHORT * lanes


@compiled
def correlate_blocks(lo, hi, film, layout, x, w, starts, b, y, winner, ending, strip, groups, at_once, walk):
    """The blocks lo … hi, counted over all images, of `groups` groups: x (N,G·C,H,W), w (G,O,J), b (G,O) → y (N,G·O,P,Q).

    walk: the stride of 3×3 taps whose film holds all pixels, or 0: film of the places, and any taps.
    """
    (G, O, J), width, P, Q, ldy, step = w.shape, layout[2], y.shape[2], y.shape[3], y.strides[2] // y.itemsize, max(1, walk)
    weights, cells, C, length = w.reshape(-1), film.reshape(-1), layout[0] // groups, film.size // groups
    least = y.dtype.type(0 if ending in (RECTIFIED, CLIPPED) else -np.inf)
    most = y.dtype.type(CEILING if ending == CLIPPED else np.inf)
    if ending == POOLED:
        P, Q = 2 * P, 2 * Q
    for block in range(lo, hi):
        n, first = divmod(block, -(-G // groups))
        first *= groups
        some = min(G - first, groups)
        for p0 in range(0, P, at_once):
            p1 = min(P, p0 + at_once)
            lay(film, x, first * C, n, 1, step * p0, step * (p1 - 1) + 1, (some * C, *layout[1:]))
            for g in range(some):
                for o in range(O):
                    channel, start, bias = (first + g) * O + o, g * length, b[first + g, o]
                    if walk == 1:
                        walk_1(y[n, channel, p0:], ldy, p1 - p0, Q, cells, start, width, weights, channel * 9, bias, least, most)
                    elif walk == 2:
                        walk_2(y[n, channel, p0:], ldy, p1 - p0, Q, cells, start, width, weights, channel * 9, bias, least, most)
                    else:
                        sum_of_taps(strip, weights, channel * J, J, cells, start, starts, (p1 - p0) * width)
                        if ending == POOLED:
                            pool_rows(strip, width, bias, y[n, channel], winner[n, channel], p0, p1)
                        else:
                            write_rows(strip, width, bias, y[n, channel], p0, p1, Q, ending)


@compiled
def weight_gradient_blocks(lo, hi, film, layout, x, starts, slopes, slope_layout, dy, O, dw, groups, at_once):
    """dw (G·O,·): the filters of the blocks lo … hi, summed over all images of x (N,G·C,H,W) and dy (N,G·O,P,Q)."""
    (N, filters, P, _), width, C = dy.shape, layout[2], layout[0] // groups
    G, J, out, cells, slope = filters // O, dw.shape[1], dw.reshape(-1), film.reshape(-1), slopes.reshape(-1)
    for first in range(lo * groups, min(G, hi * groups), groups):
        some = min(G - first, groups)
        for n in range(N):
            for p0 in range(0, P, at_once):
                p1 = min(P, p0 + at_once)
                lay(film, x, first * C, n, 1, p0, p1, (some * C, *layout[1:]))
                lay(slopes, dy, first * O, n, 1, p0, p1, (some * O, *slope_layout[1:]))
                vectors = -(-(p1 - p0) * width * dy.itemsize // VECTOR_BYTES)
                for o in range(some * O):
                    for j in range(0, J, DOTS):
                        dots(out, (first * O + o) * J + j, 0, slope, o * slopes.shape[1], 0, cells, starts, o // O * J + j, vectors)


@compiled
def spread(lo, hi, dy, wide):
    """wide (M,2P−1,2Q−1): the numbers of dy (M,P,Q) two pixels apart and zeros between, for the maps lo … hi."""
    for m in range(lo, hi):
        wide[m] = 0
        for p in range(dy.shape[1]):
            row, out = dy[m, p], wide[m, 2 * p]
            for q in range(len(row)):
                out[2 * q] = row[q]


class Plan(NamedTuple):
    """Groups in a block and rows of places at a time, film for them, film for the results' slopes, and the starts of the taps of
    each group, (groups,·), the last repeated up to whole rounds of `dots`; the fewest blocks that are worth a thread."""

    groups: int
    at_once: int
    film: Film
    slope: Film
    starts: np.ndarray
    least: int

    @classmethod
    @lru_cache(256)
    def of(cls, G, C, O, rows, columns, step=1):
        places, taps = (rows.places - 1) // step + 1, C * len(rows.taps) * len(columns.taps)
        at_once = max(2, min(places + 1, CELLS // (step * columns.pitch)) // 2 * 2)
        band = Band(0, 1, 0, min(step * (at_once - 1) + 1, rows.places))
        groups = max(1, min(G // 4, CELLS // (C * len(rows.phases) * len(columns.phases) * band.p1 * columns.pitch)))
        film, slope = Film.of(rows, columns, groups * C, [band]), Film.of(*places_of(rows, columns), groups * O, [band])
        work = groups * O * places * (columns.pitch * (taps + A_CELL) + A_ROW)
        starts = np.pad(film.starts.reshape(groups, taps), ((0, 0), (0, -taps % DOTS)), "edge")
        return cls(groups, at_once, film, slope, starts, -(-WORTH // work))


@lru_cache(256)
def side_by_side(n, places, first):
    """The axis of three taps on neighbouring pixels, from `first` on."""
    return Axis.of(n, places, [first, first + 1, first + 2])


@lru_cache(256)
def walking(rows, columns):
    """(step, rows, columns): the axes of all pixels, for three taps side by side along both axes at stride 1 or 2, else step 0."""
    step, taps = rows.step, {1: ((0, 0), (0, 1), (0, 2)), 2: ((0, 0), (1, 0), (0, 1))}
    if columns.step != step or not rows.taps == columns.taps == taps.get(step):
        return 0, rows, columns
    return step, *(side_by_side(axis.n, step * (axis.places - 1) + 1, axis.phases[0]) for axis in (rows, columns))


def correlate_by_channel(y, x, w, b, rows, columns, ending, winner):
    """y (N,G·O,P,Q) = b + the correlation of x (N,G·C,H,W) with w (G,O,C·taps); see `correlate_into`."""
    (G, O, J), step = w.shape, 0
    if J == 9 and ending != POOLED and y.strides[3] == y.itemsize:
        step, rows, columns = walking(rows, columns)
    groups, at_once, film, _, starts, least = Plan.of(G, x.shape[1] // G, O, rows, columns, max(1, step))

    def work(lo, hi):
        strip = np.empty(at_once * columns.pitch + LONG * VECTOR_BYTES // x.itemsize, x.dtype)
        correlate_blocks(lo, hi, film.zeros(x.dtype), film.layout, x, w, starts[0], b, y, winner, ending, strip, groups, at_once,
                         step)

    split(len(x) * -(-G // groups), work, least)


def weight_gradient_by_channel(dy, x, G, rows, columns):
    """→ dw (G·O,C·taps) from dy (N,G·O,P,Q) and x (N,G·C,H,W)."""
    O, C = dy.shape[1] // G, x.shape[1] // G
    groups, at_once, film, slope, starts, least = Plan.of(G, C, O, rows, columns)
    dw = np.zeros((G * O, starts.shape[1]), x.dtype)

    def work(lo, hi):
        weight_gradient_blocks(lo, hi, film.zeros(x.dtype), film.layout, x, starts.reshape(-1), slope.zeros(x.dtype), slope.layout,
                               dy, O, dw, groups, at_once)

    split(-(-G // groups), work, -(-least // max(1, len(x))))
    return dw[:, :C * len(rows.taps) * len(columns.taps)]


def spreads(G, C, O, window):
    """3×3 taps side by side with stride 2: to multiply by zeros is cheaper than to write every second pixel of dx, four times."""
    usual = window.K == window.L == 3 and window.stride == (2, 2) and window.dilation == (1, 1)
    return usual and pays(G, C, O) and O == 1


def input_gradient_by_channel(dy, w, window):
    """→ dx (N,G·C,H,W): what dy (N,G,P,Q), two pixels apart, gives to the filters w (G,C,3,3) turned round."""
    (N, G, P, Q), C, ((top, _), (left, _)) = dy.shape, w.shape[1], window.padding
    wide = np.empty((N, G, 2 * P - 1, 2 * Q - 1), dy.dtype)
    maps, wider = dy.reshape(N * G, P, Q), wide.reshape(N * G, 2 * P - 1, 2 * Q - 1)
    split(N * G, lambda lo, hi: spread(lo, hi, maps, wider), WORTH // (P * (Q * A_CELL + A_ROW)))
    dx, turned = np.empty((N, G * C, window.H, window.W), dy.dtype), np.ascontiguousarray(w[..., ::-1, ::-1]).reshape(G, C, 9)
    rows, columns = side_by_side(2 * P - 1, window.H, top - 2), side_by_side(2 * Q - 1, window.W, left - 2)
    correlate_by_channel(dx, wide, turned, np.zeros((G, C), dy.dtype), rows, columns, PLAIN, np.empty((0, 0, 0, 0), np.uint8))
    return dx
