"""Read and write {name: array}; every error names the file."""

import json
import os
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from minivision.weights.translate import translated


def save(model, path, metadata=None):
    """Write a model's parameters and buffers as safetensors, atomically."""
    write_safetensors(model.state(), path, metadata)


def load(model, path, network=None):
    """Set a model's parameters and buffers from a .safetensors, .npz or PyTorch (.pth, .pt, .th) file; nothing changes unless
    everything fits. network: whose names the file has, where they are not the model's own (`translate.RULES`)."""
    path = Path(path)
    try:
        model.load_state(translated(read(path), network))
    except ValueError as error:
        raise error if str(error).startswith(str(path)) else ValueError(f"{path}: {error}") from None


def read(path):
    """{name: array} of a file of weights, by its ending."""
    from minivision.weights.torch_file import read_torch
    readers = {".npz": read_npz, ".pth": read_torch, ".pt": read_torch, ".th": read_torch}
    return readers.get(Path(path).suffix, read_safetensors)(path)


def write_safetensors(arrays, path, metadata=None):
    """Write {name: array} (and {text: text} metadata) so that the file is either complete or not there."""
    # safetensors writes the bytes in memory order and forgets strides: a transposed view would come back scrambled.
    data = to_bytes({name: np.asarray(x, order="C") for name, x in arrays.items()}, metadata)
    write_atomically(path, data)


def write_atomically(path, data):
    """Bytes to a file beside it, to the disk, then renamed: a kill or a full disk leaves the old file or none."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_safetensors(path):
    """{name: array} of a .safetensors file: float16 and bfloat16 are widened to float32, other types kept.

    FileNotFoundError, or ValueError with the file's name for anything that is not a sound file.
    """
    path = existing(path)
    try:
        refuse_duplicates(path)
        with safe_open(str(path), framework="numpy") as file:
            return {name: widened(file, name, path) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, ValueError, OSError, AttributeError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path}: not a sound safetensors file: {error}") from None


def refuse_duplicates(path):
    """The library rejects other broken headers; of a name given twice it keeps one."""
    with open(path, "rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8:
            raise ValueError("it is empty, or cut off in its first 8 bytes")
        if length > path.stat().st_size:
            raise ValueError(f"its header claims {length} bytes, the file has {path.stat().st_size}")
        header = file.read(length)

    def unique(pairs):
        names = [name for name, _ in pairs]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"the name {min(twice)!r} is given twice")
        return dict(pairs)

    json.loads(header, object_pairs_hook=unique)


def widened(file, name, path):
    view = file.get_slice(name)
    kind, shape = view.get_dtype(), view.get_shape()
    if kind == "BF16":
        return bfloat16(path, name, shape)
    x = file.get_tensor(name)
    return x.astype(np.float32) if x.dtype == np.float16 else x


def bfloat16(path, name, shape):
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        start, end = json.loads(file.read(length))[name]["data_offsets"]
        file.seek(8 + length + start)
        return from_bfloat16(file.read(end - start)).reshape(shape)


def from_bfloat16(data):
    """Bytes of bfloat16 numbers, the upper halves of float32 (NumPy has no such type), as float32."""
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)


def read_npz(path):
    """{name: array} of a NumPy archive: floats become native C-ordered float32; pickled objects are refused."""
    path = existing(path)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: not a NumPy archive (no zip directory: another format, or cut off)")
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                # Members are read by NumPy in memory and never extracted; a path in a name is a trick all the same.
                if name.startswith("/") or ".." in Path(name).parts or "\\" in name:
                    raise ValueError(f"a member is named {name!r}")
                x = archive[name]
                kind = np.float32 if x.dtype.kind == "f" else x.dtype.newbyteorder("=")
                arrays[name] = np.asarray(x, dtype=kind, order="C")
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, AttributeError, TypeError,
            KeyError, SyntaxError, tokenize.TokenError) as error:       # what NumPy and zipfile raise on damaged members
        reason = "it holds a pickled object, which could run code" if "allow_pickle" in str(error) else error
        raise ValueError(f"{path}: refused: {reason}") from None
    return arrays


def existing(path):
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return path
