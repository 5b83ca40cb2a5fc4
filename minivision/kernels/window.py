"""Where a sliding window lies: the shape algebra of convolution and pooling, said once."""

from itertools import product
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """A K×L window that slides over an H×W image and stops at P×Q places.

    stride (步幅) is the step between two places, padding (填充) the rows and columns added around the image as
    ((top, bottom), (left, right)), dilation (膨胀) the gap between two taps of the window. Tap (k, l) of the window at
    place (p, q) looks at the pixel

        row  p·stride + k·dilation − top,      column  q·stride + l·dilation − left,

    and along the height there are P = ⌊(H + top + bottom − dilation·(K−1) − 1) / stride⌋ + 1 places.
    """

    H: int
    W: int
    K: int
    L: int
    P: int
    Q: int
    stride: tuple
    padding: tuple
    dilation: tuple

    @classmethod
    def of(cls, image, size, stride=1, padding=0, dilation=1, ceil=False):
        """The window of `size` K or (K,L) on an `image` (H,W). ValueError where it does not fit.

        stride, dilation: a number or one per axis. padding: a number, one per axis, or ((top,bottom),(left,right)).
        ceil: round the number of places up instead of down, by padding below and on the right as far as needed; a
        place that would start in that padding is left out (PyTorch's and ONNX's rule).
        """
        size, stride, dilation = pair("size", size, 1), pair("stride", stride, 1), pair("dilation", dilation, 1)
        padding = margins(padding)
        places = []
        for axis in (0, 1):
            reach = dilation[axis] * (size[axis] - 1) + 1
            n = image[axis] + sum(padding[axis])
            if n < reach:
                raise ValueError(f"a window of size {size} with dilation {dilation} does not fit an image of "
                                 f"{image[0]}×{image[1]} with padding {padding}")
            m = (n - reach) // stride[axis] + 1
            if ceil and (n - reach) % stride[axis] and m * stride[axis] < image[axis] + padding[axis][0]:
                m += 1
                before, after = padding[axis]
                padding = list(padding)
                padding[axis] = (before, after + (m - 1) * stride[axis] + reach - n)
                padding = tuple(padding)
            places.append(m)
        return cls(*image, *size, *places, stride, padding, dilation)

    def pad(self, x, value=0):
        """(…,H,W) → (…, H+top+bottom, W+left+right)."""
        if not any(map(sum, self.padding)):
            return x
        (top, bottom), (left, right) = self.padding
        y = np.full_like(x, value, shape=(*x.shape[:-2], self.H + top + bottom, self.W + left + right))
        y[..., top:top + self.H, left:left + self.W] = x
        return y

    def crop(self, x):
        """Undo `pad`."""
        (top, _), (left, _) = self.padding
        return x[..., top:top + self.H, left:left + self.W]

    def taps(self):
        """The positions (k, l) in the window, row by row."""
        return product(range(self.K), range(self.L))

    def seen_by(self, k, l):
        """Index of the pixels that tap (k, l) sees, over all places: padded_x[window.seen_by(k, l)] is (…,P,Q)."""
        (s, t), (d, e) = self.stride, self.dilation
        return (..., slice(k * d, k * d + s * (self.P - 1) + 1, s), slice(l * e, l * e + t * (self.Q - 1) + 1, t))


def pair(name, value, least):
    """3 → (3, 3); (2, 3) → (2, 3); whole numbers ≥ least."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(isinstance(v, (int, np.integer)) and v >= least for v in values):
        raise ValueError(f"{name} is {value!r}; expected a whole number ≥ {least}, or two of them")
    return int(values[0]), int(values[1])


def margins(padding):
    """1 → ((1,1),(1,1)); (1, 2) → ((1,1),(2,2)); ((1,2),(3,4)) stays."""
    padding = padding if isinstance(padding, (tuple, list)) else (padding, padding)
    if len(padding) != 2:
        raise ValueError(f"padding is {padding!r}; expected a number, one per axis, or ((top,bottom),(left,right))")
    return tuple(pair("padding", side, 0) for side in padding)
