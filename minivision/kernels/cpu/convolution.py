"""Convolution without patches: small matrix products in registers that read the images as film.

With the images laid out as film (film.py), column (c, k, l) of the im2col matrix is the film read from a start of its own,
so all three products of a convolution take their patches straight from there:

    y = w·cols          dw = dy·colsᵀ          dx: a correlation of dy with the filters turned round

Bands of film that fit the cache are shared out among the threads. The file holds no formula: those stand in
`kernels/convolution.py` and `ops/convolution.py`.
"""

from functools import partial

import numpy as np

from minivision.kernels import convolution
from minivision.kernels.cpu import winograd
from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.film import Axis, Band, Film, lay
from minivision.kernels.cpu.microkernel import DOT_ROWS, ROWS
from minivision.kernels.cpu.products import add_dots, strip_of_products
from minivision.kernels.cpu.strips import PLAIN, POOLED, RECTIFIED, pool_rows, write_rows
from minivision.kernels.cpu.threads import split
from minivision.kernels.cpu.vector import VECTOR_BYTES

FILM_BYTES = 384 << 10  # of film at a time: it should stay in a core's L2 cache beside the filters
DOT_CELLS = 1000        # places that a weight gradient sums over at a time: fewer, and adding up the lanes takes long
STRIP = 320             # cells of result at a time: a strip of ROWS × STRIP numbers stays in the L1 cache
PARTIAL = 1 << 16       # numbers in dw up to which every thread may hold one of its own


@compiled
def correlate_jobs(jobs, film, layout, x, w, starts, b, y, winner, ending, strip):
    """Some (band, group, filters lo … hi) of a correlation; x (N,G·C,H,W), w (G,O,J), b (G,O), y (N,G·O,P,Q)."""
    O, C, pitch, width, laid = w.shape[1], layout[0], layout[1], layout[2], (-1, -1, -1)
    for i in range(len(jobs)):
        image, images, p0, p1, g, lo, hi = jobs[i]
        if laid != (image, p0, g):
            lay(film, x, g * C, image, images, p0, p1, layout)
            laid = (image, p0, g)
        correlate_band(film, image, images, p0, p1, pitch, width, w[g], starts, b[g], y, winner, g * O, ending, lo, hi, strip)


@compiled
def correlate_band(film, image, images, p0, p1, pitch, width, w, starts, b, y, winner, first, ending, lo, hi, strip):
    """One band of film times the filters w (O,J) lo … hi, written to the channels of y (N,·,P,Q) from `first` on."""
    J, cells = w.shape[1], film.reshape(-1)
    weights, out, length = w.reshape(-1), strip.reshape(-1), strip.shape[1]
    Q = winner.shape[3] * 2 if ending == POOLED else y.shape[3]
    lanes = VECTOR_BYTES // y.itemsize
    at_once = strip_rows(p1 - p0, width, lanes)
    for n in range(images):
        for r0 in range(p0, p1, at_once):
            r1 = min(p1, r0 + at_once)
            places, start = (r1 - r0) * width, (n * pitch + r0 - p0) * width
            o = lo
            while o < hi:
                filters = ROWS if hi - lo >= ROWS else 1
                o = min(o, hi - filters)                # the last block may repeat some filters of the one before
                strip_of_products(out, length, weights, o * J, J, cells, start, starts, places, filters)
                for f in range(filters):
                    if ending == POOLED:
                        pool_rows(strip[f], width, b[o + f], y[image + n, first + o + f], winner[image + n, first + o + f], r0, r1)
                    else:
                        write_rows(strip[f], width, b[o + f], y[image + n, first + o + f], r0, r1, Q, ending == RECTIFIED)
                o += filters


