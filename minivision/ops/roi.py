"""Cutting regions of interest (感兴趣区域) out of a feature map: RoI pooling and RoI Align."""

import numpy as np

from minivision.backend import array_module, floats, sizes
from minivision.kernels import roi as kernels
from minivision.kernels.window import pair
from minivision.tensor import op


@op
def roi_align(x, *, boxes, image, size, scale=1.0, samples=2, aligned=True):
    """Each box of the map, interpolated to one size (He et al., ICCV 2017, §3).

        y_r = A_r · x · B_rᵀ      dx = Σ_r A_rᵀ · dy_r · B_r

    x (N,C,H,W)   boxes (R,4) x1 y1 x2 y2 in pixels of the image   image (R,) which of the N maps   y (R,C,P,Q), P, Q = size
    scale: pixels of the map to a pixel of the image, 1/16 for a map of stride 16

    A_r (P,H) and B_r (Q,W) average `samples` points along each axis of each of the P×Q bins, interpolated between
    pixels. A pixel's centre lies half a pixel from its corner; with aligned=False that half is forgotten and boxes are at
    least 1 long, as in the first implementations (and in torchvision's pretrained detectors).
    """
    N, C, H, W = sizes("NCHW", x)
    size, boxes, image = checked(x, boxes, image, size)
    pair("samples", samples, 1)
    boxes = boxes.astype(np.float64) * scale
    if aligned:
        boxes = boxes - 0.5
    else:
        boxes[:, 2:] = array_module(boxes).maximum(boxes[:, 2:], boxes[:, :2] + 1)
    y = kernels.roi_align(x, boxes, image, size, samples)
    return y, lambda dy: (kernels.roi_align_gradient(dy, boxes, image, x.shape, samples),)


@op
def roi_pool(x, *, boxes, image, size, scale=1.0):
    """The largest pixel in each of P×Q bins of every box (Girshick, ICCV 2015, §2.1; the A of F2 and F3, document 000 §3.4).

        y[r,c,p,q] = max x[image_r, c, i, j] over the pixels i, j of bin p, q      dx: dy at the pixel that won

    x (N,C,H,W)   boxes (R,4) x1 y1 x2 y2 in pixels of the image   image (R,)   y (R,C,P,Q), P, Q = size

    Corners are rounded to whole pixels of the map, both of which belong to the box; bins are rounded outwards, so
    neighbours may share a row, and an empty bin (outside the map) gives 0. That rounding is what RoI Align does away with.
    """
    size, boxes, image = checked(x, boxes, image, size)
    corners = array_module(boxes).floor(boxes.astype(np.float64) * scale + 0.5).astype(np.int64)     # ½ rounds up
    y, winner = kernels.roi_pool(x, corners, image, size)
    return y, lambda dy: (kernels.roi_pool_gradient(dy, winner, image, x.shape),)


def checked(x, boxes, image, size):
    """Arguments that belong together; ValueError otherwise, with the first box that is wrong."""
    floats(x=x)
    N = sizes("NCHW", x)[0]
    xp = array_module(x)
    boxes, image = xp.asarray(boxes), xp.asarray(image)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or image.shape != (len(boxes),) or image.dtype.kind not in "iu":
        raise ValueError(f"boxes have shape {boxes.shape} and image {image.dtype} {image.shape}; expected (R,4) x1 y1 x2 y2 "
                         "and (R,) whole numbers")
    for r in xp.nonzero(~xp.isfinite(boxes).all(axis=1) | (image < 0) | (image >= N))[0][:1].tolist():
        raise ValueError(f"box {r} is {boxes[r].tolist()} on image {int(image[r])}; expected finite numbers, and one of {N} images")
    return pair("size", size, 1), boxes, image
