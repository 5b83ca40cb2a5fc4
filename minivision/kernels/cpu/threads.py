"""Two cores, one rule: a kernel cuts its work into one part a core, and inside a part BLAS may not start threads.

Numba's own parallel loops would bring a second pool of threads (and OpenMP, which does not survive a fork). Here all
compiled loops are serial and release Python's lock, and this pool is the only one.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["split", "thread_count"]

lock = threading.Lock()         # one kernel at a time uses the pool; a second caller works alone


@cache
def thread_count():
    """Threads that kernels use: MINIVISION_THREADS, or the processors this process may run on."""
    asked = os.environ.get("MINIVISION_THREADS", "")
    if asked and (not asked.isdigit() or int(asked) < 1):
        raise ValueError(f"MINIVISION_THREADS is {asked!r}; expected a whole number ≥ 1")
    return int(asked) if asked else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@cache
def pool():
    return ThreadPoolExecutor(thread_count(), thread_name_prefix="minivision")


@cache
def blas_libraries():
    return ThreadpoolController().select(user_api="blas").lib_controllers


def split(n, work, least=1):
    """Call work(lo, hi) over 0 … n in equal parts, one a thread, each at least `least` long.

    Where there is one part, BLAS keeps its own threads. The cuts depend on n and the thread count alone, so that the
    same machine gives the same bits every time. Returns the list of what `work` returned, in order.
    """
    parts = max(1, min(thread_count(), n // max(1, least)))
    if parts == 1 or not lock.acquire(blocking=False):
        return [work(0, n)]
    libraries = blas_libraries()
    before = [library.get_num_threads() for library in libraries]
    try:
        for library in libraries:
            library.set_num_threads(1)
        cuts = [n * i // parts for i in range(parts + 1)]
        others = [pool().submit(work, lo, hi) for lo, hi in zip(cuts[1:], cuts[2:])]
        return [work(cuts[0], cuts[1]), *(other.result() for other in others)]
    finally:
        for library, threads in zip(libraries, before):
            library.set_num_threads(threads)
        lock.release()
