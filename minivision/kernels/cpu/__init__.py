"""Fast versions for the CPU: Numba loops and BLAS products. Same file names as the specifications above them."""
