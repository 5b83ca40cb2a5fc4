"""The matrix product, cut along the longer side of its result, one BLAS call a part."""

import numpy as np

from minivision.kernels import linear
from minivision.kernels.cpu.threads import split

LEAST = 64      # rows or columns: narrower strips waste BLAS


@linear.product.on("cpu")
def product(a, b):
    c = np.empty((a.shape[0], b.shape[1]), np.result_type(a, b))
    if c.shape[0] >= c.shape[1]:
        split(c.shape[0], lambda lo, hi: np.matmul(a[lo:hi], b, out=c[lo:hi]), LEAST, parts=4)
    else:
        split(c.shape[1], lambda lo, hi: np.matmul(a, b[:, lo:hi], out=c[:, lo:hi]), LEAST, parts=4)
    return c
