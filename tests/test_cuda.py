"""The CUDA kernels without a GPU: gradient checks in the emulator, barriers that are missed, sanitizers, NVIDIA's compiler."""

import ctypes
import importlib
import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from minivision.gradcheck import check
from minivision.kernels import emulated_gpu
from minivision.kernels.gpu import program as programs
from minivision.kernels.gpu.emulator import Emulator
from minivision.kernels.gpu.program import HERE, Program
from tests.cases import CASES
from tests.cuda_scenarios import disagreement, scenarios

SOURCES = sorted(path.name for path in HERE.glob("*.cu"))
ARCHITECTURES = (75, 80, 86, 89, 90)            # Turing, Ampere (two), Ada, Hopper


@pytest.mark.parametrize("case", [case for case in CASES if "17×16×3×3" not in str(case)], ids=str)     # that one is for the CPU
def test_gradients_of_the_cuda_kernels(case, rng):
    """The gradient check of every op, its kernels run in the emulator, with REAL as double."""
    options = deepcopy(case.options)
    with emulated_gpu():
        check(case.op, *case.arrays(rng), rng=options.pop("rng", None), **options)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_every_kernel_of_every_file_runs_and_agrees(dtype, tolerance, monkeypatch):
    launched, launch = set(), Program.launch

    def watched(self, kernel, *args, **options):
        launched.add((self.name, kernel))
        return launch(self, kernel, *args, **options)

    monkeypatch.setattr(Program, "launch", watched)
    errors = {name: disagreement(kernel, args) for name, (kernel, args) in scenarios(dtype).items()}
    assert {name: e for name, e in errors.items() if not e < tolerance} == {}
    assert launched == {(name, kernel) for name in SOURCES for kernel in Program(name).signatures}


def barriers():
    """(file, which) for every __syncthreads() that a kernel of the file can reach."""
    common = (HERE / "common.cuh").read_text(encoding="utf-8")
    found = []
    for name in SOURCES:
        text = Program(name).text
        for i, m in enumerate(re.finditer(r"__syncthreads\(\);", text)):
            inherited = m.start() < len(common)
            helper = [f for f in ("block_sum", "block_max") if text.rfind(f"REAL {f}(", 0, m.start()) >= 0][-1:] if inherited else []
            if not inherited or helper[0] + "(" in text[len(common):]:
                found.append((name, i))
    return found


@pytest.mark.parametrize("name, which", barriers())
def test_a_missing_barrier_is_noticed(name, which, monkeypatch):
    """Remove one __syncthreads(): each kernel that waits there computes something else, in one order of the threads or the other.

    Of the barriers in common.cuh it is enough that one of the file's kernels does: where only thread 0 uses a sum, the last
    barrier of `block_sum` protects nobody.
    """
    places = list(re.finditer(r"__syncthreads\(\);", Program(name).text))
    broken = Program(name)
    broken.text = Program(name).text[:places[which].start()] + Program(name).text[places[which].end():]
    topic = importlib.import_module(f"minivision.kernels.gpu.{name.removesuffix('.cu')}")
    kernels = {"convolution": ("correlate, 1", "correlate_input_gradient, 1", "correlate_weight_gradient, 1"), "nms": ("survivors",),
               "loss": ("cross_entropy_rows, far apart",), "normalization": ("batch_norm", "batch_norm_gradient")}[name.removesuffix(".cu")]
    chosen = {key: s for key, s in scenarios().items() if key.removesuffix(" groups") in kernels}
    assert len(chosen) == len(kernels)
    for key, (kernel, args) in chosen.items():
        assert disagreement(kernel, args) < 1e-12, key                      # whole, it agrees
    monkeypatch.setattr(topic, "program", broken)
    noticed = dict.fromkeys(chosen, False)
    for backwards in (False, True):
        emulator = Emulator(broken, "float64", backwards)
        monkeypatch.setattr(programs, "in_emulator", lambda *_, emulator=emulator: emulator)
        for key, (kernel, args) in chosen.items():
            try:
                noticed[key] |= not disagreement(kernel, args) < 1e-9
            except RuntimeError:                                            # only some threads reached a barrier
                noticed[key] = True
    own = places[which].start() >= len((HERE / "common.cuh").read_text(encoding="utf-8"))
    assert (all if own else any)(noticed.values()), noticed


