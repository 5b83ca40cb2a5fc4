"""Winograd's convolution F(4×4, 3×3): sixteen results for 36 multiplications instead of 144 (Lavin and Gray, CVPR 2016).

Cut the result into tiles of 4×4; each sees 6×6 pixels. With three constant matrices, for one channel and one filter,

    y = Aᵀ · [ (G·w·Gᵀ) ⊙ (Bᵀ·x·B) ] · A           x (6,6)   w (3,3)   y (4,4)

and since the sum over the channels can be taken before the last step, entry kl of all tiles is a matrix product:

    U_kl (O,C) · V_kl (C,tiles) = M_kl (O,tiles)                                    for each of the 36 kl

That is linear in w and in x, so both gradients are made of the same matrices: dM = A·dy·Aᵀ, dU_kl = dM_kl·V_klᵀ,
dw = Gᵀ·dU·G; and dx is the correlation of dy with the filters turned round, by the same algorithm.

The price is accuracy: V is made with factors up to 5 and y with factors up to 8, along each axis, that cancel. In float32 the
error is about 1e-5 of the largest result where the direct sum has about 1e-6 (`tests/test_winograd.py` holds both to their bounds).
And a NaN or infinity spoils every result of the tiles that see it, not only those whose patch holds it. `with
exact_convolution():` (kernels/registry.py) never takes this road.
"""

import numpy as np

from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.film import Axis, Band, Film, lay
from minivision.kernels.cpu.microkernel import ROWS, VECTORS, sandwich
from minivision.kernels.cpu.products import add_dots, strip_of_products
from minivision.kernels.cpu.strips import POOLED, pool_rows, write_rows
from minivision.kernels.cpu.threads import split
from minivision.kernels.cpu.vector import VECTOR_BYTES
from minivision.kernels.registry import exact

TILE, SEEN = 4, 6               # places of a tile, pixels it sees, along an axis
B_T = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]])
G = np.array([[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
              [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]])
A_T = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])

TILES = 144                      # at a time, so that V and M stay in the cache
PARTIAL = 1 << 13               # filters × channels up to which every thread may hold a dU of its own
DOT_TILES = 256                 # at a time where the sum is over the tiles

of_input, of_output = sandwich(B_T, unzipped=True), sandwich(A_T, zipped=True)
of_output_gradient, of_filters, of_filter_gradient = sandwich(A_T.T, unzipped=True), sandwich(G), sandwich(G.T)


@compiled
def transform_filters(w, u, vectors):
    """w (9, n) → u (36, n), and the transpose of that map below."""
    of_filters(u.reshape(-1), 0, u.shape[1], w.reshape(-1), 0, w.shape[1], vectors)


@compiled
def transform_filter_gradient(u, w, vectors):
    of_filter_gradient(w.reshape(-1), 0, w.shape[1], u.reshape(-1), 0, u.shape[1], vectors)


