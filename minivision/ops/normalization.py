"""Normalisation (归一化): give every channel mean 0 and variance 1, then let it learn a scale and a shift."""

from minivision.backend import array_module, sizes
from minivision.kernels import activation
from minivision.kernels import normalization as kernels
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

        x̂ = (x − μ_c) / √(σ²_c + eps)      y = γ_c·x̂ + β_c      μ_c, σ²_c over the m = N·H·W pixels of the channel

        dβ = Σ_nhw dy      dγ = Σ_nhw dy·x̂      dx = γ/σ · ( dy − dβ/m − x̂·dγ/m )

    x, y (N,C,H,W)   gamma, beta (C,)      dx is `normalize_backward` with dx̂ = γ·dy, whose means are dβ and dγ over m
    Training: the batch's own statistics; observe(mean, variance), if given, is called with them (each (C,)), so that a
    layer can keep running averages. Evaluation: give `mean` and `variance` (C,); they are constants, and dx = γ·dy/σ.
    """
    if given_statistics(x, gamma, beta, mean, variance):
        mean, inverse = constants(x, mean, variance, eps)
        return (kernels.normalize(x, mean, inverse, gamma, beta),
                lambda dy: scaling_backward(dy, x, gamma, mean, inverse))
    y, mean, variance, inverse = kernels.batch_norm(x, gamma, beta, eps)
    if observe:
        observe(mean, variance)
    return y, lambda dy: kernels.batch_norm_gradient(dy, x, gamma, mean, inverse)


@op
def batch_norm2d_relu(x, gamma, beta, r=None, *, mean=None, variance=None, eps=1e-5, observe=None):
    """relu(batch_norm2d(x, γ, β) + r) in one pass: the end of a residual block (He et al., CVPR 2016, figure 2).

        y = max(0, γ·x̂ + β + r)      dz = dy where y > 0, else 0      dr = dz      dx, dγ, dβ: batch_norm2d's, from dz

    x, r, y (N,C,H,W)   gamma, beta (C,)   r: what the shortcut brings, or None      options: batch_norm2d's
    """
    if r is not None and r.shape != x.shape:
        raise ValueError(f"x has shape {x.shape} and r {r.shape}; they are added")
    if given_statistics(x, gamma, beta, mean, variance):
        mean, inverse = constants(x, mean, variance, eps)
        y = kernels.normalize_relu(x, mean, inverse, gamma, beta, r)

        def backward(dy):
            dz = activation.relu_gradient(dy, y)
            return (*scaling_backward(dz, x, gamma, mean, inverse), None if r is None else dz)
    else:
        y, mean, variance, inverse = kernels.batch_norm_relu(x, gamma, beta, eps, r)
        if observe:
            observe(mean, variance)

        def backward(dy):
            return kernels.batch_norm_relu_gradient(dy, y, x, gamma, mean, inverse, keep=r is not None)

    return y, backward


def given_statistics(x, gamma, beta, mean, variance):
    """Whether they are given; ValueError where the arguments do not belong together."""
    N, C, H, W = sizes("NCHW C C", x, gamma, beta)
    if (mean is None) != (variance is None):
        raise ValueError("give both mean and variance (evaluation), or neither (training)")
    if mean is None and N * H * W == 0:
        raise ValueError(f"an empty batch {x.shape} has no statistics; in evaluation give mean and variance")
    return mean is not None


def constants(x, mean, variance, eps):
    return mean.astype(x.dtype, copy=False), (1 / array_module(x).sqrt(variance + eps)).astype(x.dtype, copy=False)


def scaling_backward(dy, x, gamma, mean, inverse):
    """Of y = γ·x̂ + β where μ and σ do not depend on x."""
    along = (slice(None), None, None)
    return (lambda: dy * (gamma * inverse)[along],
            lambda: (dy * (x - mean[along]) * inverse[along]).sum(axis=(0, 2, 3)),
            lambda: dy.sum(axis=(0, 2, 3)))


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


@op
def l2_norm2d(x, scale, *, eps=1e-12):
    """Every pixel's column of channels brought to length 1, then scaled channel by channel (Liu et al., arXiv 1506.04579, §3.3;
    SSD puts it behind conv4_3 with a scale of 20, whose numbers are larger than those of the deeper maps).

        n = √(Σ_c x²)      x̂ = x / n      y = scale_c·x̂

        dx = ( dx̂ − x̂·Σ_c dx̂·x̂ ) / n  with  dx̂ = scale_c·dy      dscale = Σ_nhw dy·x̂

    x, y (N,C,H,W)   scale (C,)   n is at least eps. dx is orthogonal to x: longer or shorter, the column gives the same y.
    """
    xp, _ = array_module(x), sizes("NCHW C", x, scale)
    along = (slice(None), None, None)
    length = xp.maximum(xp.sqrt((x * x).sum(axis=1, keepdims=True)), eps)
    x_hat = x / length

    def backward(dy):
        dx_hat = dy * scale[along]
        return (lambda: (dx_hat - x_hat * (dx_hat * x_hat).sum(axis=1, keepdims=True)) / length,
                lambda: (dy * x_hat).sum(axis=(0, 2, 3)))

    return scale[along] * x_hat, backward
