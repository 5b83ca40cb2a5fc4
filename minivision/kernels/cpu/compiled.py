"""How loops are compiled, said once: serial, without Python's lock, cached on disk so that only the first run waits."""

import hashlib
from pathlib import Path

from numba import config, njit

HERE = Path(__file__).parent


def forget_stale_kernels():
    """Numba keeps a compiled loop until *its* file changes, but a loop contains what it calls, from other files, too. So when any
    file of this folder has changed, what is kept beside them is thrown away; in a folder that NUMBA_CACHE_DIR names, each
    state of the files has a place of its own."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(HERE.glob("*.py")))).hexdigest()
    if config.CACHE_DIR:
        config.CACHE_DIR = str(Path(config.CACHE_DIR) / f"minivision-{digest[:12]}")
    kept = HERE / "__pycache__"
    stamp = kept / "kernels.sha256"
    try:
        if kept.is_dir() and (not stamp.exists() or stamp.read_text(encoding="utf-8") != digest):
            for index in kept.glob("*.nbi"):
                index.unlink(missing_ok=True)
            stamp.write_text(digest, encoding="utf-8")
    except OSError:
        pass            # a folder that cannot be written: Numba keeps its files elsewhere, and so does whoever installs there


forget_stale_kernels()

# fastmath without "nnan" and "ninf": sums may be reordered (so that they vectorise), but NaN and infinity stay what
# they are. error_model="numpy": no test for division by zero inside loops.
compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
# The same where a comparison decides: no reordering, so that the result is the specification's to the last bit.
compiled_exactly = njit(nogil=True, cache=True, error_model="numpy")
