"""The matrix product, the one operation under all layers."""

from minivision.kernels.registry import Kernel


@Kernel
def product(a, b):
    """a (M,K) @ b (K,N) → (M,N)"""
    return a @ b
