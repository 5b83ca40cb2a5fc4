"""`minivision doctor`: what is installed, what it can do, and what to do about what is odd."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

OK, ODD = "  ok ", "  !! "


def doctor():
    """Print the state of the set-up; return how many things want attention."""
    findings = [*python(), *packages(), *blas(), *numba(), *gpu(), *data()]
    for fine, text, *advice in findings:
        print((OK if fine else ODD) + text)
        for line in advice:
            print(f"       → {line}")
    odd = sum(not fine for fine, *_ in findings)
    print(f"\n{'everything is in order' if odd == 0 else f'{odd} thing(s) to look at'}")
    return odd


def python():
    fine = sys.version_info >= (3, 11)
    yield fine, f"Python {platform.python_version()} on {platform.system()} {platform.machine()}", *(
        [] if fine else ["minivision needs Python 3.11 or newer: make demo PYTHON=python3.12"])


def packages():
    for name in ("minivision", "numpy", "numba", "pillow", "matplotlib", "tqdm", "safetensors", "threadpoolctl"):
        try:
            yield True, f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            yield False, f"{name} is not installed", f"pip install {name}, or: pip install -e . in the project's folder"


def blas():
    import numpy as np
    from threadpoolctl import threadpool_info

    from minivision.kernels.cpu.threads import thread_count
    if int(np.__version__.split(".")[0]) < 2:
        yield False, f"NumPy {np.__version__} is older than 2.0", "pip install 'numpy>=2'"
    libraries = [i for i in threadpool_info() if i["user_api"] == "blas"]
    for i in libraries:
        build = f"{i['internal_api']} {i['version']} ({i.get('architecture', '?')})"
        yield True, (f"BLAS: {build}, {i['num_threads']} thread(s); "
                     "kernels hold it to one each")
    if not libraries:
        yield False, "no BLAS library was recognised", "products may be slow; NumPy's wheels from PyPI bring OpenBLAS"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield thread_count() <= cores, f"{cores} processors, {thread_count()} threads for kernels (MINIVISION_THREADS)", *(
        [] if thread_count() <= cores else ["more threads than processors are slower: unset MINIVISION_THREADS"])
    if thread_count() == 1 and cores > 1:
        yield False, f"MINIVISION_THREADS=1 holds the kernels to one of {cores} processors", "unset MINIVISION_THREADS"


def numba():
    try:
        from minivision.kernels import Window, pooling
        pooling.max_pool.version("cpu")
        import numpy as np
        pooling.max_pool(np.zeros((1, 1, 2, 2), np.float32), Window.of((2, 2), 2, 2))
        from minivision.kernels.cpu.pooling import largest_of_four
        folder = Path(largest_of_four.stats.cache_path or ".")
        yield True, f"Numba compiles, and keeps what it compiled in {folder}"
        if not any(folder.glob("*.nbi")):
            yield False, f"Numba cannot keep kernels in {folder}", "set NUMBA_CACHE_DIR to a folder you can write to"
    except Exception as error:
        yield (False, f"the compiled kernels do not run: {error}",
               "everything still works, slowly: with minivision.kernels.specification(): …")


def gpu():
    if importlib.util.find_spec("cupy") is None:
        has_driver = shutil.which("nvidia-smi") is not None
        yield not has_driver, "no CuPy: everything runs on the CPU", *(
            ["there is an NVIDIA driver here: pip install 'minivision[gpu]' (CUDA 13) or 'minivision[gpu12]'"]
            if has_driver else [])
        return
    try:
        import cupy
        name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        yield True, f"CuPy {cupy.__version__}, CUDA {cupy.cuda.runtime.runtimeGetVersion()}, {name}"
    except Exception as error:
        yield (False, f"CuPy is installed but finds no GPU: {error}",
               "check nvidia-smi; cupy-cuda13x needs a CUDA 13 driver, cupy-cuda12x a CUDA 12 one")


def data():
    from minivision.data import published, sets
    home, digits = published.data_home(), sets.shipped("digits")
    yield (digits.is_dir(), f"shipped digits: {digits}",
           *([] if digits.is_dir() else ["they come with the project: install it again"]))
    writable = os.access(next(p for p in (home, *home.absolute().parents) if p.is_dir()), os.W_OK)
    found = [name for name in published.PUBLISHED if (home / name).is_dir()]
    yield (writable, f"data folder: {home} (downloaded: {', '.join(found) or 'nothing yet'})",
           *([] if writable else ["it cannot be written: set MINIVISION_DATA to another folder"]))
