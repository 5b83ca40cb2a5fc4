"""The convolution layer (卷积层)."""

from minivision.backend import floats, sizes
from minivision.kernels import Window
from minivision.kernels import convolution as kernels
from minivision.kernels.window import pair
from minivision.tensor import op


@op
def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Slide every filter over every image (F6, F8, F11: documents 001 §3.4.1, 002 §3.1.1, 003 §3.3.1).

        y[n,o,p,q] = b[o] + Σ_ckl w[o,c,k,l] · x[n, c, p·stride + k·dilation − padding, q·stride + l·dilation − padding]

    x (N,C,H,W)   w (O,C/groups,K,L)   b (O,)   y (N,O,P,Q)      pixels outside the image count as 0

    The filter is not flipped, so this is a cross-correlation (互相关). With the patch under output place pq as column
    pq of `cols` (C·K·L, P·Q), the sum is a matrix product, and its backward is that of a fully-connected layer:

        y = w·cols + b      dw = Σ_n dy·colsᵀ      dcols = wᵀ·dy      db = Σ_npq dy

    and dx adds every column of dcols back to the patch it came from.
    """
    floats(x=x, w=w, b=b)
    N, C, H, W = sizes("NCHW", x)
    O, _, K, L = sizes("OCKL", w)
    groups, _ = pair("groups", groups, 1)
    if C != w.shape[1] * groups or O % groups:
        raise ValueError(f"x {x.shape} has C = {C} channels and w {w.shape} wants {w.shape[1]}·groups with "
                         f"groups = {groups}; O = {O} must be a multiple of groups")
    if b is not None and b.shape != (O,):
        raise ValueError(f"b has shape {b.shape}; expected ({O},), one bias a filter")
    window = Window.of((H, W), (K, L), stride, padding, dilation)
    y = kernels.correlate(x, w, b, window, groups)

    def backward(dy):
        return (lambda: kernels.correlate_input_gradient(dy, w, window, groups),
                lambda: kernels.correlate_weight_gradient(dy, x, window, groups),
                lambda: None if b is None else dy.sum(axis=(0, 2, 3)))

    return y, backward
