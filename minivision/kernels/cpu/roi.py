"""RoI Align with the channels innermost: a sample weighs four pixels, and does so for all channels of a block at once.

Each block of channels is turned to (H,W,channels), and blocks are shared out among the threads: in the backward pass every
thread adds to channels of its own, so no two meet on a pixel.
"""

import numpy as np

from minivision.kernels import roi
from minivision.kernels.cpu.compiled import compiled
from minivision.kernels.cpu.threads import split

BLOCK = 64      # channels: 32 of them fill two vectors, and the map of a block should stay in the cache


@compiled
def neighbours(places, n, low, high, share):
    """Of the sampling points of one axis: pixels `low` and `high`, and how much of each: share[0], share[1]; 0 beyond the map."""
    for i in range(len(places)):
        inside = 1.0 if -1 <= places[i] <= n else 0.0
        at = min(max(places[i], 0.0), n - 1.0)
        low[i] = int(at)
        high[i] = min(low[i] + 1, n - 1)
        share[1, i] = (at - low[i]) * inside
        share[0, i] = inside - share[1, i]


@compiled
def turn_in(x, turned):
    """(c,H,W) → (H,W,c)"""
    c, H, W = x.shape
    for h in range(H):
        for k in range(c):
            for w in range(W):
                turned[h, w, k] = x[k, h, w]


@compiled
def turn_out(turned, x):
    c, H, W = x.shape
    for h in range(H):
        for k in range(c):
            for w in range(W):
                x[k, h, w] = turned[h, w, k]


@compiled
def gather(a, b, c, d, wa, wb, wc, wd, total):
    for k in range(len(total)):
        total[k] += wa * a[k] + wb * b[k] + wc * c[k] + wd * d[k]


@compiled
def add(total, weight, a):
    for k in range(len(a)):
        a[k] += weight * total[k]


