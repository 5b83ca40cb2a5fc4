"""RoI pooling in ONNX's words, with exact bins. (MaxRoiPool, its own op, finds them in float32: 57 rows in 7 bins differ.)

The largest of any number of neighbours is the larger of two powers of two of them, one from the left end and one from the right:

    max x[a … b−1] = max(best_k[a], best_k[b − 2ᵏ])       best_k[i] = max x[i … i + 2ᵏ − 1],   2ᵏ ≤ b − a < 2ᵏ⁺¹

So a few max-pools of the map, along both axes, hold what every bin of every RoI needs: the largest of four of their pixels.
"""

import numpy as np

from minivision.kernels.window import pair

DOUBLE, INT64 = 11, 7           # onnx.TensorProto's numbers for the types


def roi_pool(g, x, *, boxes, image, size, scale):
    """x (N,C,H,W), boxes (R,4), image (R,) → (R,C,P,Q), see `ops.roi_pool`."""
    (P, Q), (_, C, H, W) = pair("size", size, 1), x.shape
    scaled = g.node("Mul", g.node("Cast", boxes, to=DOUBLE), double(g, scale))
    corners = g.node("Cast", g.node("Floor", g.node("Add", scaled, double(g, 0.5))), to=INT64)
    x1, y1, x2, y2 = (g.node("Gather", corners, [k], axis=1) for k in range(4))             # (R,1) each
    K, L = H.bit_length(), W.bit_length()
    (tops, lows, tall), (lefts, rights, wide) = along(g, y1, y2, H, P, L * H * W, W), along(g, x1, x2, W, Q, H * W, 1)
    start = g.node("Mul", g.node("Unsqueeze", image, [1]), [K * L * H * W])                 # of each image's pixels
    tops, lows = (g.node("Unsqueeze", g.node("Add", start, at), [2]) for at in (tops, lows))
    lefts, rights = (g.node("Unsqueeze", at, [1]) for at in (lefts, rights))
    pixels = g.node("Reshape", g.node("Transpose", table(g, x, K, L), perm=[0, 2, 3, 1]), [-1, C])
    y = g.node("Max", *(g.node("Gather", pixels, g.node("Add", row, column), axis=0)        # (R,P,Q,C)
                        for row in (tops, lows) for column in (lefts, rights)))
    seen = g.node("And", g.node("Unsqueeze", tall, [2]), g.node("Unsqueeze", wide, [1]))
    return g.node("Transpose", g.node("Where", g.node("Unsqueeze", seen, [3]), y, 0.0), perm=[0, 3, 1, 2])


def double(g, number):
    """A constant in double precision, of two of float32: what the first leaves out is the second."""
    first = np.float32(number)
    return g.node("Add", *(g.node("Cast", float(part), to=DOUBLE) for part in (first, np.float32(number - float(first)))))


def table(g, x, K, L):
    """(N,C,K·L·H,W): the largest of 2ᵏ·2ˡ pixels from each pixel on, for all k < K and l < L; beyond the map is −∞."""
    maps = [g.node("MaxPool", x, kernel_shape=[2 ** k, 2 ** l], strides=[1, 1], pads=[0, 0, 2 ** k - 1, 2 ** l - 1])
            for k in range(K) for l in range(L)]
    return g.node("Concat", *maps, axis=2)


def along(g, first, last, n, places, step, pixel):
    """One axis: where the two powers of two of each bin begin in the table, (R,places) each, and whether the bin holds anything.

    first, last (R,1): of the box's pixels, of an axis of n; step, pixel: how far apart powers and pixels are in the table.
    """
    length = g.node("Max", g.node("Add", g.node("Sub", last, first), [1]), [1])
    inside = lambda at: g.node("Min", g.node("Max", g.node("Add", first, at), [0]), [n])
    parts = lambda numbers, up: g.node("Div", g.node("Add", g.node("Mul", length, list(numbers)), [up]), [places])
    lo, hi = inside(parts(range(places), 0)), inside(parts(range(1, places + 1), places - 1))        # rounded down, and up
    count = g.node("Sub", hi, lo)
    power = g.node("Mul", count, [0])
    for k in range(1, n.bit_length()):
        power = g.node("Add", power, g.node("Cast", g.node("Greater", count, [2 ** k - 1]), to=INT64))
    width = g.node("Gather", [2 ** k for k in range(n.bit_length())], power, axis=0)
    begin = g.node("Min", lo, [n - 1]), g.node("Max", g.node("Sub", hi, width), [0])
    far = g.node("Mul", power, [step])
    return *(g.node("Add", far, g.node("Mul", at, [pixel])) for at in begin), g.node("Greater", hi, lo)
