"""One rule for all cores: a kernel cuts its work into parts, the threads of one pool share them, and nothing else starts
threads.

Numba's own parallel loops would bring a second pool (and OpenMP, which does not survive a fork), so all compiled loops
are serial and release Python's lock. BLAS would bring a third: from the first kernel on it is held to one thread, for
good, since each change of its thread count makes OpenBLAS throw away its buffers (measured on a training step of sample
C5 when convolutions were BLAS products: 54 ms with a change around every kernel, 36 ms without).
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count

from threadpoolctl import ThreadpoolController

from minivision.kernels.cpu.memory import keep_freed_memory

__all__ = ["WORTH", "split", "thread_count"]

PARTS = 16                      # at most; more than most machines have cores, few enough to cost nothing
WORTH = 1 << 21                 # multiplications that are worth a part of their own: waking a thread for it takes some 50 µs
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
def hold_blas_to_one_thread():
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        library.set_num_threads(1)


def forget_threads():
    """After a fork the child has the pool's queue but none of its threads, and perhaps a lock that nobody opens."""
    global lock
    lock = threading.Lock()
    pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_threads)


def split(n, work, least=1, parts=PARTS):
    """Call work(lo, hi) on 0 … n in `parts` equal parts, each at least `least` long; what it returned, in order.

    The cuts depend on n alone, never on how many threads there are or whether they are busy, so sums over the parts
    have the same bits every time.
    """
    hold_blas_to_one_thread()
    keep_freed_memory()
    parts = max(1, min(parts, n // max(1, least)))
    cuts = [n * i // parts for i in range(parts + 1)]
    pieces = list(zip(cuts, cuts[1:]))
    threads = min(thread_count(), parts)
    if threads == 1 or not lock.acquire(blocking=False):
        return [work(lo, hi) for lo, hi in pieces]
    results, turn = [None] * parts, count()         # next(turn) gives each number to one thread

    def share():
        while (i := next(turn)) < parts:
            results[i] = work(*pieces[i])

    try:
        others = [pool().submit(share) for _ in range(1, threads)]
        try:
            share()
        finally:
            for other in others:
                if not other.cancel():          # it began; one that is not yet awake would find nothing left
                    other.result()
        return results
    finally:
        lock.release()
