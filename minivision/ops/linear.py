"""The fully-connected layer (全连接层)."""

from minivision.backend import floats, sizes
from minivision.kernels.linear import product
from minivision.tensor import op


@op
def linear(x, w, b=None):
    """Every output is a weighted sum of all inputs (F1, F10, F13: documents 000 §3.1, 002 §3.1.3, 003 §3.3.3).

        y[n,o] = b[o] + Σ_i w[o,i] · x[n,i]              y = x·wᵀ + b

    x (N,I)   w (O,I)   b (O,)   y (N,O)

    The documents print one output, y = Σ wᵢaᵢ + b; a layer has O of them, and a batch has N rows. Nudging w[o,i] moves
    y[n,o] by x[n,i], for every n; nudging x[n,i] moves it by w[o,i], for every o. Summed over all that moves:

        dx = dy·w      dw = dyᵀ·x      db = Σ_n dy
    """
    floats(x=x, w=w, b=b)
    if b is None:
        sizes("NI OI", x, w)
    else:
        sizes("NI OI O", x, w, b)
    y = product(x, w.T)
    if b is not None:
        y += b

    def backward(dy):
        return (lambda: product(dy, w),
                lambda: product(dy.T, x),
                lambda: None if b is None else dy.sum(axis=0))

    return y, backward
