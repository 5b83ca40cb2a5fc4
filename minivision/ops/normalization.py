"""Normalisation (归一化): give every channel mean 0 and variance 1, then let it learn a scale and a shift."""

from minivision.backend import array_module, sizes
from minivision.tensor import op


def normalize_backward(dx_hat, x_hat, inverse_deviation, axes):
    """Back through x̂ = (x − μ)/σ, where μ and σ are computed from x over `axes` (m entries each).

    x reaches the loss directly, through μ and through σ; summing the three paths gives

        dx = ( dx̂ − mean(dx̂) − x̂ · mean(dx̂·x̂) ) / σ

    so dx has mean 0 and is orthogonal to x̂: adding a constant to x, or scaling it, changes no x̂.
    """
    return inverse_deviation * (dx_hat - dx_hat.mean(axis=axes, keepdims=True)
                                - x_hat * (dx_hat * x_hat).mean(axis=axes, keepdims=True))


def deviation(x, axes, eps):
    """x − μ and 1/σ over the axes; the variance is that of the batch itself (divided by m, not m − 1)."""
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = (centred * centred).mean(axis=axes, keepdims=True)
    return centred, 1 / array_module(x).sqrt(variance + eps), variance


@op
def batch_norm2d(x, gamma, beta, *, mean=None, variance=None, eps=1e-5, observe=None):
    """Normalise each channel over the batch (Ioffe and Szegedy, ICML 2015, algorithm 1; its backward is their §3).

        x̂ = (x − μ_c) / √(σ²_c + eps)      y = γ_c·x̂ + β_c      μ_c, σ²_c over n, h, w

        dβ = Σ_nhw dy      dγ = Σ_nhw dy·x̂      dx̂ = γ·dy      dx: see `normalize_backward`

    x, y (N,C,H,W)   gamma, beta (C,)
    Training: the batch's own statistics; observe(mean, variance), if given, is called with them (each (C,)), so that a
    layer can keep running averages. Evaluation: give `mean` and `variance` (C,); they are constants, and dx = γ·dy/σ.
    """
    N, C, H, W = sizes("NCHW C C", x, gamma, beta)
    xp, axes, by_channel = array_module(x), (0, 2, 3), (None, slice(None), None, None)
    if (mean is None) != (variance is None):
        raise ValueError("give both mean and variance (evaluation), or neither (training)")
    training = mean is None
    if training:
        if N * H * W == 0:
            raise ValueError(f"an empty batch {x.shape} has no statistics; in evaluation give mean and variance")
        centred, inverse, found = deviation(x, axes, eps)
        x_hat = centred * inverse
        if observe:
            observe(x.mean(axis=axes), found[0, :, 0, 0])
    else:
        inverse = (1 / xp.sqrt(variance + eps))[by_channel].astype(x.dtype, copy=False)
        x_hat = (x - mean[by_channel].astype(x.dtype, copy=False)) * inverse
    y = gamma[by_channel] * x_hat + beta[by_channel]

    def backward(dy):
        dx_hat = dy * gamma[by_channel]
        return (lambda: normalize_backward(dx_hat, x_hat, inverse, axes) if training else dx_hat * inverse,
                lambda: (dy * x_hat).sum(axis=axes),
                lambda: dy.sum(axis=axes))

    return y, backward


@op
def instance_norm2d(x, gamma, beta, *, eps=1e-5):
    """Normalise each channel of each image over its own pixels (Ulyanov et al., arXiv 1607.08022, equation 3).

        x̂ = (x − μ_nc) / √(σ²_nc + eps)      y = γ_c·x̂ + β_c      μ_nc, σ²_nc over h, w

    x, y (N,C,H,W)   gamma, beta (C,)      the gradients are batch_norm2d's, with means over h, w only
    """
    sizes("NCHW C C", x, gamma, beta)
    by_channel = (None, slice(None), None, None)
    centred, inverse, _ = deviation(x, (2, 3), eps)
    x_hat = centred * inverse

    def backward(dy):
        return (lambda: normalize_backward(dy * gamma[by_channel], x_hat, inverse, (2, 3)),
                lambda: (dy * x_hat).sum(axis=(0, 2, 3)),
                lambda: dy.sum(axis=(0, 2, 3)))

    return gamma[by_channel] * x_hat + beta[by_channel], backward