def sanitized(code, tmp_path):
    """Run Python code with the emulator under the address and undefined-behaviour sanitizers."""
    library = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    flags = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
    environment = os.environ | {"MINIVISION_EMULATOR_FLAGS": flags, "LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0",
                                "PYTHONPATH": str(Path(__file__).parents[1]), "XDG_CACHE_HOME": str(tmp_path), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++ and its sanitizers")
def test_the_sanitizers_find_nothing(tmp_path):
    result = sanitized("import runpy; runpy.run_module('tests.cuda_scenarios', run_name='__main__')", tmp_path)
    assert "all kernels agree" in result.stdout, result.stderr[-3000:]
    assert result.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++ and its sanitizers")
def test_the_sanitizers_would_find_a_read_beyond_the_end(tmp_path):
    result = sanitized("""
import numpy as np
from minivision.kernels.gpu.program import Program
program = Program("activation.cu")
program.text = program.text.replace("x[i] < 0 ? REAL(0) : x[i]", "x[i + 1]")
program.launch("relu", (1,), (32,), np.zeros(1000, np.float32), np.zeros(1000, np.float32), 1000)
""", tmp_path)
    assert result.returncode != 0
    assert "heap-buffer-overflow" in result.stderr


def nvrtc():
    """NVIDIA's runtime compiler from the wheel nvidia-cuda-nvrtc; it compiles for any architecture and needs no GPU."""
    nvidia = pytest.importorskip("nvidia", reason="pip install nvidia-cuda-nvrtc")
    libraries = [p for folder in nvidia.__path__ for p in Path(folder).rglob("libnvrtc.so*")]
    if not libraries:
        pytest.skip("pip install nvidia-cuda-nvrtc")
    return ctypes.CDLL(str(sorted(libraries)[0]))


def compile_with_nvrtc(text, architecture, real):
    """(whether it compiled, what the compiler said)"""
    library, program, size = nvrtc(), ctypes.c_void_p(), ctypes.c_size_t()
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    options = [f"--gpu-architecture=sm_{architecture}".encode(), b"--std=c++17", f"-DREAL={real}".encode()]
    failed = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return not failed, log.value.decode()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", SOURCES)
def test_nvidias_compiler_takes_every_file(name, architecture):
    for real in ("float", "double"):
        assert compile_with_nvrtc(Program(name).text, architecture, real) == (True, "")


def test_nvidias_compiler_refuses_nonsense():
    compiled, log = compile_with_nvrtc(Program("activation.cu").text.replace("y[i]", "z[i]"), 90, "float")
    assert not compiled
    assert 'identifier "z" is undefined' in log


@pytest.mark.parametrize("change, words", [
    ({0: np.zeros((2, 3))}, "relu.cu|x is float64; expected float32"),
    ({0: np.zeros((3, 2), np.float32).T}, "x .* is not contiguous"),
    ({0: 3.0}, "x is 3.0; expected an array"),
    ({0: np.float32(3)}, "expected an array"),
    ({2: 2.5}, "n is 2.5; expected a whole number"),
    ({2: 2 ** 70}, "n is 1180591620717411303424; expected a whole number from"),
    ({2: np.zeros(2)}, "expected one number"),
])
def test_launch_refuses_what_the_kernel_would_misread(change, words):
    arguments = [np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32), 6]
    for i, value in change.items():
        arguments[i] = value
    with pytest.raises(ValueError, match=words):
        Program("activation.cu").launch("relu", (1,), (32,), *arguments, real=np.float32)


def test_launch_counts_arguments_and_blocks():
    x = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="relu takes 3 arguments, not 2"):
        Program("activation.cu").launch("relu", (1,), (32,), x, x)
    with pytest.raises(ValueError, match="there may be 1024"):
        Program("activation.cu").launch("relu", (1,), (2048,), x, x, 3)
    with pytest.raises(ValueError, match="has no kernel 'rely'; it has relu"):
        Program("activation.cu").launch("rely", (1,), (32,), x, x, 3)
    with pytest.raises(ValueError, match="may be 65535 at most"):
        Program("activation.cu").launch("relu", (1, 70000), (32,), x, x, 3)


def add(source, exact=False):
    program, (a, b) = Program("mine.cu", source, exact), np.arange(100, dtype=np.float32).reshape(2, 50)
    c = np.zeros(50, np.float32)
    program.launch("add", (1,), (64,), a, b, c, 50)
    return c


def test_kernels_of_ones_own():
    """Parameters called a, b and c, comments with commas, unsigned counts."""
    c = add("""extern "C" __global__ void add(const REAL* a, /* the first, */ const REAL* b,
               REAL* c,     // the sum, of both
               unsigned int n) { unsigned i = threadIdx.x; if (i < n) c[i] = a[i] + b[i]; }""")
    np.testing.assert_array_equal(c, np.arange(50) * 2 + 50)
    with pytest.raises(ValueError, match=r"mine.cu: add: parameter 'short\* c': expected REAL, int"):
        add('extern "C" __global__ void add(const REAL* a, const REAL* b, short* c, int n) {}')


def test_a_barrier_that_the_emulator_does_not_see_is_told():
    with pytest.raises(RuntimeError, match="waits in a way that the emulator does not see"):
        add('#define WAIT __syncthreads()\nextern "C" __global__ void add(const REAL* a, const REAL* b, REAL* c, int n) { WAIT; }')


def test_a_barrier_that_some_threads_never_reach_is_told():
    with pytest.raises(RuntimeError, match="only some threads of a block reached"):
        add('extern "C" __global__ void add(const REAL* a, const REAL* b, REAL* c, int n) { if (threadIdx.x < 3) __syncthreads(); }')


@pytest.mark.gpu
@pytest.mark.parametrize("name", scenarios())
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_on_a_gpu(name, dtype, tolerance):
    import cupy
    kernel, args = scenarios(dtype)[name]

    def moved(a):
        return [cupy.asarray(x) for x in a] if isinstance(a, list) else cupy.asarray(a) if isinstance(a, np.ndarray) else a

    expected, found = kernel(*args), kernel(*map(moved, args))
    for a, b in zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]:
        assert isinstance(a, cupy.ndarray)
        assert a.dtype == b.dtype
        assert np.abs(a.get().astype(float) - b).max() <= tolerance * max(1e-30, np.abs(b.astype(float)).max())
