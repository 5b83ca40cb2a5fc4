"""How two programs are timed against each other so that neither has the machine to itself.

They take turns. A turn is a short pause, in which the threads of the one before go to sleep, a first call that nobody
times (it brings data and code back into the caches), and a few timed calls. Noise only ever adds, so the best of many
rounds is compared; the median stands beside it.
"""

import gc
import statistics
import time
from typing import NamedTuple

PAUSE = 0.02            # seconds; OpenMP's threads keep a core busy for some milliseconds after their last loop


class Times(NamedTuple):
    """Seconds a call: the best and the median of all rounds."""

    best: float
    median: float


def take_turns(programs, seconds=6.0, least=6, at_once=3, wait=lambda: None):
    """{name: f} → {name: Times}: every f is called in turns until about `seconds` have passed, in at least `least` rounds.

    wait: called after each f, inside the timing; on a GPU it waits until the device is done.
    """
    times = {name: [] for name in programs}
    for f in programs.values():
        f(), f(), wait()
    gc.collect()
    started, rounds = time.perf_counter(), 0
    while rounds < least or time.perf_counter() - started < seconds:
        for name, f in programs.items():
            time.sleep(PAUSE)
            f()
            wait()
            for _ in range(at_once):
                t = time.perf_counter()
                f()
                wait()
                times[name].append(time.perf_counter() - t)
        rounds += 1
    return {name: Times(min(found), statistics.median(found)) for name, found in times.items()}
