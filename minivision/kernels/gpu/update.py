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


def contiguous(arrays, ws):
    """Gradients as the kernel reads them; kept by name until the launch, since the table has only their addresses."""
    return [array_module(a).asarray(a, w.dtype, order="C") for a, w in zip(arrays, ws, strict=True)]


def by_type(ws, *lists):
    """The lists, or None, split into those of parameters of one type: a launch takes one."""
    for dtype in sorted({w.dtype for w in ws}, key=str):
        chosen = [i for i, w in enumerate(ws) if w.dtype == dtype]
        yield [None if xs is None else [xs[i] for i in chosen] for xs in (ws, *lists)]


@update.sgd.on("gpu")
def sgd(ws, gs, vs, lr, momentum, nesterov, weight_decay):
    for w, g, v in by_type(ws, gs, vs if momentum else None):
        g, real = contiguous(g, w), w[0].dtype.type
        (w_at, g_at, *v_at), ends, n = tables(w, g, *([v] if momentum else []))
        program.launch("sgd", (blocks(n),), (256,), w_at, g_at, v_at[0] if v_at else g_at, ends, len(w), lr, momentum,
                       int(nesterov), weight_decay, real=real)


@update.adam.on("gpu")
def adam(ws, gs, ms, vs, lr, beta1, beta2, eps, weight_decay, decoupled, t):
    shrink, decay = (1 - lr * weight_decay, 0) if decoupled else (1, weight_decay)
    for w, g, m, v in by_type(ws, gs, ms, vs):
        g, real = contiguous(g, w), w[0].dtype.type
        (w_at, g_at, m_at, v_at), ends, n = tables(w, g, m, v)
        program.launch("adam", (blocks(n),), (256,), w_at, g_at, m_at, v_at, ends, len(w), lr / (1 - beta1 ** t), 1 - beta1,
                       1 - beta2, 1 / (1 - beta2 ** t), eps, shrink, decay, real=real)