@compiled
def align_boxes(x, u, v, image, samples, y, lo, hi):
    """y (R,C,P,Q) of the channels lo … hi. u (R,P·samples), v (R,Q·samples): the sampling points."""
    (N, _, H, W), (R, _, P, Q) = x.shape, y.shape
    one = y.dtype.type(1.0 / (samples * samples))
    maps, results = np.empty((N, H, W, hi - lo), x.dtype), np.empty((P, Q, hi - lo), x.dtype)
    rows, columns = np.empty((2, P * samples), np.int64), np.empty((2, Q * samples), np.int64)
    down, across = np.empty((2, P * samples), x.dtype), np.empty((2, Q * samples), x.dtype)
    for n in range(N):
        turn_in(x[n, lo:hi], maps[n])
    for r in range(R):
        neighbours(u[r], H, rows[0], rows[1], down)
        neighbours(v[r], W, columns[0], columns[1], across)
        results[:] = 0
        seen = maps[image[r]]
        for i in range(P * samples):
            above, below = seen[rows[0, i]], seen[rows[1, i]]
            for j in range(Q * samples):
                l, m, a, b = columns[0, j], columns[1, j], down[0, i] * one, down[1, i] * one
                gather(above[l], above[m], below[l], below[m], a * across[0, j], a * across[1, j], b * across[0, j],
                       b * across[1, j], results[i // samples, j // samples])
        turn_out(results, y[r, lo:hi])


@compiled
def spread_boxes(dy, u, v, image, samples, dx, lo, hi):
    """dx (N,C,H,W) of the channels lo … hi."""
    (N, _, H, W), (R, _, P, Q) = dx.shape, dy.shape
    one = dy.dtype.type(1.0 / (samples * samples))
    maps, slopes = np.zeros((N, H, W, hi - lo), dy.dtype), np.empty((P, Q, hi - lo), dy.dtype)
    rows, columns = np.empty((2, P * samples), np.int64), np.empty((2, Q * samples), np.int64)
    down, across = np.empty((2, P * samples), dy.dtype), np.empty((2, Q * samples), dy.dtype)
    for r in range(R):
        neighbours(u[r], H, rows[0], rows[1], down)
        neighbours(v[r], W, columns[0], columns[1], across)
        turn_in(dy[r, lo:hi], slopes)
        seen = maps[image[r]]
        for i in range(P * samples):
            for j in range(Q * samples):
                slope = slopes[i // samples, j // samples]
                for a in range(2):
                    for b in range(2):
                        add(slope, down[a, i] * across[b, j] * one, seen[rows[a, i], columns[b, j]])
    for n in range(N):
        turn_out(maps[n], dx[n, lo:hi])


@compiled
def pool_boxes(x, h0, h1, w0, w1, image, y, winner, lo, hi):
    W, (_, C, P, Q) = x.shape[3], y.shape
    for r in range(lo, hi):
        for c in range(C):
            plane = x[image[r], c]
            for p in range(P):
                for q in range(Q):
                    best, at = x.dtype.type(0), -1
                    for i in range(h0[r, p], h1[r, p]):
                        for j in range(w0[r, q], w1[r, q]):
                            v = plane[i, j]
                            if at < 0 or v > best or (v != v and best == best):
                                best, at = v, i * W + j
                    y[r, c, p, q] = best
                    winner[r, c, p, q] = at


@compiled
def give_to_winners(dy, winner, image, dx, lo, hi):
    R, _, P, Q = dy.shape
    dx[:, lo:hi] = 0
    for r in range(R):
        for c in range(lo, hi):
            plane = dx[image[r], c]
            for p in range(P):
                for q in range(Q):
                    if winner[r, c, p, q] >= 0:
                        plane[winner[r, c, p, q]] += dy[r, c, p, q]


def by_block(C, work):
    split(C, work, least=min(BLOCK, max(1, C // 4)))


def sampled(boxes, size, samples):
    """The sampling points of all boxes along the height and the width, as the specification has them to the last bit: whether one
    lies on the map's border decides whether it counts."""
    x1, y1, x2, y2 = np.asarray(boxes, np.float64).T
    return roi.points(y1, y2 - y1, size[0] * samples), roi.points(x1, x2 - x1, size[1] * samples)


@roi.roi_align.on("cpu")
def roi_align(x, boxes, image, size, samples):
    x, y = np.ascontiguousarray(x), np.empty((len(boxes), x.shape[1], *size), x.dtype)
    u, v, image = *sampled(boxes, size, samples), np.ascontiguousarray(image, np.int64)
    by_block(x.shape[1], lambda lo, hi: align_boxes(x, u, v, image, samples, y, lo, hi))
    return y


@roi.roi_align_gradient.on("cpu")
def roi_align_gradient(dy, boxes, image, shape, samples):
    dy, dx = np.ascontiguousarray(dy), np.empty(shape, dy.dtype)
    u, v, image = *sampled(boxes, dy.shape[2:], samples), np.ascontiguousarray(image, np.int64)
    by_block(shape[1], lambda lo, hi: spread_boxes(dy, u, v, image, samples, dx, lo, hi))
    return dx


@roi.roi_pool.on("cpu")
def roi_pool(x, boxes, image, size):
    x, (x1, y1, x2, y2) = np.ascontiguousarray(x), np.asarray(boxes).T
    rows, columns = roi.bins(y1, y2, x.shape[2], size[0]), roi.bins(x1, x2, x.shape[3], size[1])
    y = np.empty((len(boxes), x.shape[1], *size), x.dtype)
    winner, image = np.empty(y.shape, np.int32), np.ascontiguousarray(image, np.int64)
    split(len(boxes), lambda lo, hi: pool_boxes(x, *rows, *columns, image, y, winner, lo, hi))
    return y, winner


@roi.roi_pool_gradient.on("cpu")
def roi_pool_gradient(dy, winner, image, shape):
    N, C, H, W = shape
    dx, image = np.empty((N, C, H * W), dy.dtype), np.ascontiguousarray(image, np.int64)
    dy, winner = np.ascontiguousarray(dy), np.ascontiguousarray(winner)
    by_block(C, lambda lo, hi: give_to_winners(dy, winner, image, dx, lo, hi))
    return dx.reshape(shape)
