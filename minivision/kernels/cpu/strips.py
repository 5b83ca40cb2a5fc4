"""What happens to a strip of results on its way to memory: the bias is added, and perhaps they are rectified, clipped or pooled.

The strip is still in the nearest cache then; as layers of their own, ReLU and pooling would fetch it from memory again.
"""

from minivision.kernels.cpu.compiled import compiled

PLAIN, RECTIFIED, CLIPPED, POOLED = range(4)
CEILING = 6                     # of what is rectified and clipped: ReLU6
STRIP = 320                     # cells of result at a time: ROWS × STRIP numbers stay in the L1 cache


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
def write_rows(strip, width, b, y, r0, r1, Q, ending):
    """y[p] = strip + b for the rows r0 … r1, with an ending that does not pool (NaN stays)."""
    zero, most = y.dtype.type(0), y.dtype.type(CEILING)
    for p in range(r0, r1):
        cells, place = strip[(p - r0) * width:(p - r0) * width + Q], y[p]
        if ending == PLAIN:
            for q in range(Q):
                place[q] = cells[q] + b
        elif ending == RECTIFIED:
            for q in range(Q):
                v = cells[q] + b
                place[q] = zero if v < zero else v
        else:
            for q in range(Q):
                v = cells[q] + b
                place[q] = most if v > most else (zero if v < zero else v)


@compiled
def winner_of_four(a, b, c, d):
    """The largest of four pixels in reading order, and which it was: of equal ones the first, NaN before all."""
    best, at = a, 0
    if b > best or (b != b and best == best):
        best, at = b, 1
    if c > best or (c != c and best == best):
        best, at = c, 2
    if d > best or (d != d and best == best):
        best, at = d, 3
    return best, at


@compiled
def pool_rows(strip, width, b, y, winner, r0, r1):
    """The largest of each 2×2 places of rows r0 … r1 (r0 even), rectified, and which of the four it was: 4 if below 0."""
    P, Q = y.shape
    for p in range(r0 // 2, min(P, r1 // 2)):
        upper, lower = strip[(2 * p - r0) * width:], strip[(2 * p + 1 - r0) * width:]
        out, won = y[p], winner[p]
        for q in range(Q):
            best, at = winner_of_four(upper[2 * q], upper[2 * q + 1], lower[2 * q], lower[2 * q + 1])
            best += b
            out[q] = 0 if best < 0 else best
            won[q] = at if best > 0 else 4
