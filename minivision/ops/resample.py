"""Upsampling (上采样): feature maps made larger."""

from minivision.backend import sizes
from minivision.kernels import resample as kernels
from minivision.kernels.window import pair
from minivision.tensor import op


@op
def upsample(x, *, factor=2):
    """Nearest neighbour: each pixel becomes a factor×factor square, so its gradient is the sum over that square.

        y[n,c,p,q] = x[n, c, ⌊p/factor⌋, ⌊q/factor⌋]      x (N,C,H,W)   y (N,C,H·factor,W·factor)
    """
    N, C, H, W = sizes("NCHW", x)
    factor, _ = pair("factor", factor, 1)
    y = x.repeat(factor, axis=2).repeat(factor, axis=3)
    return y, lambda dy: (dy.reshape(N, C, H, factor, W, factor).sum(axis=(3, 5)),)


@op
def upsample_bilinear(x, *, size, corners=False):
    """Bilinear interpolation (双线性插值) to `size` (P,Q) is linear and separable: a matrix product on either side.

        y = A·x·Bᵀ      dx = Aᵀ·dy·B      A (P,H) along the height, B (Q,W) along the width

    x (N,C,H,W)   y (N,C,P,Q)   corners: the corner pixels' centres coincide (else the images' borders do)
    """
    N, C, H, W = sizes("NCHW", x)
    y = kernels.upsample_bilinear(x, pair("size", size, 1), corners)
    return y, lambda dy: (kernels.upsample_bilinear_gradient(dy, (H, W), corners),)
