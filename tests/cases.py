"""The table of all ops: shapes, options, and the formula as naive loops or einsum. `test_ops.py` runs every check on it.

An op that is not in this table fails the suite. A shape stands for random normal numbers; a function of rng makes
inputs that need more care (labels, probabilities).
"""

import math
from typing import NamedTuple

import numpy as np

from minivision import arithmetic, ops


class Case(NamedTuple):
    op: object
    inputs: tuple           # shapes, functions of rng, or None
    options: dict
    formula: object         # formula(*arrays, **options) → y, without any of our kernels

    def arrays(self, rng):
        return [make(rng) if callable(make) else None if make is None else rng.standard_normal(make)
                for make in self.inputs]

    def __str__(self):
        shapes = " ".join("×".join(map(str, s)) if isinstance(s, tuple) else "…" for s in self.inputs)
        return f"{self.op.__name__} {shapes} {self.options or ''}".strip()


def labels(n, classes, ignored=None):
    def make(rng):
        t = rng.integers(0, classes, n)
        if ignored is not None:
            t[::3] = ignored
        return t
    return make


def uniform(*shape):
    return lambda rng: rng.random(shape)


def positive(*shape):
    return lambda rng: rng.random(shape) + 0.5




def pair(v):
    return (v, v) if isinstance(v, int) else tuple(v)


def sides(padding):
    return tuple(pair(p) for p in pair(padding))


def places(n, k, stride, before, after, dilation=1, ceil=False):
    """How often a window of reach dilation·(k−1)+1 fits, counted one by one."""
    reach, starts = dilation * (k - 1) + 1, []
    start = -before
    while start + reach <= n + after or (ceil and start < n and start + reach - stride < n + after
                                         and starts and starts[-1] + reach < n + after):
        starts.append(start)
        start += stride
    return starts


