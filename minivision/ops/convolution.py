"""The convolution layer (卷积层)."""

from minivision.backend import floats, sizes
from minivision.kernels import Window, activation, pooling
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
    window = window_of(x, w, b, stride, padding, dilation, groups)
    y = kernels.correlate(x, w, b, window, groups)

    def backward(dy):
        return (lambda: kernels.correlate_input_gradient(dy, w, window, groups),
                lambda: kernels.correlate_weight_gradient(dy, x, window, groups),
                lambda: None if b is None else dy.sum(axis=(0, 2, 3)))

    return y, backward


def window_of(x, w, b, stride, padding, dilation, groups):
    """Where the filters stand on the images; ValueError where x, w and b do not belong together."""
    floats(x=x, w=w, b=b)
    N, C, H, W = sizes("NCHW", x)
    O, _, K, L = sizes("OCKL", w)
    pair("groups", groups, 1)
    if C != w.shape[1] * groups or O % groups:
        raise ValueError(f"x {x.shape} has C = {C} channels and w {w.shape} wants {w.shape[1]}·groups with "
                         f"groups = {groups}; O = {O} must be a multiple of groups")
    if b is not None and b.shape != (O,):
        raise ValueError(f"b has shape {b.shape}; expected ({O},), one bias a filter")
    return Window.of((H, W), (K, L), stride, padding, dilation)


@op
def conv2d_relu(x, w, b, *, stride=1, padding=0, dilation=1, groups=1, most=None):
    """relu(conv2d(x, w, b)), rectified on its way to memory: the same numbers, one pass less in each direction.

        y = min(max(0, z), most)      dz = dy where 0 < y < most, else 0      dx, dw, db: conv2d's, from dz

    x (N,C,H,W)   w (O,C/groups,K,L)   b (O,)   y (N,O,P,Q)      most: None for no limit, 6 for ReLU6 (others: one pass more)
    """
    window = window_of(x, w, b, stride, padding, dilation, groups)
    if most is not None and not most > 0:
        raise ValueError(f"most is {most}; expected a number > 0, or None")
    y = kernels.correlate_relu(x, w, b, window, groups, most)

    def backward(dy):
        dz = activation.relu_gradient(dy, y) if most is None else activation.bend_gradient(dy, y, 0.0, most)
        return (lambda: kernels.correlate_input_gradient(dz, w, window, groups),
                lambda: kernels.correlate_weight_gradient(dz, x, window, groups),
                lambda: dz.sum(axis=(0, 2, 3)))

    return y, backward


@op
def conv2d_pool_relu(x, w, b, *, stride=1, padding=0, dilation=1, groups=1):
    """relu(max_pool2d(conv2d(x, w, b), size=2)) without storing z, the four times larger result of the convolution.

        y[n,o,p,q] = max(0, max_kl z[n,o,2p+k,2q+l])      dz = dy at the winner of each window where y > 0, else 0

    x (N,C,H,W)   w (O,C/groups,K,L)   b (O,)   y (N,O,P/2,Q/2)      dx, dw, db: conv2d's, from dz

    A window whose largest entry is not positive has no winner (4), and its dy goes nowhere.
    """
    window = window_of(x, w, b, stride, padding, dilation, groups)
    quarter = Window.of((window.P, window.Q), 2, 2)
    y, winner = kernels.correlate_pool_relu(x, w, b, window, groups)

    def backward(dy):
        dz = pooling.max_pool_gradient(dy, winner, quarter)
        return (lambda: kernels.correlate_input_gradient(dz, w, window, groups),
                lambda: kernels.correlate_weight_gradient(dz, x, window, groups),
                lambda: (dy * (winner < 4)).sum(axis=(0, 2, 3)))

    return y, backward
