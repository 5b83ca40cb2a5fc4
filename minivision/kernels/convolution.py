"""Cross-correlation and its two transposes, tap by tap.

For one tap (k, l) of the filters, a convolution is a matrix product over the channels at every place:

    y   +=  w_kl · x_kl           x_kl (C, P·Q): the pixels that the tap sees       w_kl (O, C)
    dw_kl =  dy · x_klᵀ
    dx_kl += w_klᵀ · dy

The sum over the taps is the whole layer. Channels fall into `groups` that do not see each other (depthwise: one each).
"""

from minivision.backend import array_module
from minivision.kernels import activation, pooling
from minivision.kernels.registry import Kernel
from minivision.kernels.window import Window


def columns(padded, window, k, l, groups):
    """(N,C,·,·) padded images → (N,G,C/G,P·Q): what tap (k, l) sees."""
    N, C = padded.shape[:2]
    return padded[window.seen_by(k, l)].reshape(N, groups, C // groups, window.P * window.Q)


def by_group(w, groups):
    """(O,C/G,K,L) → (G,O/G,C/G,K,L)."""
    return w.reshape(groups, -1, *w.shape[1:])


@Kernel
def correlate(x, w, b, window, groups=1):
    """y[n,o,p,q] = b[o] + Σ_ckl w[o,c,k,l] · x[n, c, pixel of tap kl at place pq]      x (N,C,H,W) → y (N,O,P,Q)"""
    padded, filters = window.pad(x), by_group(w, groups)
    shape = (len(x), len(w), window.P, window.Q)
    y = array_module(x).zeros((len(x), groups, len(w) // groups, window.P * window.Q), x.dtype)
    for k, l in window.taps():
        y += filters[..., k, l] @ columns(padded, window, k, l, groups)
    y = y.reshape(shape)
    return y if b is None else y + b[:, None, None]


@Kernel
def correlate_relu(x, w, b, window, groups=1, most=None):
    """max(0, correlate(…)), and where `most` is given no more than that (ReLU6)."""
    y = correlate(x, w, b, window, groups)
    return activation.relu(y) if most is None else activation.bend(y, 0.0, most)


@Kernel
def correlate_pool_relu(x, w, b, window, groups=1):
    """The largest of each 2×2 places of correlate(…), rectified, and which of the four it was: 4 if it is not positive."""
    z = correlate(x, w, b, window, groups)
    y, winner = pooling.max_pool(z, Window.of((window.P, window.Q), 2, 2))
    winner[~(y > 0)] = 4
    return activation.relu(y), winner


@Kernel
def correlate_weight_gradient(dy, x, window, groups=1):
    """dw[o,c,k,l] = Σ_npq dy[n,o,p,q] · x[n, c, pixel of tap kl at place pq]      → dw (O,C/G,K,L)"""
    (N, O), C = dy.shape[:2], x.shape[1]
    padded, dy = window.pad(x), dy.reshape(N, groups, O // groups, window.P * window.Q)
    dw = array_module(x).empty((groups, O // groups, C // groups, window.K, window.L), x.dtype)
    for k, l in window.taps():
        dw[..., k, l] = (dy @ columns(padded, window, k, l, groups).swapaxes(-1, -2)).sum(axis=0)
    return dw.reshape(O, C // groups, window.K, window.L)


@Kernel
def correlate_input_gradient(dy, w, window, groups=1):
    """dx[n, c, pixel of tap kl at place pq] += Σ_o w[o,c,k,l] · dy[n,o,p,q]      → dx (N,C,H,W)

    Read forwards, the same map is the transposed convolution (转置卷积).
    """
    N, O = dy.shape[:2]
    filters, dy = by_group(w, groups), dy.reshape(N, groups, O // groups, window.P * window.Q)
    C = w.shape[1] * groups
    dx = window.pad(array_module(dy).zeros((N, C, window.H, window.W), dy.dtype))
    for k, l in window.taps():
        dx[window.seen_by(k, l)] += (filters[..., k, l].swapaxes(-1, -2) @ dy).reshape(N, C, window.P, window.Q)
    return window.crop(dx)
