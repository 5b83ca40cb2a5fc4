"""Launching resample.cu."""

from minivision.backend import array_module
from minivision.kernels import resample
from minivision.kernels.gpu.program import Program, blocks

program = Program("resample.cu")


@resample.upsample_bilinear.on("gpu")
def upsample_bilinear(x, size, corners):
    xp, (N, C, H, W) = array_module(x), x.shape
    y = xp.empty((N, C, *size), x.dtype)
    program.launch("upsample_bilinear", (blocks(y.size),), (256,), xp.ascontiguousarray(x), y, N * C, H, W, *size, int(corners))
    return y


@resample.upsample_bilinear_gradient.on("gpu")
def upsample_bilinear_gradient(dy, image, corners):
    xp, (N, C, P, Q) = array_module(dy), dy.shape
    dx = xp.empty((N, C, *image), dy.dtype)
    program.launch("upsample_bilinear_gradient", (blocks(dx.size),), (256,), xp.ascontiguousarray(dy), dx, N * C, *image, P, Q,
                   int(corners))
    return dx
