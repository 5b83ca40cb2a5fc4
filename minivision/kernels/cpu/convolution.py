"""Convolution without patches: small matrix products in registers that read the images as film.

With the images laid out as film (film.py), column (c, k, l) of the im2col matrix is the film read from a start of its own,
so all three products of a convolution take their patches straight from there:

    y = w·cols          dw = dy·colsᵀ          dx: a correlation of dy with the filters turned round

Bands of film that fit the cache are shared out among the threads. The formulas stand in `kernels/convolution.py` and in `ops`.
"""

from functools import lru_cache, partial

import numpy as np

from minivision.kernels import activation, convolution
from minivision.kernels.cpu import depthwise, patches, pointwise, winograd
from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.film import Axis, Band, Film, axes_of, lay, places_of, taps_of, turn
from minivision.kernels.cpu.microkernel import DOT_ROWS, ROWS
from minivision.kernels.cpu.products import add_dots, strip_of_products
from minivision.kernels.cpu.strips import CEILING, CLIPPED, PLAIN, POOLED, RECTIFIED, STRIP, pool_rows, strip_rows, write_rows
from minivision.kernels.cpu.threads import WORTH, split
from minivision.kernels.cpu.vector import VECTOR_BYTES

FILM_BYTES = 384 << 10  # of film at a time: it should stay in a core's L2 cache beside the filters
DOT_CELLS = 1000        # places that a weight gradient sums over at a time: fewer, and adding up the lanes takes long
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
                        write_rows(strip[f], width, b[o + f], y[image + n, first + o + f], r0, r1, Q, ending)
                o += filters


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
    if depthwise.pays(G, C, O):
        depthwise.correlate_by_channel(y, x, w, b, rows, columns, ending, winner)
        return
    jobs, film, least = plan(len(x), G, C, O, rows, columns, x.itemsize)

    def work(first, last):
        strip = np.empty((ROWS, max(STRIP, 2 * columns.pitch) + 6 * VECTOR_BYTES // x.itemsize), x.dtype)
        correlate_jobs(jobs[first:last], film.zeros(x.dtype), film.layout, x, w, film.starts, b, y, winner, ending, strip)

    split(len(jobs), work, least)


@lru_cache(256)
def plan(images, G, C, O, rows, columns, itemsize):
    """The jobs of a correlation, the film that they need, and the fewest jobs that are worth a thread."""
    work = images * G * O * rows.places * columns.pitch * C * len(rows.taps) * len(columns.taps)
    strips = C * len(rows.phases) * len(columns.phases)
    bands = Band.cut(images, rows.places, max(2, FILM_BYTES // max(1, itemsize * strips * columns.pitch)), 2, shares=work > WORTH)
    step = filters_at_once(O, len(bands) * G) if work > WORTH else O
    jobs = np.array([(*band, g, o, min(O, o + step)) for g in range(G) for o in range(0, O, step) for band in bands])
    return jobs, Film.of(rows, columns, C, bands), -(-WORTH * len(jobs) // work)


def filters_at_once(O, units):
    """All filters of a unit together, unless there are too few units to share out."""
    parts = min(O // ROWS, -(-4 // max(1, units)))
    return -(-O // (ROWS * parts)) * ROWS if parts > 1 else O


def correlated(x, w, b, window, groups, ending, halves=1):
    """The correlation with an ending, and the winners where that pools; halves: 2 if each axis of the result is halved."""
    road = pointwise if pointwise.pays(window, w.shape[1]) else patches if patches.pays(len(x), w, window, groups) else None
    if road and ending != POOLED:
        return road.correlate(x, w, b, window, groups, ending), None
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
def correlate_relu(x, w, b, window, groups=1, most=None):
    if most not in (None, CEILING):
        return activation.bend(correlated(x, w, b, window, groups, PLAIN)[0], 0.0, most)
    return correlated(x, w, b, window, groups, RECTIFIED if most is None else CLIPPED)[0]


@convolution.correlate_pool_relu.on("cpu")
def correlate_pool_relu(x, w, b, window, groups=1):
    return correlated(x, w, b, window, groups, POOLED, 2)


@convolution.correlate_input_gradient.on("cpu")
def correlate_input_gradient(dy, w, window, groups=1):
    """A pixel of x is seen by the taps that fall on its phase, and by those only: for each phase, a correlation of dy."""
    if pointwise.pays(window, w.shape[1]):
        return pointwise.correlate_input_gradient(dy, w, window, groups)
    dy, (s, t), C = np.ascontiguousarray(dy), window.stride, w.shape[1] * groups
    if depthwise.spreads(groups, w.shape[1], len(w) // groups, window):
        return depthwise.input_gradient_by_channel(dy, np.asarray(w, dy.dtype), window)
    dx, zero = np.empty((len(dy), C, window.H, window.W), dy.dtype), np.zeros((groups, C // groups), dy.dtype)
    w = np.ascontiguousarray(w, dy.dtype).reshape(groups, -1, w.shape[1], window.K * window.L)
    for i, j, taps, rows, columns in phases_of(window):
        part = dx[:, :, i::s, j::t]
        if not len(taps) or not part.size:
            part[:] = 0
            continue
        turned = np.empty((groups, w.shape[2], w.shape[1], len(taps)), w.dtype)
        split(w.shape[2], partial(turn, w, turned, taps), max(16, WORTH // (8 * w.shape[1] * len(taps))))
        correlate_into(part, dy, turned.reshape(groups, C // groups, -1), zero, rows, columns)
    return dx


@lru_cache(256)
def phases_of(window):
    """[(i, j, taps, rows, columns)]: the pixels i::s, j::t of x, the taps that see them, and the axes on which these read dy."""
    sizes = (window.H, window.W), (window.P, window.Q)
    rows, columns = (list(phases_along(*axis)) for axis in zip(*sizes, taps_of(window), window.stride))
    return [(i, j, np.array([k * window.L + l for k in ks for l in ls]), *axes)
            for i, (ks, *above) in enumerate(rows) for j, (ls, *beside) in enumerate(columns) for axes in [above + beside]]


def phases_along(n, places, starts, step):
    """For each phase of an axis of x, the taps that see it, last tap first, and the axis on which they read dy (None without taps).

    Place p of tap k sees row i + s·r of x if p = r + (i − start_k)/s: the taps for which that is whole.
    """
    for at in range(min(step, n)):
        kept = [k for k, start in reversed(list(enumerate(starts))) if (at - start) % step == 0]
        yield kept, Axis.of(places, len(range(at, n, step)), [(at - starts[k]) // step for k in kept]) if kept else None


@convolution.correlate_weight_gradient.on("cpu")
def correlate_weight_gradient(dy, x, window, groups=1):
    """Few filters: each part takes some of the film and holds a dw of its own. Many: each part takes some of the filters.

    The sums run over the zeros between the rows of dy, too: a NaN or infinity in x spoils all of a channel's dw.
    """
    if pointwise.pays(window, x.shape[1] // groups):
        return pointwise.correlate_weight_gradient(dy, x, window, groups)
    x, dy, G = np.ascontiguousarray(x), np.ascontiguousarray(dy, x.dtype), groups
    (N, O), C, KL = (len(dy), dy.shape[1] // G), x.shape[1] // G, window.K * window.L
    rows, columns = axes_of(window)
    if N and winograd.pays_for_weights(N, C, O, rows, columns):
        return np.concatenate([winograd.weight_gradient_by_tiles(dy, g * O, O, x, g * C, C, rows, columns) for g in range(G)])
    if depthwise.pays(G, C, O):
        return depthwise.weight_gradient_by_channel(dy, x, G, rows, columns).reshape(G * O, C, window.K, window.L)
    many = G * O * C * KL > PARTIAL
    bands, least = gradient_bands(N, G * O, C, rows, columns, x.itemsize, many)

    def gradient(dw, first, last, lo, hi):
        if bands:
            film, slope = gradient_films(bands, hi - lo, C, rows, columns, x.itemsize)
            weight_gradient_jobs(np.array(bands[first:last]), film.zeros(x.dtype), film.layout, x, film.starts, C,
                                 slope.zeros(x.dtype), slope.layout, dy, O, lo, KL, dw)
        return dw

    if many:
        dw = np.zeros((G, O, C * KL), x.dtype)
        split(O, lambda lo, hi: gradient(dw, 0, len(bands), lo, hi), least=DOT_ROWS, parts=4)
    else:
        dw = sum(split(len(bands), lambda a, z: gradient(np.zeros((G, O, C * KL), x.dtype), a, z, 0, O), least, parts=4))
    return dw.reshape(G * O, C, window.K, window.L)


@lru_cache(256)
def gradient_bands(N, O, C, rows, columns, itemsize, many):
    """The bands of a weight gradient, and the fewest that are worth a thread."""
    sum_over = max(DOT_CELLS, FILM_BYTES // (itemsize * (C * len(rows.phases) * len(columns.phases) + O)))
    work = N * O * C * rows.places * columns.pitch * len(rows.taps) * len(columns.taps)
    bands = Band.cut(N, rows.places, -(-sum_over // columns.pitch), shares=not many and work > WORTH) if N else []
    return tuple(bands), -(-WORTH * len(bands) // max(1, work))


@lru_cache(256)
def gradient_films(bands, filters, C, rows, columns, itemsize):
    """Film for as many channels of x at a time as there is room for, and for the slopes at some filters."""
    slope = Film.of(*places_of(rows, columns), filters, bands)
    at_once = FILM_BYTES // (itemsize * len(rows.phases) * len(columns.phases) * slope.cells)
    return Film.of(rows, columns, max(1, min(C, at_once)), bands), slope
