"""How loops are compiled, said once: serial, without Python's lock, cached on disk so that only the first run waits."""

from numba import njit

# fastmath without "nnan" and "ninf": sums may be reordered (so that they vectorise), but NaN and infinity stay what
# they are. error_model="numpy": no test for division by zero inside loops.
compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