@compiled
def gather(film, images, rows, across, pitch, width, planes, channels, length, slopes):
    """planes (36,channels·length) = Bᵀ·x·B, or A·dy·Aᵀ of slopes, of all tiles of a band.

    Each row of tiles overwrites what the one before wrote too far, and behind the last stands 0: there is summed over, too.
    """
    cells, out, plane, lanes = film.reshape(-1), planes.reshape(-1), planes.shape[1], VECTOR_BYTES // film.itemsize
    vectors = -(-across // lanes)
    for c in range(channels):
        t = c * length
        for n in range(images):
            for r in range(rows):
                start = c * film.shape[1] + (n * pitch + TILE * r) * width
                if slopes:
                    of_output_gradient(out, t, plane, cells, start, width, vectors)
                else:
                    of_input(out, t, plane, cells, start, width, vectors)
                t += across
        planes[:, t:t + lanes] = 0


@compiled
def multiply(u, v, starts, m, n, length):
    """m_kl (O,n) = u_kl (O,C) · v_kl (C,n)"""
    _, O, C = u.shape
    for kl in range(36):
        o = 0
        while o < O:
            o = min(o, O - ROWS)
            strip_of_products(m[kl, o * length:], length, u[kl].reshape(-1), o * C, C, v[kl], 0, starts, n, ROWS)
            o += ROWS


@compiled
def scatter_output(m, n, length, image, images, p0, p1, across, b, y, winner, ending, picture):
    """y = Aᵀ·m·A + b, tile by tile, written to the rows p0 … p1 of the band's images with `ending`."""
    cells, out, lines = m.reshape(-1), picture.reshape(-1), picture.shape[1]
    Q = winner.shape[3] * 2 if ending == POOLED else y.shape[3]
    for o in range(y.shape[1]):
        of_output(out, 0, lines, cells, o * length, m.shape[1], -(-n * m.itemsize // VECTOR_BYTES))
        t = 0
        for k in range(images):
            for r0 in range(p0, p1, TILE):
                r1 = min(p1, r0 + TILE)
                if ending == POOLED:
                    pool_rows(out[TILE * t:], lines, b[o], y[image + k, o], winner[image + k, o], r0, r1)
                else:
                    write_rows(out[TILE * t:], lines, b[o], y[image + k, o], r0, r1, Q, ending)
                t += across


def pays(images, C, O, rows, columns):
    """Whether tiles beat the direct sum: 3×3 taps side by side, and enough work on each of the transformed numbers.

    Measured on AVX-512, two cores, sizes from 8² to 160² and 3 to 512 channels: with fewer than 16 channels the transforms
    cost more than they save, with fewer than 48 tiles transforming the filters does.
    """
    side_by_side = ((0, 0), (0, 1), (0, 2))
    return (not exact.get() and rows.taps == columns.taps == side_by_side and rows.step == columns.step == 1
            and C >= 16 and O >= 16 and images * -(-rows.places // TILE) * -(-columns.places // TILE) >= 48)


def pays_for_weights(images, C, O, rows, columns):
    """The same for dw, which is summed over the tiles: it takes more of them than there are channels."""
    return (pays(images, C, O, rows, columns)
            and images * -(-rows.places // TILE) * -(-columns.places // TILE) >= 2 * max(C, O))


@compiled
def correlate_bands(bands, film, layout, x, channel, u, v, m, picture, length, across, b, y, winner, ending):
    """Some bands of rows of tiles, from the pixels x to the results y."""
    C, pitch, width = layout[:3]
    channels, P = np.arange(C) * length, y.shape[2] * 2 if ending == POOLED else y.shape[2]
    for i in range(len(bands)):
        image, images, r0, r1 = bands[i]
        lay(film, x, channel, image, images, TILE * r0, TILE * r1, layout)
        gather(film, images, r1 - r0, across, pitch, width, v, C, length, False)
        n = images * (r1 - r0) * across
        multiply(u, v, channels, m, n, length)
        scatter_output(m, n, length, image, images, TILE * r0, min(P, TILE * r1), across, b, y, winner, ending, picture)


@compiled
def weight_gradient_bands(bands, film, layout, x, channel, slopes, slope_layout, dy, filter, v, m, length, across, u):
    """u (36,O,C) += what some bands of rows of tiles contribute."""
    (C, pitch, width), (O, slope_pitch, slope_width) = layout[:3], slope_layout[:3]
    channels = np.arange(C) * length
    for i in range(len(bands)):
        image, images, r0, r1 = bands[i]
        lay(film, x, channel, image, images, TILE * r0, TILE * r1, layout)
        lay(slopes, dy, filter, image, images, TILE * r0, TILE * r1, slope_layout)
        gather(film, images, r1 - r0, across, pitch, width, v, C, length, False)
        gather(slopes, images, r1 - r0, across, slope_pitch, slope_width, m, O, length, True)
        vectors = -(-images * (r1 - r0) * across * x.itemsize // VECTOR_BYTES)
        for kl in range(36):                            # u_kl (O,C) += m_kl (O,n) · v_kl (C,n)ᵀ
            add_dots(u[kl].reshape(-1), 0, C, m[kl], length, O, v[kl], channels, C, vectors)


def filters_in_tiles(w):
    """w (O,C,3,3) → U (36,O,C)."""
    O, C = w.shape[:2]
    lanes = VECTOR_BYTES // w.itemsize
    n = -(-O * C // lanes) * lanes
    taps, u = np.zeros((9, n), w.dtype), np.empty((36, n), w.dtype)
    taps[:, :O * C] = w.reshape(O * C, 9).T
    transform_filters(taps, u, n // lanes)
    return np.ascontiguousarray(u[:, :O * C]).reshape(36, O, C)


def tiles_of(axis):
    """How many tiles there are along an axis of a correlation with three taps in a row, and the film that they see."""
    tiles, first = -(-axis.places // TILE), axis.phases[0]
    return tiles, Axis.of(axis.n, TILE * tiles, [first, first + 1, first + 2])


def bands_of(images, down, across, at_once, shares=True):
    """Bands of rows of tiles, and the same in rows of pixels."""
    bands = Band.cut(images, down, max(1, at_once // across), shares=shares)
    return bands, [band._replace(p0=TILE * band.p0, p1=TILE * band.p1) for band in bands]


def row_length(bands, across, lanes):
    """Room for the tiles of any of the bands, and for the vectors that reach beyond the last of them."""
    return odd(-(-max(band.images * (band.p1 - band.p0) for band in bands) * across // lanes) + VECTORS) * lanes


def planes(channels, length, dtype):
    """36 planes of `channels` rows. Row and plane are odd numbers of vectors long: a power of two would send what is read
    together to the same few lines of the cache."""
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    return np.empty((36, odd(channels * length // lanes + 1) * lanes), dtype)


def odd(n):
    return n | 1


def correlate_by_tiles(y, x, channel, w, b, rows, columns, ending, winner):
    """y (N,O,P,Q) = b + the correlation of the channels of x (N,…,H,W) from `channel` on with w (O,C,3,3).

    rows, columns: the Axes of the direct sum; ending, winner: see strips.py.
    """
    (O, C), u, lanes = w.shape[:2], filters_in_tiles(w), VECTOR_BYTES // x.itemsize
    (down, rows), (across, columns) = tiles_of(rows), tiles_of(columns)
    bands, pixels = bands_of(len(x), down, across, TILES)
    film, length = Film.of(rows, columns, C, pixels), row_length(bands, across, lanes)

    def work(first, last):
        correlate_bands(np.array(bands[first:last]), film.zeros(x.dtype), film.layout, x, channel, u, planes(C, length, x.dtype),
                        planes(O, length, x.dtype), np.empty((TILE, TILE * length), x.dtype), length, across, b, y, winner, ending)

    split(len(bands), work)


def weight_gradient_by_tiles(dy, filter, O, x, channel, C, rows, columns):
    """→ dw (O,C,3,3) of the O filters from `filter` on and the C channels from `channel` on, by the transpose of the same map."""
    N, lanes = len(dy), VECTOR_BYTES // x.itemsize
    (down, rows), (across, columns) = tiles_of(rows), tiles_of(columns)
    many = O * C > PARTIAL
    bands, pixels = bands_of(N, down, across, DOT_TILES, shares=not many)
    film, length = Film.of(rows, columns, C, pixels), row_length(bands, across, lanes)
    places = [Axis.of(n, axis.places, [0]) for n, axis in zip(dy.shape[2:], (rows, columns))]

    def gradient(first, last, lo, hi):
        slope, u = Film.of(*places, hi - lo, pixels), np.zeros((36, hi - lo, C), x.dtype)
        weight_gradient_bands(np.array(bands[first:last]), film.zeros(x.dtype), film.layout, x, channel, slope.zeros(x.dtype),
                              slope.layout, dy, filter + lo, planes(C, length, x.dtype), planes(hi - lo, length, x.dtype),
                              length, across, u)
        return u

    if many:
        u = np.concatenate(split(O, lambda lo, hi: gradient(0, len(bands), lo, hi), least=ROWS, parts=4), axis=1)
    else:
        u = sum(split(len(bands), lambda first, last: gradient(first, last, 0, O), parts=4))
    n = -(-O * C // lanes) * lanes
    padded, taps = np.zeros((36, n), u.dtype), np.empty((9, n), u.dtype)
    padded[:, :O * C] = u.reshape(36, O * C)
    transform_filter_gradient(padded, taps, n // lanes)
    return np.ascontiguousarray(taps[:, :O * C].T).reshape(O, C, 3, 3)
