"""Joining, padding and flattening: no arithmetic, only where the numbers lie."""

import numpy as np

from minivision.backend import array_module, sizes
from minivision.kernels import Window
from minivision.tensor import op


@op
def concat(*xs, axis=1):
    """Lay arrays behind one another along an axis, by default the channels; dx_i is the matching slice of dy."""
    xp = array_module(*xs)
    if len({x.ndim for x in xs}) != 1 or not -xs[0].ndim <= axis < xs[0].ndim:
        raise ValueError(f"cannot lay arrays of shapes {', '.join(str(x.shape) for x in xs)} behind one another along "
                         f"axis {axis}")
    cuts = np.cumsum([x.shape[axis] for x in xs])[:-1].tolist()
    return xp.concatenate(xs, axis=axis), lambda dy: tuple(xp.split(dy, cuts, axis=axis))


@op
def pad2d(x, *, padding, value=0.0):
    """Surround every image with a constant: x (N,C,H,W) → y (N,C,H+top+bottom,W+left+right); dx is the inner part.

    padding: a number, one per axis, or ((top, bottom), (left, right)).
    """
    N, C, H, W = sizes("NCHW", x)
    frame = Window.of((H, W), 1, padding=padding)
    return frame.pad(x, value) if any(map(any, frame.padding)) else x.copy(), lambda dy: (frame.crop(dy),)


@op
def flatten(x):
    """One row an image (展平): (N, …) → (N, the product of …); dx has dy's numbers in x's shape."""
    return x.reshape(len(x), int(np.prod(x.shape[1:]))), lambda dy: (dy.reshape(x.shape),)
