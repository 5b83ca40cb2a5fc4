"""Run the kernels of a .cu file on NumPy arrays, without a GPU: the C++ compiler, a small header and ctypes.

    from minivision.kernels import emulated_gpu
    with emulated_gpu():
        y = conv2d(x, w, b, padding=1)          # the CUDA kernel, thread by thread

A block with 256 threads takes some microseconds a barrier: enough for tests and for chapter 07, not for training.
"""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

C_TYPES = {"int": ctypes.c_int, "unsigned": ctypes.c_uint, "unsigned int": ctypes.c_uint, "long long": ctypes.c_longlong,
           "float": ctypes.c_float, "double": ctypes.c_double,
           "unsigned char": ctypes.c_ubyte, "unsigned long long": ctypes.c_ulonglong}
HEADER = Path(__file__).with_name("emulator.hpp")


class Emulator:
    """One .cu file compiled for the CPU, with REAL as "float32" or "float64".

    backwards: the threads of a block take turns from the last to the first; a race that one order hides shows in the other.
    flags: for the compiler, by default those in MINIVISION_EMULATOR_FLAGS; "-O1 -g -fsanitize=address,undefined" finds
    reads and writes beyond an array (the sanitizer's library must then be loaded first, with LD_PRELOAD).
    """

    def __init__(self, program, real="float32", backwards=False, flags=None):
        self.program, self.real, self.backwards = program, "double" if real == "float64" else "float", backwards
        flags = os.environ.get("MINIVISION_EMULATOR_FLAGS", "-O1").split() if flags is None else flags
        self.library = ctypes.CDLL(str(compiled(self.source(), (f"-DREAL={self.real}", *flags))))
        self.library.emulator_divergent.restype = self.library.emulator_unexpected.restype = ctypes.c_long

    def source(self):
        """C++: the header, the kernels, and for each kernel a function that Python can call."""
        waiting = functions_that_wait(self.program.text)
        parts = ['#include "emulator.hpp"', re.sub(r'extern\s+"C"\s+__global__', "__global__", self.program.text)]
        for kernel, parameters in self.program.signatures.items():
            declared = [f"{kind} {name}" for kind, name in parameters]
            fields, names = "; ".join(declared), ", ".join(name for _, name in parameters)
            passed = ", ".join("arguments_->" + name for _, name in parameters)
            parts.append(f'''
struct {kernel}_arguments {{ {fields}; }};
static void {kernel}_body(void* memory_) {{ auto arguments_ = ({kernel}_arguments*)memory_; {kernel}({passed}); }}
extern "C" void launch_{kernel}(unsigned gx_, unsigned gy_, unsigned gz_, unsigned bx_, unsigned by_, unsigned bz_,
                                {", ".join(declared)}) {{
    {kernel}_arguments arguments_{{{names}}};
    emulator::launch({{gx_, gy_, gz_}}, {{bx_, by_, bz_}}, {str(kernel in waiting).lower()}, {kernel}_body, &arguments_);
}}''')
        return "\n".join(parts)

    def __call__(self, kernel, grid, block, arguments):
        self.library.emulator_order(int(self.backwards))
        values = [ctypes.c_uint(n) for n in (*grid, *block)]
        for (kind, _), a in zip(self.program.signatures[kernel], arguments, strict=True):
            if isinstance(a, np.ndarray):
                values.append(ctypes.c_void_p(a.ctypes.data))
            else:
                values.append(C_TYPES[self.real if kind == "REAL" else kind](a.item()))
        getattr(self.library, f"launch_{kernel}")(*values)
        if self.library.emulator_unexpected():
            raise RuntimeError(f"{self.program.name}: {kernel} waits in a way that the emulator does not see beforehand (a "
                               "macro, or a helper of an unusual type): write __syncthreads() in the kernel, or in a void helper")
        divergent = self.library.emulator_divergent()
        if divergent:
            raise RuntimeError(f"{self.program.name}: {kernel}: only some threads of a block reached __syncthreads(), {divergent} "
                               "time(s); a GPU may hang there")


def functions_that_wait(text):
    """Names of the functions that contain __syncthreads(), or call one that does."""
    bodies = {name: body_of(text, start) for name, start in
              ((m[1], m.end()) for m in re.finditer(r"\b(?:void|REAL|bool|int|float|double)\s+(\w+)\s*\([^;{]*\)\s*(?=\{)", text))}
    waiting = {"__syncthreads"}
    while True:
        more = {name for name, body in bodies.items() if any(re.search(rf"\b{w}\b", body) for w in waiting)} - waiting
        if not more:
            return waiting
        waiting |= more


def body_of(text, start):
    """From the brace at or after `start` to the one that closes it."""
    depth = 0
    for i in range(text.index("{", start), len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return text[start:i]
    raise ValueError("a brace is not closed")


def compiler_found():
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


def available():
    """Whether the emulator can run here: it needs Linux and a C++ compiler."""
    return sys.platform.startswith("linux") and compiler_found() is not None


def compiled(source, flags):
    """The shared library of a source, made when it is first asked for and kept for the next time."""
    compiler = compiler_found()
    if not available():
        raise RuntimeError("the CUDA emulator needs Linux and a C++ compiler (g++ or clang++); on Debian: apt install g++")
    command = [compiler, "-std=c++17", "-shared", "-fPIC", *flags, "-I", str(HEADER.parent)]
    name = hashlib.sha256("\n".join([source, HEADER.read_text(encoding="utf-8"), *command]).encode()).hexdigest()[:20]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minivision" / "emulator"
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"{name}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            (Path(scratch) / "kernels.cpp").write_text(source, encoding="utf-8")
            made = Path(scratch) / "kernels.so"
            result = subprocess.run([*command, "-o", str(made), str(Path(scratch) / "kernels.cpp")], capture_output=True, text=True)
            if result.returncode:
                raise RuntimeError(f"the C++ compiler refused the kernels:\n{result.stderr.strip()}")
            os.replace(made, library)           # at once, so that two processes may compile the same
    return library