def conv_loops(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    (N, _, H, W), (O, G, K, L) = x.shape, w.shape
    (s, t), (d, e), ((top, bottom), (left, right)) = pair(stride), pair(dilation), sides(padding)
    rows, columns = places(H, K, s, top, bottom, d), places(W, L, t, left, right, e)
    y = np.zeros((N, O, len(rows), len(columns)))
    for n, o, p, q, c, k, l in np.ndindex(N, O, len(rows), len(columns), G, K, L):
        i, j = rows[p] + k * d, columns[q] + l * e
        if 0 <= i < H and 0 <= j < W:
            y[n, o, p, q] += w[o, c, k, l] * x[n, o // (O // groups) * G + c, i, j]
    return y if b is None else y + b[None, :, None, None]


def conv_relu_loops(x, w, b, most=np.inf, **options):
    return np.clip(conv_loops(x, w, b, **options), 0, most)


def conv_pool_relu_loops(x, w, b, **options):
    z = conv_loops(x, w, b, **options)
    y = np.zeros((*z.shape[:2], z.shape[2] // 2, z.shape[3] // 2))
    for n, o, p, q in np.ndindex(*y.shape):
        y[n, o, p, q] = max(0, z[n, o, 2 * p:2 * p + 2, 2 * q:2 * q + 2].max())
    return y


def windows(x, size, stride, padding, ceil):
    (K, L), ((top, bottom), (left, right)) = pair(size), sides(padding)
    s, t = pair(size if stride is None else stride)
    rows, columns = places(x.shape[2], K, s, top, bottom, ceil=ceil), places(x.shape[3], L, t, left, right, ceil=ceil)
    for p, i in enumerate(rows):
        for q, j in enumerate(columns):
            yield len(rows), len(columns), p, q, x[:, :, max(0, i):i + K, max(0, j):j + L], (i, j, K, L)


def adaptive_pool_loops(x, size):
    (N, C, H, W), (P, Q) = x.shape, pair(size)
    y = np.zeros((N, C, P, Q))
    for p, q in np.ndindex(P, Q):
        rows, columns = slice(math.floor(p * H / P), math.ceil((p + 1) * H / P)), slice(math.floor(q * W / Q), math.ceil((q + 1) * W / Q))
        y[:, :, p, q] = x[:, :, rows, columns].mean(axis=(2, 3))
    return y


def max_pool_loops(x, size, stride=None, padding=0, ceil=False):
    found = list(windows(x, size, stride, padding, ceil))
    y = np.zeros((*x.shape[:2], found[0][0], found[0][1]))
    for _, _, p, q, seen, _ in found:
        y[:, :, p, q] = seen.max(axis=(2, 3))
    return y


def avg_pool_loops(x, size, stride=None, padding=0, ceil=False, count_padding=False):
    found = list(windows(x, size, stride, padding, ceil))
    (top, bottom), (left, right) = sides(padding)
    y = np.zeros((*x.shape[:2], found[0][0], found[0][1]))
    for _, _, p, q, seen, (i, j, K, L) in found:
        m = seen.shape[2] * seen.shape[3]
        if count_padding:
            m = (min(i + K, x.shape[2] + bottom) - i) * (min(j + L, x.shape[3] + right) - j)
        y[:, :, p, q] = seen.sum(axis=(2, 3)) / m
    return y


def softmax_loops(x, axis=1):
    rows = np.moveaxis(x, axis, -1)
    y = np.empty_like(rows)
    for i in np.ndindex(rows.shape[:-1]):
        e = [math.exp(v) for v in rows[i]]
        y[i] = [v / sum(e) for v in e]
    return np.moveaxis(y, -1, axis)


def batch_norm_relu_loops(x, gamma, beta, r=0, **options):
    return np.maximum(batch_norm_loops(x, gamma, beta, **options) + r, 0)


def batch_norm_loops(x, gamma, beta, eps=1e-5, mean=None, variance=None):
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        mu = x[:, c].mean() if mean is None else mean[c]
        var = ((x[:, c] - mu) ** 2).mean() if variance is None else variance[c]
        y[:, c] = gamma[c] * (x[:, c] - mu) / math.sqrt(var + eps) + beta[c]
    return y


def instance_norm_loops(x, gamma, beta, eps=1e-5):
    y = np.empty_like(x)
    for n, c in np.ndindex(x.shape[:2]):
        y[n, c] = gamma[c] * (x[n, c] - x[n, c].mean()) / math.sqrt(x[n, c].var() + eps) + beta[c]
    return y


def cross_entropy_loops(scores, labels, smoothing=0.0, ignore=None):
    total, count = 0.0, 0
    for row, t in zip(scores, labels):
        if ignore is not None and t == ignore:
            continue
        log_sum, K = math.log(sum(math.exp(v) for v in row)), len(row)
        total -= sum(((1 - smoothing) * (k == t) + smoothing / K) * (v - log_sum) for k, v in enumerate(row))
        count += 1
    return total / max(1, count)


def sigmoid_cross_entropy_loops(scores, targets, weights=None):
    weights = np.ones_like(scores) if weights is None else weights
    total = 0.0
    for s, t, w in zip(scores.ravel(), targets.ravel(), weights.ravel()):
        p = 1 / (1 + math.exp(-s))
        total -= w * (t * math.log(p) + (1 - t) * math.log(1 - p))
    return total / weights.sum()


def class_loss_loops(scores, labels, divisor):
    """F2, F4, term by term."""
    total = 0.0
    for row, label in zip(scores, labels):
        if label >= 0:
            total -= math.log(math.exp(row[label]) / sum(math.exp(s) for s in row))
    return np.array(total / divisor)


def objectness_loss_loops(scores, target, weight, divisor):
    total = 0.0
    for s, t, w in zip(scores.ravel(), target.ravel(), weight.ravel()):
        p = 1 / (1 + math.exp(-s))
        total -= w * (t * math.log(p) + (1 - t) * math.log(1 - p))
    return np.array(total / divisor)


def box_loss_loops(offsets, target, positive, divisor, beta=1.0):
    """F15's L_loc, F5: linear offsets under smooth L1."""
    total = 0.0
    for r in range(len(offsets)):
        for k in range(4):
            if positive[r]:
                d = abs(offsets[r, k] - target[r, k])
                total += d * d / (2 * beta) if d < beta else d - beta / 2
    return np.array(total / divisor)


def squared_loss_loops(x, target, weight, divisor):
    return np.array(sum(w * (a - t) ** 2 for a, t, w in zip(x.ravel(), target.ravel(), weight.ravel())) / divisor)


def l2_norm_loops(x, scale):
    y = np.empty_like(x)
    for n, p, q in np.ndindex(len(x), *x.shape[2:]):
        column = x[n, :, p, q]
        y[n, :, p, q] = scale * column / math.sqrt(sum(v * v for v in column))
    return y


def smooth_l1_loops(x, target, beta=1.0):
    d = np.abs(x - target).ravel()
    return sum(v * v / (2 * beta) if v < beta else v - beta / 2 for v in d) / d.size


def dropout_again(x, rate, rng):
    return np.where(np.random.default_rng(rng).random(x.shape, dtype="float32") >= rate, x / (1 - rate), 0)


def bilinear_loops(x, size, corners=False):
    (H, W), (P, Q) = x.shape[2:], size
    y = np.zeros((*x.shape[:2], P, Q))
    for p, q in np.ndindex(P, Q):
        i = p * (H - 1) / max(1, P - 1) if corners else (p + 0.5) * H / P - 0.5
        j = q * (W - 1) / max(1, Q - 1) if corners else (q + 0.5) * W / Q - 0.5
        i, j = min(max(i, 0), H - 1), min(max(j, 0), W - 1)
        i0, j0 = int(i), int(j)
        i1, j1, a, b = min(i0 + 1, H - 1), min(j0 + 1, W - 1), i - i0, j - j0
        y[:, :, p, q] = ((1 - a) * (1 - b) * x[:, :, i0, j0] + (1 - a) * b * x[:, :, i0, j1]
                         + a * (1 - b) * x[:, :, i1, j0] + a * b * x[:, :, i1, j1])
    return y


BOXES = np.array([[0.3, 1.2, 6.1, 5.9], [2, 0, 4, 3], [-3.2, -2.1, 3, 4], [5, 4, 12, 9], [1, 1, 1.2, 1.1]])
IMAGE = np.array([0, 1, 1, 0, 1])


def roi_align_loops(x, boxes, image, size, scale=1.0, samples=2, aligned=True):
    (H, W), (P, Q) = x.shape[2:], size
    y = np.zeros((len(boxes), x.shape[1], P, Q))
    for r, p, q, i, j in np.ndindex(len(boxes), P, Q, samples, samples):
        x1, y1, x2, y2 = boxes[r] * scale - (0.5 if aligned else 0)
        h, w = (y2 - y1, x2 - x1) if aligned else (max(1, y2 - y1), max(1, x2 - x1))
        u, v = y1 + (p + (i + 0.5) / samples) * h / P, x1 + (q + (j + 0.5) / samples) * w / Q
        if -1 <= u <= H and -1 <= v <= W:
            u, v = min(max(u, 0), H - 1), min(max(v, 0), W - 1)
            for a, b in np.ndindex(H, W):
                y[r, :, p, q] += x[image[r], :, a, b] * max(0, 1 - abs(u - a)) * max(0, 1 - abs(v - b)) / samples ** 2
    return y


def roi_pool_loops(x, boxes, image, size, scale=1.0):
    (H, W), (P, Q) = x.shape[2:], size
    y = np.zeros((len(boxes), x.shape[1], P, Q))
    for r, p, q in np.ndindex(len(boxes), P, Q):
        x1, y1, x2, y2 = (math.floor(v * scale + 0.5) for v in boxes[r])
        h, w = max(1, y2 - y1 + 1), max(1, x2 - x1 + 1)
        rows = [i for i in range(y1 + math.floor(p * h / P), y1 + math.ceil((p + 1) * h / P)) if 0 <= i < H]
        columns = [j for j in range(x1 + math.floor(q * w / Q), x1 + math.ceil((q + 1) * w / Q)) if 0 <= j < W]
        if rows and columns:
            y[r, :, p, q] = x[image[r]][:, rows][:, :, columns].max(axis=(1, 2))
    return y


def upsample_loops(x, factor=2):
    N, C, H, W = x.shape
    y = np.empty((N, C, H * factor, W * factor))
    for p, q in np.ndindex(y.shape[2:]):
        y[:, :, p, q] = x[:, :, p // factor, q // factor]
    return y


def pad_loops(x, padding, value=0.0):
    (top, bottom), (left, right) = sides(padding)
    y = np.full((*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right), value)
    y[:, :, top:top + x.shape[2], left:left + x.shape[3]] = x
    return y


def linear_einsum(x, w, b=None):
    return np.einsum("ni,oi->no", x, w) + (0 if b is None else b)


CASES = [
    # F1 F10 F13: fully-connected
    Case(ops.linear, ((4, 5), (3, 5), (3,)), {}, linear_einsum),
    Case(ops.linear, ((1, 7), (2, 7)), {}, linear_einsum),
    # F6 F8 F11: convolution
    Case(ops.conv2d, ((2, 3, 5, 6), (4, 3, 3, 3), (4,)), {"padding": 1}, conv_loops),
    Case(ops.conv2d, ((2, 3, 7, 6), (2, 3, 3, 2), (2,)), {"stride": (2, 3), "padding": (1, 0)}, conv_loops),
    Case(ops.conv2d, ((1, 2, 8, 9), (3, 2, 3, 3)), {"dilation": (2, 3), "padding": ((2, 1), (0, 3))}, conv_loops),
    Case(ops.conv2d, ((2, 4, 5, 5), (6, 2, 3, 3), (6,)), {"groups": 2, "stride": 2, "padding": 1}, conv_loops),
    Case(ops.conv2d, ((2, 3, 4, 5), (6, 1, 3, 3), (6,)), {"groups": 3, "padding": 2}, conv_loops),
    Case(ops.conv2d, ((2, 5, 4, 3), (2, 5, 1, 1), (2,)), {}, conv_loops),
    Case(ops.conv2d, ((2, 2, 5, 5), (3, 2, 1, 1), (3,)), {"stride": 3}, conv_loops),
    Case(ops.conv2d, ((1, 1, 1, 1), (1, 1, 1, 1), (1,)), {"padding": 1}, conv_loops),
    Case(ops.conv2d, ((2, 16, 9, 23), (17, 16, 3, 3), (17,)), {"padding": 1}, conv_loops),              # Winograd: see its test
    Case(ops.conv2d_relu, ((2, 3, 5, 6), (4, 3, 3, 3), (4,)), {"padding": 1}, conv_relu_loops),
    Case(ops.conv2d_relu, ((2, 4, 5, 5), (6, 2, 3, 3), (6,)), {"groups": 2, "stride": 2}, conv_relu_loops),
    Case(ops.conv2d_relu, ((2, 3, 5, 6), (4, 3, 3, 3), (4,)), {"padding": 1, "most": 6}, conv_relu_loops),
    Case(ops.conv2d_relu, ((2, 8, 5, 6), (4, 8, 1, 1), (4,)), {"most": 2.5}, conv_relu_loops),
    Case(ops.conv2d_pool_relu, ((2, 3, 5, 6), (4, 3, 3, 3), (4,)), {"padding": 1}, conv_pool_relu_loops),
    Case(ops.conv2d_pool_relu, ((2, 2, 9, 8), (9, 2, 2, 3), (9,)), {"dilation": 2, "padding": (1, 0)}, conv_pool_relu_loops),
    # F9 F12: pooling
    Case(ops.max_pool2d, ((2, 3, 6, 4),), {"size": 2}, max_pool_loops),
    Case(ops.max_pool2d, ((2, 2, 7, 5),), {"size": 2}, max_pool_loops),
    Case(ops.max_pool2d, ((2, 2, 7, 6),), {"size": 3, "stride": 2, "padding": 1}, max_pool_loops),
    Case(ops.max_pool2d, ((1, 2, 7, 8),), {"size": 3, "stride": 2, "ceil": True}, max_pool_loops),
    Case(ops.max_pool2d, ((1, 2, 6, 8),), {"size": (2, 3), "stride": (3, 1), "padding": (1, 2)}, max_pool_loops),
    Case(ops.max_pool2d, ((1, 1, 5, 5),), {"size": 1, "stride": 3}, max_pool_loops),
    Case(ops.avg_pool2d, ((2, 2, 6, 6),), {"size": 2}, avg_pool_loops),
    Case(ops.avg_pool2d, ((1, 2, 7, 6),), {"size": 3, "stride": 2, "padding": 1}, avg_pool_loops),
    Case(ops.avg_pool2d, ((1, 2, 8, 6),), {"size": 3, "stride": 2, "padding": 1, "ceil": True}, avg_pool_loops),
    Case(ops.avg_pool2d, ((1, 2, 8, 6),), {"size": 3, "stride": 2, "padding": 1, "ceil": True, "count_padding": True},
         avg_pool_loops),
    Case(ops.global_avg_pool2d, ((2, 3, 4, 5),), {}, lambda x: np.einsum("nchw->nc", x) / 20),
    Case(ops.adaptive_avg_pool2d, ((2, 3, 5, 7),), {"size": (2, 3)}, adaptive_pool_loops),
    Case(ops.adaptive_avg_pool2d, ((1, 2, 3, 2),), {"size": 4}, adaptive_pool_loops),
    # activations
    Case(ops.relu, ((3, 4, 2),), {}, lambda x: np.where(x > 0, x, 0)),
    Case(ops.relu6, (lambda rng: 8 * rng.standard_normal((4, 5)),), {}, lambda x: np.where(x < 0, 0, np.where(x > 6, 6, x))),
    Case(ops.leaky_relu, ((3, 4),), {"slope": 0.1}, lambda x, slope: np.where(x > 0, x, slope * x)),
    Case(ops.sigmoid, ((3, 4),), {}, lambda x: 1 / (1 + np.exp(-x))),
    Case(ops.softmax, ((4, 5),), {}, softmax_loops),
    Case(ops.softmax, ((2, 3, 2, 2),), {"axis": 1}, softmax_loops),
    Case(ops.softmax, ((2, 3, 4),), {"axis": -1}, softmax_loops),
    # F2 F3 F4 F5 F15: the terms of detectors' losses
    Case(ops.class_loss, ((6, 4),), {"labels": np.array([2, -1, 0, 3, -1, 2]), "divisor": 2.5}, class_loss_loops),
    Case(ops.class_loss, ((3, 5),), {"labels": np.full(3, -1), "divisor": 1}, class_loss_loops),
    Case(ops.objectness_loss, ((4, 3),), {"target": np.arange(12).reshape(4, 3) / 11, "weight": np.array([[1., 0, 2]] * 4),
                                          "divisor": 3}, objectness_loss_loops),
    Case(ops.box_loss, ((5, 4),), {"target": np.linspace(-3, 3, 20).reshape(5, 4), "positive": np.array([1, 0, 1, 1, 0], bool),
                                   "divisor": 3}, box_loss_loops),
    Case(ops.box_loss, ((3, 4),), {"target": np.zeros((3, 4)), "positive": np.array([1, 1, 0], bool), "divisor": 7, "beta": 0.3},
         box_loss_loops),
    Case(ops.squared_loss, ((2, 3, 2),), {"target": np.linspace(0, 1, 12).reshape(2, 3, 2), "divisor": 4,
                                          "weight": np.array([[[5., 0.5]] * 3] * 2)}, squared_loss_loops),
    Case(ops.l2_norm2d, ((2, 3, 4, 5), (3,)), {}, l2_norm_loops),
    # normalisation and dropout
    Case(ops.batch_norm2d, ((3, 2, 4, 3), (2,), (2,)), {}, batch_norm_loops),
    Case(ops.batch_norm2d_relu, ((3, 2, 4, 3), (2,), (2,)), {}, batch_norm_relu_loops),
    Case(ops.batch_norm2d_relu, ((3, 2, 4, 3), (2,), (2,), (3, 2, 4, 3)), {}, batch_norm_relu_loops),
    Case(ops.batch_norm2d_relu, ((3, 2, 4, 3), (2,), (2,), (3, 2, 4, 3)),
         {"mean": np.array([0.3, -1.0]), "variance": np.array([0.5, 2.0]), "eps": 1e-3}, batch_norm_relu_loops),
    Case(ops.batch_norm2d, ((3, 2, 4, 3), (2,), (2,)),
         {"mean": np.array([0.3, -1.0]), "variance": np.array([0.5, 2.0]), "eps": 1e-3}, batch_norm_loops),
    Case(ops.instance_norm2d, ((2, 3, 4, 5), (3,), (3,)), {}, instance_norm_loops),
    Case(ops.dropout, ((4, 6),), {"rate": 0.4, "rng": 5}, dropout_again),
    # shapes
    Case(ops.concat, ((2, 3, 4, 2), (2, 1, 4, 2), (2, 2, 4, 2)), {}, lambda *xs: np.concatenate(xs, 1)),
    Case(ops.concat, ((2, 3), (4, 3)), {"axis": 0}, lambda *xs, axis: np.vstack(xs)),
    Case(ops.pad2d, ((2, 3, 4, 5),), {"padding": ((1, 0), (2, 3)), "value": 0.5}, pad_loops),
    Case(ops.pad2d, ((1, 1, 2, 2),), {"padding": 0}, pad_loops),
    Case(ops.flatten, ((2, 3, 4),), {}, lambda x: np.array([x[0].ravel(), x[1].ravel()])),
    Case(ops.roi_align, ((2, 3, 6, 7),), {"boxes": BOXES, "image": IMAGE, "size": (2, 3)}, roi_align_loops),
    Case(ops.roi_align, ((2, 2, 4, 5),), {"boxes": BOXES, "image": IMAGE, "size": (3, 2), "scale": 0.5, "samples": 3,
                                          "aligned": False}, roi_align_loops),
    Case(ops.roi_pool, ((2, 3, 6, 7),), {"boxes": BOXES, "image": IMAGE, "size": (2, 3)}, roi_pool_loops),
    Case(ops.roi_pool, ((2, 2, 6, 7),), {"boxes": 2 * BOXES, "image": IMAGE, "size": (3, 3), "scale": 0.5}, roi_pool_loops),
    Case(ops.upsample, ((2, 2, 3, 4),), {"factor": 3}, upsample_loops),
    Case(ops.upsample_bilinear, ((2, 2, 4, 5),), {"size": (8, 7)}, bilinear_loops),
    Case(ops.upsample_bilinear, ((1, 2, 4, 5),), {"size": (7, 1), "corners": True}, bilinear_loops),
    # F14a: losses
    Case(ops.softmax_cross_entropy, ((6, 5), labels(6, 5)), {}, cross_entropy_loops),
    Case(ops.softmax_cross_entropy, ((7, 4), labels(7, 4, -1)), {"smoothing": 0.2, "ignore": -1}, cross_entropy_loops),
    Case(ops.sigmoid_cross_entropy, ((4, 5), uniform(4, 5)), {}, sigmoid_cross_entropy_loops),
    Case(ops.sigmoid_cross_entropy, ((4, 5), uniform(4, 5), positive(4, 5)), {}, sigmoid_cross_entropy_loops),
    Case(ops.smooth_l1, ((5, 4), (5, 4)), {"beta": 0.6}, smooth_l1_loops),
    Case(ops.mse, ((5, 4), (5, 4)), {}, lambda x, t: sum(v * v for v in (x - t).ravel()) / 20),
    # arithmetic
    Case(arithmetic.add, ((3, 1, 4), (2, 4)), {}, lambda x, y: x + y),
    Case(arithmetic.subtract, ((3, 4), (4,)), {}, lambda x, y: x - y),
    Case(arithmetic.multiply, ((3, 1), (1, 4)), {}, lambda x, y: np.einsum("ij,jk->ik", x, y)),
    Case(arithmetic.divide, ((2, 3), positive(3)), {}, lambda x, y: x * y ** -1),
    Case(arithmetic.power, (positive(3, 4),), {"exponent": 2.5}, lambda x, exponent: np.exp(exponent * np.log(x))),
    Case(arithmetic.matmul, ((2, 3, 4), (4, 5)), {}, lambda x, y: np.einsum("nij,jk->nik", x, y)),
    Case(arithmetic.exp, ((3, 4),), {}, lambda x: np.vectorize(math.exp)(x)),
    Case(arithmetic.log, (positive(3, 4),), {}, lambda x: np.vectorize(math.log)(x)),
    Case(arithmetic.reduce_sum, ((2, 3, 4),), {"axis": (0, 2)}, lambda x, axis: np.einsum("ijk->j", x)),
    Case(arithmetic.reduce_sum, ((2, 3),), {"axis": 1, "keepdims": True}, lambda x, **_: np.einsum("ij->i", x)[:, None]),
    Case(arithmetic.reduce_mean, ((2, 3, 4),), {"axis": -1}, lambda x, axis: np.einsum("ijk->ij", x) / 4),
    Case(arithmetic.reduce_mean, ((2, 3),), {}, lambda x: np.einsum("ij->", x) / 6),
    Case(arithmetic.reduce_max, ((2, 3, 4),), {"axis": 1}, lambda x, axis: np.sort(x, axis=1)[:, -1]),
    Case(arithmetic.reshape, ((2, 6),), {"shape": (3, -1)}, lambda x, shape: np.array([x.ravel()[i:i + 4] for i in (0, 4, 8)])),
    Case(arithmetic.transpose, ((2, 3, 4),), {"axes": [2, 0, 1]}, lambda x, axes: np.einsum("ijk->kij", x)),
    Case(arithmetic.getitem, ((5, 4),), {"index": ([0, 2, 2], slice(1, 3))}, lambda x, index: np.stack([x[i, 1:3] for i in (0, 2, 2)])),
]
