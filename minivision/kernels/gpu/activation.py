"""Launching activation.cu."""

from minivision.backend import array_module
from minivision.kernels import activation
from minivision.kernels.gpu.program import Program, blocks

program = Program("activation.cu")


def flat(*arrays):
    return [array_module(a).ascontiguousarray(a).reshape(-1) for a in arrays]


@activation.relu.on("gpu")
def relu(x):
    y = array_module(x).empty(x.shape, x.dtype)
    program.launch("relu", (blocks(x.size),), (256,), *flat(x, y), x.size)
    return y


@activation.relu_gradient.on("gpu")
def relu_gradient(dy, y):
    dx = array_module(dy).empty(dy.shape, dy.dtype)
    program.launch("relu_gradient", (blocks(dy.size),), (256,), *flat(dy, y, dx), dy.size)
    return dx


@activation.bend.on("gpu")
def bend(x, slope, most):
    y = array_module(x).empty(x.shape, x.dtype)
    program.launch("bend", (blocks(x.size),), (256,), *flat(x, y), slope, most, x.size)
    return y


@activation.bend_gradient.on("gpu")
def bend_gradient(dy, y, slope, most):
    dx = array_module(dy).empty(dy.shape, dy.dtype)
    program.launch("bend_gradient", (blocks(dy.size),), (256,), *flat(dy, y, dx), slope, most, dy.size)
    return dx
