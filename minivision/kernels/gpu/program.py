"""From a .cu file to a launch: read the signatures, check the arguments against them, run on the GPU or in the emulator.

CuPy passes to a kernel whatever it is given: a float64 array where the kernel says float, a Python number in the wrong
width, a transposed view. The kernel then reads nonsense. So `launch` reads what the kernel declares and refuses.
"""

import math
import re
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from minivision.backend import array_module, device_of, is_cupy

__all__ = ["Program", "blocks"]

HERE = Path(__file__).parent
KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\(\w+\)\s+)?void\s+(\w+)\s*\(([^)]*)\)')
TYPES = {"int": np.int32, "unsigned": np.uint32, "unsigned int": np.uint32, "long long": np.int64,
         "unsigned char": np.uint8, "unsigned long long": np.uint64,
         "float": np.float32, "double": np.float64}
MOST_BLOCKS = 65535         # along the second and third axis of a grid
MOST_THREADS = 1024         # of a block


class Program:
    """The kernels of one .cu file: `Program("pooling.cu").launch("max_pool", grid, block, *arguments)`.

    source: CUDA C instead of what the file holds, for kernels of one's own; `text` is what is compiled, common.cuh first.
    exact: no multiplication is fused with an addition, so that comparisons come out as on the CPU.
    """

    def __init__(self, name, source=None, exact=False):
        self.name, self.exact = name, exact
        source = (HERE / name).read_text(encoding="utf-8") if source is None else source
        self.text = (HERE / "common.cuh").read_text(encoding="utf-8") + source

    @cached_property
    def signatures(self):
        """{kernel: [(C type, name)]}; the type of a pointer ends in *."""
        found, text = {}, re.sub(r"//[^\n]*|/\*.*?\*/", " ", self.text, flags=re.S)
        for name, parameters in KERNEL.findall(text):
            found[name] = []
            for words in parameters.split(","):
                match = re.fullmatch(r"\s*([\w ]+?)\s*(\*?)\s*(\w+)\s*", re.sub(r"\b(const|__restrict__)\b", " ", words))
                kind = " ".join(match[1].split()) if match else None
                if kind != "REAL" and kind not in TYPES:
                    raise ValueError(f"{self.name}: {name}: parameter {words.strip()!r}: expected REAL, {', '.join(TYPES)}, or one "
                                     "of them with *, and a name")
                found[name].append((kind + match[2], match[3]))
        return found

    def launch(self, kernel, grid, block, *arguments, real=None):
        """Run `kernel` on a grid of blocks of threads. ValueError where an argument is not what the kernel declares.

        real: what REAL stands for, where no argument is an array of them.
        """
        if kernel not in self.signatures:
            raise ValueError(f"{self.name} has no kernel {kernel!r}; it has {', '.join(self.signatures)}")
        signature = self.signatures[kernel]
        if len(arguments) != len(signature):
            raise ValueError(f"{self.name}: {kernel} takes {len(signature)} arguments, not {len(arguments)}")
        arrays = [a for a in arguments if hasattr(a, "dtype") and getattr(a, "ndim", 0)]
        reals = (a.dtype.type for a, (kind, _) in zip(arguments, signature) if kind == "REAL*" and hasattr(a, "dtype"))
        real = real or next(reals, np.float32)
        checked = [self.checked(kernel, kind, name, a, real) for a, (kind, name) in zip(arguments, signature)]
        grid, block = (tuple(map(int, (*sizes, 1, 1)[:3])) for sizes in (grid, block))
        if real not in (np.float32, np.float64):
            raise ValueError(f"{self.name}: {kernel} computes in float32 or float64, not {np.dtype(real)}")
        if min(grid) == 0:
            return
        if max(grid[1:]) > MOST_BLOCKS:
            raise ValueError(f"{self.name}: {kernel}: a grid of {grid} blocks; the second and third may be {MOST_BLOCKS} at most")
        if math.prod(block) > MOST_THREADS or block[2] > 64:
            raise ValueError(f"{self.name}: {kernel}: a block of {block} threads; there may be {MOST_THREADS}, "
                             "and 64 along the third axis")
        runner = on_gpu if device_of(*arrays) == "gpu" else in_emulator
        runner(self, np.dtype(real).name, array_module(*arrays))(kernel, grid, block, checked)

    def checked(self, kernel, kind, name, value, real):
        """The value in the type that the kernel declares."""
        place = f"{self.name}: {kernel}: {name}"
        dtype = real if kind.rstrip("*") == "REAL" else TYPES[kind.rstrip("*")]
        if kind.endswith("*"):
            if not (isinstance(value, np.ndarray) or is_cupy(value)):
                raise ValueError(f"{place} is {value!r}; expected an array")
            if value.dtype != dtype:
                raise ValueError(f"{place} is {value.dtype}; expected {np.dtype(dtype)}")
            if not value.flags.c_contiguous:
                raise ValueError(f"{place} {value.shape} is not contiguous; launch it with ascontiguousarray({name})")
            return value
        if np.ndim(value) or isinstance(value, str):
            raise ValueError(f"{place} is {value!r}; expected one number")
        if np.issubdtype(dtype, np.integer):
            info = np.iinfo(dtype)
            if int(value) != value or not info.min <= value <= info.max:
                raise ValueError(f"{place} is {value}; expected a whole number from {info.min} to {info.max}")
        return dtype(value)


@cache
def on_gpu(program, real, cupy):
    """f(kernel, grid, block, arguments) on the GPU; compiled once, and kept on disk by CuPy."""
    real = "double" if real == "float64" else "float"
    options = ("--std=c++17", f"-DREAL={real}", *(["--fmad=false"] if program.exact else []))
    module = cupy.RawModule(code=program.text, options=options)
    module.compile()
    return lambda kernel, grid, block, arguments: module.get_function(kernel)(grid, block, tuple(arguments))


@cache
def in_emulator(program, real, _):
    from minivision.kernels.gpu.emulator import Emulator
    return Emulator(program, real)


def blocks(n, threads=256):
    """How many blocks of `threads` hold n of them."""
    return -(-int(n) // threads)
