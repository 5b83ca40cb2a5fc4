"""CIFAR-10's binary version: records of one label byte and 3072 bytes of red, green, blue planes (Krizhevsky 2009)."""

from pathlib import Path

import numpy as np

from minivision.data.labelled import LabelledImages, check_labels

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD = 1 + 3 * 32 * 32


def read_cifar10(*paths):
    """LabelledImages (N,3,32,32) of one or more files, in order. ValueError names the file and the record."""
    if not paths:
        raise ValueError("read_cifar10 needs at least one file")
    parts = [records(Path(path)) for path in paths]
    data = np.concatenate(parts)
    return LabelledImages(data[:, 1:].reshape(-1, 3, 32, 32), data[:, 0], CLASSES, str(paths[0]))


def records(path):
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    data = np.frombuffer(path.read_bytes(), np.uint8)
    if data.size == 0 or data.size % RECORD:
        raise ValueError(f"{path}: {data.size} bytes; expected a multiple of {RECORD} (label and 32×32×3 pixels)")
    data = data.reshape(-1, RECORD)
    check_labels(data[:, 0].astype(int), len(CLASSES), path)
    return data
