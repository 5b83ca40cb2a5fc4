"""Regions of interest (感兴趣区域): cut boxes out of a feature map and bring them to one size.

x (N,C,H,W)   boxes (R,4) x1 y1 x2 y2 on the map   image (R,) which of the N maps   y (R,C,P,Q)
"""

import numpy as np

from minivision.backend import array_module
from minivision.kernels.registry import Kernel


def points(start, length, number):
    """(R,number) places where each box is sampled along one axis: evenly spread, at the middle of `number` equal parts."""
    return start[:, None] + length[:, None] * ((np.arange(number) + 0.5) / number)


def interpolation(start, length, n, places, samples):
    """The (R,places,n) matrices that sum up one axis of each box: place p is the mean of `samples` points, evenly spread in
    bin p, each interpolated between the two pixels beside it.

    start, length (R,): where the box begins and how long it is, in pixels whose centres are whole numbers. Points beyond
    the map by more than a pixel count as 0, nearer ones take the pixel at the border.
    """
    at = points(start, length, places * samples)
    pixel = np.clip(at, 0, n - 1)
    weight = np.maximum(0, 1 - np.abs(pixel[:, :, None] - np.arange(n))) * ((at >= -1) & (at <= n))[:, :, None]
    return weight.reshape(len(start), places, samples, n).mean(axis=2)


def matrices(x, boxes, size, samples):
    """A (R,1,P,H) and B (R,1,Q,W), so that box r of the map is A_r·x·B_rᵀ."""
    xp, (H, W) = array_module(x), x.shape[2:]
    x1, y1, x2, y2 = (boxes if isinstance(boxes, np.ndarray) else boxes.get()).T
    A, B = interpolation(y1, y2 - y1, H, size[0], samples), interpolation(x1, x2 - x1, W, size[1], samples)
    return xp.asarray(A, x.dtype)[:, None], xp.asarray(B, x.dtype)[:, None]


@Kernel
def roi_align(x, boxes, image, size, samples):
    """Bilinear interpolation is linear and separable: y_r = A_r · x · B_rᵀ, where P, Q = size."""
    A, B = matrices(x, boxes, size, samples)
    return A @ x[image] @ B.swapaxes(-1, -2)


@Kernel
def roi_align_gradient(dy, boxes, image, shape, samples):
    """dx = Σ_r A_rᵀ · dy_r · B_r, each added to the map its box was cut from; shape: x's."""
    xp = array_module(dy)
    dx = xp.zeros(shape, dy.dtype)
    A, B = matrices(dx, boxes, dy.shape[2:], samples)
    xp.add.at(dx, image, A.swapaxes(-1, -2) @ dy @ B)
    return dx


def bins(start, end, n, places):
    """(R,places) first and last + 1 pixel of every bin of boxes that hold the whole pixels start … end."""
    length = np.maximum(end - start + 1, 1)[:, None]
    p = np.arange(places)
    lo, hi = start[:, None] + p * length // places, start[:, None] - (-(p + 1) * length // places)
    return np.clip(lo, 0, n), np.clip(hi, 0, n)


@Kernel
def roi_pool(x, boxes, image, size):
    """Largest pixel of every bin, 0 of an empty one, and where it was: y, winner (R,C,P,Q), a place in H·W or −1.

    boxes (R,4) whole numbers: the first and last pixel along each axis. Neighbouring bins may share a row of pixels.
    """
    xp, C, (P, Q), W = array_module(x), x.shape[1], size, x.shape[3]
    y, winner = xp.zeros((len(boxes), C, P, Q), x.dtype), xp.full((len(boxes), C, P, Q), -1, np.int32)
    x1, y1, x2, y2 = (boxes if isinstance(boxes, np.ndarray) else boxes.get()).T
    (h0, h1), (w0, w1) = bins(y1, y2, x.shape[2], P), bins(x1, x2, W, Q)
    for r, p, q in np.ndindex(len(boxes), P, Q):
        a, b, c, d = h0[r, p], h1[r, p], w0[r, q], w1[r, q]
        if a < b and c < d:
            seen = x[int(image[r]), :, a:b, c:d].reshape(C, -1)
            at = seen.argmax(axis=1)
            y[r, :, p, q] = seen[xp.arange(C), at]
            winner[r, :, p, q] = (a + at // (d - c)) * W + c + at % (d - c)
    return y, winner


@Kernel
def roi_pool_gradient(dy, winner, image, shape):
    """Hand every dy to the pixel that won: → dx of the given shape."""
    xp, (N, C, H, W) = array_module(dy), shape
    dx = xp.zeros((N, C, H * W + 1), dy.dtype)                          # one more place, for the −1 of empty bins
    xp.add.at(dx, (image[:, None, None, None], xp.arange(C)[:, None, None], winner), dy)
    return xp.ascontiguousarray(dx[:, :, :-1]).reshape(shape)
