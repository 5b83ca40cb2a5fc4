"""NumPy or CuPy: the one place that knows which library holds an array.

Formulas are written once, in array code: `xp = array_module(x)` and then `xp.exp(x)`. CuPy is imported when the
first array goes to a GPU and not before, so everything here works without it.
"""

import numpy as np

__all__ = ["array_module", "device_of", "to_device", "sizes", "floats", "as_rng"]


def is_cupy(x):
    return type(x).__module__.partition(".")[0] == "cupy"


def array_module(*arrays):
    """The module whose functions work on these arrays: `numpy` or `cupy`. Mixed arrays raise ValueError."""
    if device_of(*arrays) == "gpu":
        import cupy
        return cupy
    return np


def device_of(*arrays):
    """"cpu" or "gpu": where the arrays lie (numbers and None lie nowhere). Mixed arrays raise ValueError."""
    on_gpu = [is_cupy(x) for x in arrays if is_cupy(x) or isinstance(x, np.ndarray)]
    if any(on_gpu) and not all(on_gpu):
        raise ValueError("some arrays are on the CPU and some on the GPU; move them together with to_device(x, 'gpu')")
    return "gpu" if any(on_gpu) else "cpu"


def gpu_library():
    """CuPy, if it is installed and finds a GPU; else None."""
    try:
        import cupy
        cupy.cuda.runtime.getDeviceProperties(0)
        return cupy
    except Exception:                       # no CuPy, no driver, no device: each fails in its own way
        return None


def to_device(x, device):
    """The same array on "cpu" or "gpu"; returned as it is where it lies there already. A list: each of its arrays, and what is no
    array (a `Target`) as it is."""
    if device not in ("cpu", "gpu"):
        raise ValueError(f"device is {device!r}; expected 'cpu' or 'gpu'")
    if isinstance(x, list):
        return [to_device(item, device) if hasattr(item, "shape") else item for item in x]
    if device_of(x) == device:
        return x
    if device == "cpu":
        return x.get()
    try:
        import cupy
        return cupy.asarray(x)
    except ImportError as error:
        raise ValueError("no GPU library: pip install 'minivision[gpu]', and see `minivision doctor`") from error


def sizes(names, *arrays):
    """Name, check and unpack the sizes of several arrays in one line.

        N, C, H, W, O, K, L = sizes("NCHW OCKL", x, w)

    One letter an axis, one word an array; each letter is returned once, in order of first appearance. ValueError where
    a letter stands for two different sizes or an array has another number of axes.
    """
    words, found = names.split(), {}
    shapes = " ".join(str(np.shape(x)).replace(" ", "") for x in arrays)
    expected = f"expected {names}, got {shapes}"
    for word, x in zip(words, arrays, strict=True):
        if not hasattr(x, "shape"):
            raise ValueError(f"{word} is a {type(x).__name__}, not an array: {expected}")
        if np.ndim(x) != len(word):
            raise ValueError(f"{word} has {len(word)} axes, the array has {np.ndim(x)}: {expected}")
        for letter, size in zip(word, x.shape):
            if found.setdefault(letter, size) != size:
                raise ValueError(f"{letter} is both {found[letter]} and {size}: {expected}")
    return tuple(found.values())


def floats(**arrays):
    """Check that named arrays (or None) hold float32 or float64 numbers; ValueError says what to do about others."""
    for name, x in arrays.items():
        if x is not None and getattr(x, "dtype", None) not in (np.float32, np.float64):
            kind = getattr(x, "dtype", type(x).__name__)
            raise ValueError(f"{name} is {kind}; networks compute in float32 or float64: {name}.astype('float32'), or "
                             "data.normalise for images")


def as_rng(rng):
    """A `numpy.random.Generator` from a Generator or an integer seed; nothing else, so that no run is unrepeatable.

    Only `default_rng`'s kind (PCG64): its state is a few whole numbers, which a checkpoint can write down.
    """
    if isinstance(rng, np.random.Generator) and isinstance(rng.bit_generator, np.random.PCG64):
        return rng
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0:
        return np.random.default_rng(int(rng))
    raise ValueError(f"rng is {rng!r}; expected a seed (an integer ≥ 0) or numpy.random.default_rng(seed)")
