"""Specification first, then speed: a kernel is one formula with several executions.

    @Kernel
    def max_pool(x, window): ...         # kernels/pooling.py: plain array code, NumPy and CuPy, always right

    @max_pool.on("cpu")
    def max_pool(x, window): ...         # kernels/cpu/pooling.py: must agree with it, may be less pretty

The calculus stands in `ops/`: an op's docstring has the formula and its derivative, its backward calls kernels. Where a
formula and its derivative pass over the same memory (batch norm, softmax with cross-entropy), a kernel computes both.
"""

import importlib
import importlib.util
from contextlib import contextmanager
from contextvars import ContextVar
from functools import update_wrapper

from minivision.backend import device_of

specified = ContextVar("specified", default=False)
exact = ContextVar("exact", default=False)
emulated = ContextVar("emulated", default=False)


class Kernel:
    """A function on arrays: `specification`, and fast versions by device, loaded when first called."""

    def __init__(self, specification):
        self.specification, self.fast, self.looked = specification, {}, set()
        update_wrapper(self, specification)

    def on(self, device):
        """Decorator: the fast version for "cpu" or "gpu"."""
        def register(f):
            self.fast[device] = f
            return f
        return register

    def version(self, device):
        """The function that runs there: the fast one if there is one, else the specification."""
        if device not in self.looked:
            # kernels/pooling.py has its fast versions in kernels/cpu/pooling.py: importing Numba waits until then.
            home = self.__module__.replace("minivision.kernels.", f"minivision.kernels.{device}.")
            if importlib.util.find_spec(f"minivision.kernels.{device}") and importlib.util.find_spec(home):
                importlib.import_module(home)
            self.looked.add(device)
        return self.fast.get(device, self.specification)

    def __call__(self, *args, **options):
        if specified.get():
            return self.specification(*args, **options)
        device = device_of(*(a for x in args for a in (x if isinstance(x, list) else [x])))
        return self.version("gpu" if emulated.get() else device)(*args, **options)


@contextmanager
def specification():
    """Inside `with specification():` every kernel runs its plain array code."""
    token = specified.set(True)
    try:
        yield
    finally:
        specified.reset(token)


@contextmanager
def exact_convolution():
    """Inside `with exact_convolution():` no kernel trades accuracy for speed (kernels/cpu/winograd.py does)."""
    token = exact.set(True)
    try:
        yield
    finally:
        exact.reset(token)


@contextmanager
def emulated_gpu():
    """Inside `with emulated_gpu():` kernels run their CUDA versions, on NumPy arrays, in the emulator (kernels/gpu/emulator.py)."""
    token = emulated.set(True)
    try:
        yield
    finally:
        emulated.reset(token)
