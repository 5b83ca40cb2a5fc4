"""Launching update.cu: one launch for all parameters."""

import numpy as np

from minivision.backend import array_module
from minivision.kernels import update
from minivision.kernels.gpu.program import Program, blocks

program = Program("update.cu")


def tables(*lists):
    """For each list of arrays their addresses, and where each one's entries end; ValueError where the lists do not match."""
    first = lists[0]
    xp = array_module(*(a for arrays in lists for a in arrays))
    for arrays in lists:
        for i, (w, a) in enumerate(zip(first, arrays, strict=True)):
            if a.dtype != first[0].dtype or a.shape != w.shape or not a.flags.c_contiguous:
                raise ValueError(f"parameter {i} is {w.dtype} {w.shape}, and beside it stands {a.dtype} {a.shape}; expected "
                                 f"contiguous {first[0].dtype} arrays of one shape")
    address = (lambda a: a.ctypes.data) if xp is np else (lambda a: a.data.ptr)
    ends = np.cumsum([a.size for a in first], dtype=np.int64)
    return ([xp.asarray(np.array([address(a) for a in arrays], np.uint64)) for arrays in lists], xp.asarray(ends), int(ends[-1]))


def contiguous(arrays):
    return [array_module(a).asarray(a, order="C") for a in arrays]


@update.sgd.on("gpu")
def sgd(ws, gs, vs, lr, momentum, nesterov, weight_decay):
    gs = contiguous(gs)
    (w_at, g_at, *v_at), ends, n = tables(ws, gs, *([vs] if momentum else []))
    real = ws[0].dtype.type
    program.launch("sgd", (blocks(n),), (256,), w_at, g_at, v_at[0] if v_at else g_at, ends, len(ws), real(lr), real(momentum),
                   int(nesterov), real(weight_decay), real=real)


@update.adam.on("gpu")
def adam(ws, gs, ms, vs, lr, beta1, beta2, eps, weight_decay, decoupled, t):
    gs = contiguous(gs)                 # held by name until the launch: the table has only their addresses
    (w_at, g_at, m_at, v_at), ends, n = tables(ws, gs, ms, vs)
    real = ws[0].dtype.type
    shrink, decay = (1 - lr * weight_decay, 0) if decoupled else (1, weight_decay)
    program.launch("adam", (blocks(n),), (256,), w_at, g_at, m_at, v_at, ends, len(ws), lr / (1 - beta1 ** t), 1 - beta1, 1 - beta2,
                   1 / (1 - beta2 ** t), eps, shrink, decay, real=real)
