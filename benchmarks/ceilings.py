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
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    product, bytes_a_second = matrix_product(), copy()
    fig, ax = plt.subplots(figsize=(8, 5), layout="constrained")
    intensity = np.geomspace(0.1, 1000, 200)
    ax.plot(intensity, np.minimum(product, intensity * bytes_a_second) / 1e9, "k", lw=1.5)
    ax.annotate(f"copy: {bytes_a_second / 1e9:.0f} GB/s", (0.5, 0.6 * bytes_a_second / 1e9), rotation=33)
    ax.annotate(f"matrix product (BLAS): {product / 1e9:.0f} GFLOP/s", (30, 0.72 * product / 1e9))
    layers = {w: times for w, times in found.items() if w.bytes}
    for i, (w, times) in enumerate(layers.items()):
        x, ours, theirs = w.flop / w.bytes, w.flop / times["minivision"].best / 1e9, w.flop / times["PyTorch"].best / 1e9
        ax.plot([x, x], [theirs, ours], color=f"C{i}", lw=1)
        ax.plot(x, ours, "o", color=f"C{i}", label=w.name)
        ax.plot(x, theirs, "s", color=f"C{i}", mfc="white")
    ax.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="GFLOP/s", title=f"● minivision   □ PyTorch      {machine}")
    ax.legend(loc="lower right", fontsize=8)
    ax.grid(alpha=0.3, which="both")
    fig.savefig(path, dpi=110)
    plt.close(fig)
