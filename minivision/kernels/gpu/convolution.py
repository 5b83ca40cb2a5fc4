"""Launching convolution.cu."""

from minivision.backend import array_module
from minivision.kernels import convolution
from minivision.kernels.gpu.program import Program, blocks

TILE, THREADS = 64, 256
FEW = 8                 # filters of a group below which a tile of 64 would be mostly empty
SHARE = 4096            # places that one block of the weight gradient sums over, at least
MOST_PARTS = 64

program = Program("convolution.cu")


def geometry(window, N, C, O):
    """The numbers of a window as the kernels take them; ValueError where a count does not fit their 32-bit index."""
    for n in (N * window.P * window.Q, N * window.H * window.W, max(C, O) * window.K * window.L):
        if n > 2 ** 31 - 1 - TILE:
            raise ValueError(f"{n} places of a convolution are more than the CUDA kernels can count; use a smaller batch")
    (top, _), (left, _) = window.padding
    return (window.H, window.W, window.K, window.L, window.P, window.Q, *window.stride, top, left, *window.dilation)


@convolution.correlate.on("gpu")
def correlate(x, w, b, window, groups=1):
    xp, N, O, C = array_module(x), len(x), len(w) // groups, w.shape[1]
    x, w = xp.ascontiguousarray(x), xp.ascontiguousarray(w, x.dtype)
    y = xp.empty((N, O * groups, window.P, window.Q), x.dtype)
    bias = xp.zeros(1, x.dtype) if b is None else xp.ascontiguousarray(b, x.dtype)
    sizes = (N, C, O, *geometry(window, N, C, O), int(b is not None))
    if O < FEW:
        program.launch("correlate_plain", (blocks(y.size),), (THREADS,), x, w, bias, y, *sizes, groups)
    else:
        grid = blocks(N * window.P * window.Q, TILE), blocks(O, TILE), groups
        program.launch("correlate", grid, (THREADS,), x, w, bias, y, *sizes)
    return y


@convolution.correlate_input_gradient.on("gpu")
def correlate_input_gradient(dy, w, window, groups=1):
    xp, N, O, C = array_module(dy), len(dy), len(w) // groups, w.shape[1]
    dx = xp.empty((N, C * groups, window.H, window.W), dy.dtype)
    grid = blocks(N * window.H * window.W, TILE), blocks(C, TILE), groups
    program.launch("correlate_input_gradient", grid, (THREADS,), xp.ascontiguousarray(dy), xp.ascontiguousarray(w, dy.dtype), dx,
                   N, C, O, *geometry(window, N, C, O))
    return dx


@convolution.correlate_weight_gradient.on("gpu")
def correlate_weight_gradient(dy, x, window, groups=1):
    xp, N, O, C = array_module(x), len(dy), dy.shape[1] // groups, x.shape[1] // groups
    dy, x = xp.ascontiguousarray(dy, x.dtype), xp.ascontiguousarray(x)
    inner, places = C * window.K * window.L, N * window.P * window.Q
    count = max(1, min(MOST_PARTS, places // SHARE))
    share = -(-places // count)
    dw, parts = xp.zeros((groups, O, inner), x.dtype), xp.empty((count, O, inner), x.dtype)
    for group in range(groups if places else 0):
        grid = blocks(inner, TILE), blocks(O, TILE), count
        program.launch("correlate_weight_gradient", grid, (THREADS,), dy, x, parts, N, C, O, *geometry(window, N, C, O),
                       group, groups, share)
        program.launch("add_parts", (blocks(O * inner),), (THREADS,), parts, dw[group], O * inner, count)
    return dw.reshape(O * groups, C, window.K, window.L)
