"""IDX, the format of MNIST: a magic number, the sizes, the numbers (LeCun, Cortes and Burges).

    bytes 0–1   zero
    byte 2      type: 08 uint8, 09 int8, 0B int16, 0C int32, 0D float32, 0E float64, big-endian
    byte 3      number of axes, then one big-endian uint32 size for each, then the data
"""

import gzip
import zlib
from pathlib import Path

import numpy as np

from minivision.data.labelled import LabelledImages

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
LARGEST = 2 ** 31       # bytes of data we are ready to hold; MNIST has 47 million


def read_idx(path):
    """The array of an IDX file, in native byte order. Compressed or not is told by the content, not the name.

    FileNotFoundError, or ValueError that names the file and what is wrong with it.
    """
    path = Path(path)
    data = content(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES or data[3] == 0:
        raise ValueError(f"{path}: not an IDX file: it begins with {data[:4].hex(' ') or 'nothing'}; "
                         "expected 00 00, a type (08 for bytes), the number of axes")
    dtype, axes = np.dtype(TYPES[data[2]]), data[3]
    header = 4 + 4 * axes
    if len(data) < header:
        raise ValueError(f"{path}: cut off in the header: {len(data)} bytes, {axes} sizes need {header}")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", axes, 4))
    expected = header + dtype.itemsize * int(np.prod(shape, dtype=object))
    if len(data) != expected:
        raise ValueError(f"{path}: {len(data)} bytes, but {'×'.join(map(str, shape))} numbers of {dtype.itemsize} "
                         f"byte(s) need {expected}: the file is {'cut off' if len(data) < expected else 'too long'}")
    return np.frombuffer(data, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def content(path):
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    data = path.read_bytes()
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.open(path) as file:
            data = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: the gzip data is damaged or cut off: {error}") from None
    if len(data) > LARGEST:
        raise ValueError(f"{path}: unpacks to more than {LARGEST} bytes")
    return data


def read_idx_pair(images, labels, classes=tuple("0123456789")):
    """LabelledImages from two IDX files: (N,H,W) bytes and (N,) bytes."""
    x, t = read_idx(images), read_idx(labels)
    if x.ndim != 3 or x.dtype != np.uint8:
        raise ValueError(f"{images}: {x.dtype} with {x.ndim} axes; images are uint8 (N,H,W)")
    if t.ndim != 1 or t.dtype.kind not in "iu":
        raise ValueError(f"{labels}: {t.dtype} with {t.ndim} axes; labels are whole numbers (N,)")
    if len(x) != len(t):
        raise ValueError(f"{images} has {len(x)} images, {labels} has {len(t)} labels")
    return LabelledImages(x[:, None], t, classes, str(labels))
