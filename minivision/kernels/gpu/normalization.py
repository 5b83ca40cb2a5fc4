"""Launching normalization.cu."""

from minivision.backend import array_module
from minivision.kernels import normalization
from minivision.kernels.gpu.program import Program, blocks

THREADS = 256
program = Program("normalization.cu")


def sizes(x):
    return x.shape[0], x.shape[1], x.shape[2] * x.shape[3]


def alike(x, *arrays):
    """The arrays contiguous and of x's type; x itself where there is none."""
    return [x if a is None else array_module(x).ascontiguousarray(a, x.dtype) for a in arrays]


def forward(x, mean, inverse, gamma, beta, r, rectified):
    xp = array_module(x)
    x, y = xp.ascontiguousarray(x), xp.empty(x.shape, x.dtype)
    program.launch("normalize", (blocks(x.size),), (THREADS,), x, *alike(x, mean, inverse, gamma, beta, r), y, *sizes(x),
                   int(r is not None), int(rectified))
    return y


def moments(x, eps):
    xp, C = array_module(x), x.shape[1]
    mean, variance, inverse = (xp.empty(C, x.dtype) for _ in range(3))
    program.launch("moments", (C,), (THREADS,), xp.ascontiguousarray(x), mean, variance, inverse, *sizes(x), eps)
    return mean, variance, inverse


@normalization.normalize.on("gpu")
def normalize(x, mean, inverse, gamma, beta):
    return forward(x, mean, inverse, gamma, beta, None, False)


@normalization.normalize_relu.on("gpu")
def normalize_relu(x, mean, inverse, gamma, beta, r=None):
    return forward(x, mean, inverse, gamma, beta, r, True)


@normalization.batch_norm.on("gpu")
def batch_norm(x, gamma, beta, eps):
    mean, variance, inverse = moments(x, eps)
    return forward(x, mean, inverse, gamma, beta, None, False), mean, variance, inverse


@normalization.batch_norm_relu.on("gpu")
def batch_norm_relu(x, gamma, beta, eps, r=None):
    mean, variance, inverse = moments(x, eps)
    return forward(x, mean, inverse, gamma, beta, r, True), mean, variance, inverse


def backward(dy, y, x, gamma, mean, inverse):
    xp, C = array_module(x), x.shape[1]
    x, rectified = xp.ascontiguousarray(x), y is not None
    dy, y, gamma, mean, inverse = alike(x, dy, y, gamma, mean, inverse)
    dx, dgamma, dbeta = xp.empty(x.shape, x.dtype), xp.empty(C, x.dtype), xp.empty(C, x.dtype)
    dz = xp.empty(x.shape, x.dtype) if rectified else dy
    program.launch("normalize_sums", (C,), (THREADS,), dy, y, x, mean, inverse, dz, dgamma, dbeta, *sizes(x), int(rectified))
    program.launch("normalize_gradient", (blocks(x.size),), (THREADS,), dz, x, gamma, mean, inverse, dgamma, dbeta, dx, *sizes(x))
    return dx, dgamma, dbeta, dz


@normalization.batch_norm_gradient.on("gpu")
def batch_norm_gradient(dy, x, gamma, mean, inverse):
    return backward(dy, None, x, gamma, mean, inverse)[:3]


@normalization.batch_norm_relu_gradient.on("gpu")
def batch_norm_relu_gradient(dy, y, x, gamma, mean, inverse, keep=True):
    *gradients, dz = backward(dy, y, x, gamma, mean, inverse)
    return (*gradients, dz if keep else None)
