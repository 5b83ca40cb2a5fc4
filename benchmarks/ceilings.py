"""How fast this machine can be at most: its fastest matrix product and its fastest copy, measured, and the roofline they make.

A layer that does f operations on every byte it must move runs at no more than min(product, f·copy) (Williams, Waterman and
Patterson, CACM 2009). Operations are counted as the direct sum would do them; Winograd's does fewer, and may pass the roof.
"""

import time

import numpy as np


def best_of(f, rounds=12):
    f()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        f()
        times.append(time.perf_counter() - started)
    return min(times)


def matrix_product(n=2048):
    """Operations a second of sgemm, all threads."""
    from minivision.kernels import linear
    a, b = (np.random.default_rng(i).standard_normal((n, n), dtype=np.float32) for i in range(2))
    return 2 * n ** 3 / best_of(lambda: linear.product(a, b))


def copy(n=1 << 26):
    """Bytes a second, read and written, all threads."""
    from minivision.kernels.cpu.threads import split
    a = np.ones(n, np.float32)
    b = np.empty_like(a)
    return 2 * a.nbytes / best_of(lambda: split(n, lambda lo, hi: np.copyto(b[lo:hi], a[lo:hi])))


def picture(found, path, machine):
    """The roof, and the single layers under it: ours and PyTorch's."""
    from minivision import draw
    points = {w.name: (w.flop / w.bytes, {who: w.flop / t.best for who, t in times.items()})
              for w, times in found.items() if w.bytes}
    draw.roofline(points, matrix_product(), copy(), f"● minivision   □ PyTorch      {machine}").savefig(path, dpi=110)
