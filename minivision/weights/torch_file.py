"""PyTorch's files (.pth, .pt, .th) without PyTorch, and without the means to run what they might contain.

    since 1.6    a zip: NAME/data.pkl describes the tensors, NAME/data/0, /1 … hold their numbers
    before       five pickles one after the other (a magic number, a version, sizes of types, the description, the keys of the
                 storages), then the storages: a count of 8 bytes and the numbers

A tensor is a storage, an offset into it, a shape and strides, the same four things that make a NumPy view.
"""

import io
import reprlib
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from minivision.weights.files import from_bfloat16
from minivision.weights.pickled import read_pickle

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
KINDS = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": "bfloat16", "Long": "<i8", "Int": "<i4", "Short": "<i2",
         "Char": "<i1", "Byte": "<u1", "Bool": "?"}


class Storage:
    """The numbers of one or several tensors: a flat array, once it is there (a legacy file has it behind the description)."""

    def __init__(self, kind, count):
        self.kind, self.count, self.values = kind, count, None
        self.bytes = count * (2 if kind == "bfloat16" else np.dtype(kind).itemsize)

    def fill(self, key, data):
        if len(data) != self.bytes:
            raise ValueError(f"storage {key} has {len(data)} bytes; its {self.count} numbers take {self.bytes}")
        if self.kind == "bfloat16":
            self.values = from_bfloat16(data)
        else:
            self.values = np.frombuffer(data, self.kind)


class Lazy:
    """A tensor whose storage may still be to come. Its pickle may say anything of it, so messages show only the beginning."""

    def __init__(self, storage, offset, shape, strides):
        told = f"a tensor of shape {short(shape)} with strides {short(strides)}"
        both = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides) < 33
        if not (both and isinstance(storage, Storage)
                and all(type(n) is int and 0 <= n < 1 << 62 for n in (offset, *shape, *strides))):
            raise ValueError(f"{told} makes no sense")
        size = int(np.prod(shape, dtype=object))
        reach = offset + sum((n - 1) * s for n, s in zip(shape, strides)) if size else 0
        if reach >= max(storage.count, 1) or size > storage.count:
            raise ValueError(f"{told} reaches beyond its {storage.count} numbers")
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    @property
    def bytes(self):
        return int(np.prod(self.shape, dtype=object)) * self.storage.bytes // max(1, self.storage.count)

    def array(self):
        values = self.storage.values
        view = np.lib.stride_tricks.as_strided(values[self.offset:], self.shape, [s * values.itemsize for s in self.strides])
        return np.array(view, dtype=np.float32 if values.dtype == np.float16 else values.dtype, order="C")


def short(value):
    """The beginning of what a hostile file may have made very long."""
    return reprlib.repr(value)[:200]


def read_torch(path):
    """{name: array} of a PyTorch file that holds a state dict, or a checkpoint with one under "state_dict", "model" or
    "model_state_dict". float16 and bfloat16 are widened to float32, other types kept.

    FileNotFoundError, or ValueError with the file's name for anything else: another content, damage, a pickle that would call
    anything but the few functions that rebuild tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with open(path, "rb") as file:
            zipped = zipfile.is_zipfile(file)
            file.seek(0)
            found = read_zip(file) if zipped else read_legacy(file)
        found, size = tensors_of(found), path.stat().st_size
        if (wanted := sum(x.bytes for x in found.values())) > 4 * size:         # float16 doubles; a tensor or two may be shared
            raise ValueError(f"{size} bytes that claim to hold tensors of {wanted}")
        return {name: x.array() for name, x in found.items()}
    except (ValueError, OSError, EOFError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError,
            MemoryError, zipfile.BadZipFile, struct.error, zlib.error) as error:        # what zipfile raises on damaged members
        raise ValueError(f"{path}: not a PyTorch file of weights: {error}") from None


def tensors_of(found):
    """The state dict in what a file holds."""
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found:
        raise ValueError(f"it holds a {type(found).__name__}, not names with tensors")
    for name, x in found.items():
        if not isinstance(name, str) or not isinstance(x, Lazy):
            raise ValueError(f"{short(name)} is a {type(x).__name__}; expected a name with a tensor")
    return found


def names(storages):
    """What a description may call, and what it gets. storages {key: Storage} collects them."""
    def tensor(storage, offset, shape, strides, *_):
        return Lazy(storage, offset, shape, strides)

    def ordered():
        return {}

    def persistent(pointer):
        known = len(pointer) in (5, 6) and pointer[0] == "storage" and pointer[1] in KINDS.values() and pointer[5:] in ((), (None,))
        if not (known and isinstance(pointer[2], str) and type(pointer[4]) is int and 0 <= pointer[4] < 1 << 48):
            raise ValueError(f"it points to {short(pointer)}, which is no storage of a known type")
        _, kind, key, _, count, *_ = pointer
        storage = storages.setdefault(key, Storage(kind, count))
        if (storage.kind, storage.count) != (kind, count):
            raise ValueError(f"storage {short(key)} is described twice, with {storage.count} and {count} numbers")
        return storage

    allowed = {"collections OrderedDict": ordered, "torch._utils _rebuild_tensor": tensor,
               "torch._utils _rebuild_tensor_v2": tensor, "torch._utils _rebuild_parameter": lambda x, *_: x}
    return allowed | {f"torch {name}Storage": kind for name, kind in KINDS.items()}, persistent


def read_zip(file):
    with zipfile.ZipFile(file) as archive:
        members = archive.namelist()
        if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in archive.infolist()):
            raise ValueError("its members are compressed or encrypted, as PyTorch's never are")
        described = [name for name in members if name.endswith("/data.pkl") or name == "data.pkl"]
        if len(described) != 1:
            raise ValueError(f"a zip with {len(described)} data.pkl; expected one (TorchScript and other archives hold more)")
        home, storages = described[0].removesuffix("data.pkl"), {}
        if f"{home}byteorder" in members and archive.read(f"{home}byteorder") != b"little":
            raise ValueError("its numbers are in big-endian order")
        found = read_pickle(io.BytesIO(archive.read(described[0])), *names(storages))
        for key, storage in storages.items():
            if f"{home}data/{key}" not in members or archive.getinfo(f"{home}data/{key}").file_size != storage.bytes:
                raise ValueError(f"storage {key} of {storage.bytes} bytes is missing, or of another size")
            storage.fill(key, archive.read(f"{home}data/{key}"))
    return found


def read_legacy(file):
    if (magic := read_pickle(file, {}, None)) != MAGIC:
        raise ValueError(f"it begins with {short(magic)}, not with PyTorch's magic number")
    if (version := read_pickle(file, {}, None)) != VERSION:
        raise ValueError(f"its format has version {short(version)}; expected {VERSION}")
    if read_pickle(file, {}, None).get("little_endian") is False:
        raise ValueError("its numbers are in big-endian order")
    storages = {}
    found, keys = read_pickle(file, *names(storages)), read_pickle(file, {}, None)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise ValueError(f"it lists other storages than the {len(storages)} that it describes")
    for key in keys:
        count = struct.unpack("<q", file.read(8))[0]
        if count != storages[key].count:
            raise ValueError(f"storage {key} has {count} numbers; described are {storages[key].count}")
        storages[key].fill(key, file.read(storages[key].bytes))
    return found
