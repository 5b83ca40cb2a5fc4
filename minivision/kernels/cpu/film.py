"""Film: images laid out so that a tap of the filter is one step along a single long row of numbers.

Write the rows of an image one after the other, a column of zeros between them, and the images of a batch one after the
other, a row of zeros between them. Then the pixel that tap (k, l) sees from place i of the row lies at i + step_kl, with
the same step for every place:

    film     a b c 0 d e f 0 g h i 0 …            (an image of 3×3; one zero serves the row before and the row after)
    tap (0, 0), (0, 1), (1, 0) …                  the film itself, read from cell 0, from cell 1, from cell 4 …

so the column matrix of im2col is the film, read from K·L different starts, and never has to be written. What it costs is
a useless result at every zero cell: 1 in 57 for an image 56 wide, 1 in 8 for one 7 wide.

A filter with stride s sees every s-th row. Those rows are one film, the ones between another ("phases"), and each tap
reads the phase it falls on.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.microkernel import clear, copy
from minivision.kernels.cpu.vector import VECTOR_BYTES

SPARE = 160                     # cells behind the last one: the last vectors may reach beyond the end
copy_rows, copy_half_rows = copy(1), copy(2)


class Axis(NamedTuple):
    """One axis of a film: tap k at place p sees pixel p·step + start_k of n.

    pitch     cells from one row (or image) to the next
    phases    the pixels of phase f are  step·r + phases[f]  for r = 0, 1, …; those outside 0 … n−1 are zeros
    taps      for each tap, its phase f and how many cells ahead it looks
    """

    n: int
    places: int
    step: int
    pitch: int
    phases: tuple
    taps: tuple

    @classmethod
    def of(cls, n, places, starts, step=1):
        first = min(starts)
        ahead, phase = zip(*(divmod(start - first, step) for start in starts))
        used = sorted(set(phase))
        pitch = places
        for f in used:
            reach = places + max(a for a, g in zip(ahead, phase) if g == f)
            zeros_before = max(0, -((f + first) // step))           # cells before the first pixel: shared with the row before
            end = -((f + first - n) // step)                        # the cell after the last pixel
            pitch = max(pitch, reach - zeros_before, min(reach, end))
        return cls(n, places, step, pitch, tuple(f + first for f in used),
                   tuple((used.index(g), a) for a, g in zip(ahead, phase)))

    @property
    def ahead(self):
        return max(a for _, a in self.taps)


def taps_of(window):
    """Where each tap of the window looks, from place 0: along the height, along the width."""
    (top, _), (left, _), (d, e) = *window.padding, window.dilation
    return [k * d - top for k in range(window.K)], [l * e - left for l in range(window.L)]


@lru_cache(256)
def axes_of(window):
    rows, columns = taps_of(window)
    return (Axis.of(window.H, window.P, rows, window.stride[0]), Axis.of(window.W, window.Q, columns, window.stride[1]))


def places_of(rows, columns):
    """Axes of the places themselves, as long as those of the pixels that are seen from there."""
    return [Axis.of(axis.places, axis.places, [0])._replace(pitch=axis.pitch) for axis in (rows, columns)]


class Band(NamedTuple):
    """What one piece of work covers: the places p0 … p1 (rows) of `images` images from `image` on."""

    image: int
    images: int
    p0: int
    p1: int

    @classmethod
    def cut(cls, images, places, at_once, multiple=1, shares=True):
        """Bands of about `at_once` rows of places: whole images where several fit, else equal parts of one, an even number of
        rows long if multiple is 2; as many as make equal shares for 2 or 4 threads (or 8, 16), if they are to be shared."""
        units = -(-images * places // at_once)
        units = evenly(units, images * places) if shares else units
        if units <= images:
            cuts = [images * i // units for i in range(units + 1)]
            return [cls(a, z - a, 0, places) for a, z in zip(cuts, cuts[1:])]
        rows = -(-places // -(-units // images))
        rows = -(-rows // multiple) * multiple
        return [cls(n, 1, p, min(places, p + rows)) for n in range(images) for p in range(0, places, rows)]


def evenly(parts, most):
    """`parts` rounded up to a multiple of 4, or of 16 if there are many, but not beyond `most`."""
    return max(1, min(most, -(-parts // 4) * 4 if parts <= 16 else -(-parts // 16) * 16))


class Film(NamedTuple):
    """The layout of C channels of some images: their pixels as cells along `rows` and `columns`, for bands that see up to
    `length` rows of cells."""

    rows: Axis
    columns: Axis
    C: int
    cells: int
    starts: np.ndarray              # (C·K·L,) cell at which column (c, k, l) of the patches begins
    layout: tuple                   # what `lay` needs to know, as numbers and arrays

    @classmethod
    def of(cls, rows, columns, C, bands):
        length = max(cls.rows_of(rows, band) for band in bands)
        cells = length * columns.pitch + columns.ahead + SPARE
        cells = (cells // 16 | 1) * 16                              # odd multiples: channels fall on different cache lines
        A, B = len(rows.phases), len(columns.phases)
        c, (f, k), (g, l) = np.arange(C)[:, None, None], np.array(rows.taps).T, np.array(columns.taps).T
        starts = ((c * A + f[:, None]) * B + g) * cells + k[:, None] * columns.pitch + l
        layout = (C, rows.pitch, columns.pitch, rows.step, columns.step, rows.ahead, columns.ahead + VECTOR_BYTES // 4,
                  np.array(rows.phases), np.array(columns.phases))
        return cls(rows, columns, C, cells, starts.reshape(-1).astype(np.int64), layout)

    @staticmethod
    def rows_of(rows, band):
        return (band.images - 1) * rows.pitch + band.p1 - band.p0 + rows.ahead

    def zeros(self, dtype):
        return np.zeros((self.C * len(self.rows.phases) * len(self.columns.phases), self.cells), dtype)


@compiled
def lay(film, x, channel, image, images, p0, p1, layout):
    """The pixels of x (N,C,H,W) that the taps see from the places of a band, for `layout`'s channels from `channel` on."""
    C, pitch, width, s, t, ahead, behind, row_phases, column_phases = layout
    (N, channels, H, W), pixels, cells, length = x.shape, x.reshape(-1), film.reshape(-1), film.shape[1]
    (n0, row0), rows = divmod(image * pitch + p0, pitch), (images - 1) * pitch + p1 - p0 + ahead
    A, B = len(row_phases), len(column_phases)
    for g in range(B):
        left = column_phases[g]
        lo = min(width, max(0, -(left // t)))                           # the cells that hold pixels: lo … hi
        hi = min(width, max(lo, -((left - W) // t)))
        for c in range(C):
            for f in range(A):
                start, r, n, row = ((c * A + f) * B + g) * length, 0, n0, row0
                while r < rows:
                    i, cell = s * row + row_phases[f], start + r * width + lo
                    seen, many = ((n * channels + channel + c) * H + i) * W + t * lo + left, 1
                    if n >= N or i < 0 or i >= H:
                        clear(cells, cell, hi - lo)
                    else:                                               # all rows that lie in this image
                        many = min(rows - r, pitch - row, (H - 1 - i) // s + 1)
                        if t == 1:
                            copy_rows(cells, cell, width, pixels, seen, s * W, many, hi - lo)
                        elif t == 2:
                            copy_half_rows(cells, cell, width, pixels, seen, s * W, many, hi - lo)
                        else:
                            for m in range(many):
                                for q in range(hi - lo):
                                    cells[cell + m * width + q] = pixels[seen + m * s * W + q * t]
                    r, row = r + many, row + many
                    if row == pitch:
                        n, row = n + 1, 0
                clear(cells, start + rows * width, behind)              # so far do the sums of a weight gradient reach


@compiled
def turn(w, turned, taps, lo, hi):
    """turned (G,C,O,T) = the taps of w (G,O,C,K·L), for the channels lo … hi."""
    for g in range(len(w)):
        for c in range(lo, hi):
            for o in range(w.shape[1]):
                row, out = w[g, o, c], turned[g, c, o]
                for t in range(len(taps)):
                    out[t] = row[taps[t]]