@compiled
def strip_rows(rows, width, lanes):
    """The even number of rows to a strip that wastes least, where strips are computed in whole vectors."""
    best, least = 2, 1 << 60
    for r in range(2, max(4, STRIP // width + 1), 2):
        full, rest = divmod(rows, r)
        cells = full * (-(-r * width // lanes)) + (-(-rest * width // lanes))
        if cells <= least:
            best, least = r, cells
    return best


@compiled
def weight_gradient_jobs(bands, film, layout, x, starts, C, slopes, slope_layout, dy, O, lo, KL, dw):
    """dw (G,O,C·KL) += what some bands contribute, for as many filters from `lo` on as `slopes` holds."""
    (at_once, pitch, width), filters = layout[:3], slope_layout[0]
    for g in range(len(dw)):
        for i in range(len(bands)):
            image, images, p0, p1 = bands[i]
            lay(slopes, dy, g * O + lo, image, images, p0, p1, slope_layout)
            vectors = -(-((images - 1) * pitch + p1 - p0) * width * x.itemsize // VECTOR_BYTES)
            for c in range(0, C, at_once):
                some = min(C, c + at_once) - c
                lay(film, x, g * C + c, image, images, p0, p1, (some, *layout[1:]))
                add_dots(dw[g].reshape(-1), lo * dw.shape[2] + c * KL, dw.shape[2], slopes.reshape(-1), slopes.shape[1], filters,
                         film.reshape(-1), starts, some * KL, vectors)


@compiled
def turn(w, turned, taps, lo, hi):
    """turned (G,C,O,T) = the taps of w (G,O,C,K·L), for the channels lo … hi."""
    for g in range(len(w)):
        for c in range(lo, hi):
            for o in range(w.shape[1]):
                row, out = w[g, o, c], turned[g, c, o]
                for t in range(len(taps)):
                    out[t] = row[taps[t]]


def taps_of(window):
    """Where each tap of the window looks, from place 0: along the height, along the width."""
    (top, _), (left, _), (d, e) = *window.padding, window.dilation
    return [k * d - top for k in range(window.K)], [l * e - left for l in range(window.L)]


def axes_of(window):
    rows, columns = taps_of(window)
    return (Axis.of(window.H, window.P, rows, window.stride[0]), Axis.of(window.W, window.Q, columns, window.stride[1]))


def correlate_into(y, x, w, b, rows, columns, ending=PLAIN, winner=None):
    """y (N,O,P,Q) = b + the correlation of x (N,C,H,W) with w (G, O/G, C/G·taps), the places and taps given by two Axes."""
    G, O, J = w.shape
    C = x.shape[1] // G
    winner = np.empty((0, 0, 0, 0), np.uint8) if winner is None else winner
    if winograd.pays(len(x), C, O, rows, columns):
        for g in range(G):
            winograd.correlate_by_tiles(y[:, g * O:(g + 1) * O], x, g * C, w[g].reshape(O, C, 3, 3), b[g], rows, columns, ending,
                                        winner[:, g * O:(g + 1) * O])
        return
    strips = C * len(rows.phases) * len(columns.phases)
    bands = Band.cut(len(x), rows.places, max(2, FILM_BYTES // max(1, x.itemsize * strips * columns.pitch)), 2)
    film = Film.of(rows, columns, C, bands)
    starts = film.starts()
    step = filters_at_once(O, len(bands) * G)
    jobs = np.array([(*band, g, o, min(O, o + step)) for g in range(G) for o in range(0, O, step) for band in bands])

    def work(first, last):
        strip = np.empty((ROWS, max(STRIP, 2 * columns.pitch) + 6 * VECTOR_BYTES // x.itemsize), x.dtype)
        correlate_jobs(jobs[first:last], film.empty(x.dtype), film.layout, x, w, starts, b, y, winner, ending, strip)

    split(len(jobs), work)


def filters_at_once(O, units):
    """All filters of a unit together, unless there are too few units to share out."""
    parts = min(O // ROWS, -(-4 // max(1, units)))
    return -(-O // (ROWS * parts)) * ROWS if parts > 1 else O


def correlated(x, w, b, window, groups, ending, halves=1):
    """The correlation with an ending, and the winners where that pools; halves: 2 if each axis of the result is halved."""
    x, O = np.ascontiguousarray(x), len(w)
    y = np.empty((len(x), O, window.P // halves, window.Q // halves), x.dtype)
    winner = np.empty(y.shape, np.uint8) if ending == POOLED else None
    if y.size:
        b = np.zeros(O, x.dtype) if b is None else np.ascontiguousarray(b, x.dtype)
        w = np.ascontiguousarray(w, x.dtype).reshape(groups, O // groups, -1)
        correlate_into(y, x, w, b.reshape(groups, -1), *axes_of(window), ending, winner)
    return y, winner


@convolution.correlate.on("cpu")
def correlate(x, w, b, window, groups=1):
    return correlated(x, w, b, window, groups, PLAIN)[0]


@convolution.correlate_relu.on("cpu")
def correlate_relu(x, w, b, window, groups=1):
    return correlated(x, w, b, window, groups, RECTIFIED)[0]


@convolution.correlate_pool_relu.on("cpu")
def correlate_pool_relu(x, w, b, window, groups=1):
    return correlated(x, w, b, window, groups, POOLED, 2)


@convolution.correlate_input_gradient.on("cpu")
def correlate_input_gradient(dy, w, window, groups=1):
    """A pixel of x is seen by the taps that fall on its phase, and by those only: for each phase, a correlation of dy."""
    dy, (s, t), C = np.ascontiguousarray(dy), window.stride, w.shape[1] * groups
    dx = np.empty((len(dy), C, window.H, window.W), dy.dtype)
    zero = np.zeros((groups, C // groups), dy.dtype)
    w = np.ascontiguousarray(w, dy.dtype).reshape(groups, -1, w.shape[1], window.K * window.L)
    for i in range(min(s, window.H)):
        for j in range(min(t, window.W)):
            part = dx[:, :, i::s, j::t]
            # Place p of tap k sees row i + s·r of x if p = r + (i − start_k)/s: the taps for which that is whole.
            ks, ls = ([k for k, start in reversed(list(enumerate(starts))) if (at - start) % step == 0]
                      for starts, at, step in zip(taps_of(window), (i, j), (s, t)))
            if not ks or not ls or not part.size:
                part[:] = 0
                continue
            rows, columns = (Axis.of(n, m, [(at - starts[k]) // step for k in kept])
                             for n, m, starts, at, step, kept in zip((window.P, window.Q), part.shape[2:], taps_of(window),
                                                                     (i, j), (s, t), (ks, ls)))
            taps = np.array([k * window.L + l for k in ks for l in ls])
            turned = np.empty((groups, w.shape[2], w.shape[1], len(taps)), w.dtype)
            split(w.shape[2], partial(turn, w, turned, taps), least=16)
            correlate_into(part, dy, turned.reshape(groups, C // groups, -1), zero, rows, columns)
    return dx


@convolution.correlate_weight_gradient.on("cpu")
def correlate_weight_gradient(dy, x, window, groups=1):
    """Few filters: each part takes some of the film and holds a dw of its own. Many: each part takes some of the filters.

    The sums run over the zeros between the rows of dy, too: a NaN or infinity in x spoils all of a channel's dw.
    """
    x, dy, G = np.ascontiguousarray(x), np.ascontiguousarray(dy, x.dtype), groups
    (N, O), C, KL = (len(dy), dy.shape[1] // G), x.shape[1] // G, window.K * window.L
    rows, columns = axes_of(window)
    if N and winograd.pays_for_weights(N, C, O, rows, columns):
        return np.concatenate([winograd.weight_gradient_by_tiles(dy, g * O, O, x, g * C, C, rows, columns) for g in range(G)])
    places = [Axis.of(n, n, [0])._replace(pitch=axis.pitch) for n, axis in ((window.P, rows), (window.Q, columns))]
    phases = len(rows.phases) * len(columns.phases)
    sum_over = max(DOT_CELLS, FILM_BYTES // (x.itemsize * (C * phases + O)))
    many = G * O * C * KL > PARTIAL
    bands = Band.cut(N, window.P, -(-sum_over // columns.pitch), shares=not many) if N else []

    def gradient(dw, first, last, lo, hi):
        if not bands:
            return dw
        slope = Film.of(*places, hi - lo, bands)
        at_once = max(1, min(C, FILM_BYTES // (x.itemsize * phases * slope.cells)))     # channels of x
        film = Film.of(rows, columns, at_once, bands)
        weight_gradient_jobs(np.array(bands[first:last]), film.empty(x.dtype), film.layout, x, film.starts(), C,
                             slope.empty(x.dtype), slope.layout, dy, O, lo, KL, dw)
        return dw

    if many:
        dw = np.zeros((G, O, C * KL), x.dtype)
        split(O, lambda lo, hi: gradient(dw, 0, len(bands), lo, hi), least=DOT_ROWS, parts=4)
    else:
        dw = sum(split(len(bands), lambda a, z: gradient(np.zeros((G, O, C * KL), x.dtype), a, z, 0, O), parts=4))
    return dw.reshape(G * O, C, window.K, window.L)
