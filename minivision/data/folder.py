"""A folder of class folders: DIR/cat/1.jpg, DIR/dog/2.png …"""

import warnings
from pathlib import Path

import numpy as np

from minivision.data.images import SUFFIXES, read_image
from minivision.data.transforms import center_crop, resize


class ImageFolder:
    """Images decoded when they are taken, each scaled and cut to size×size. Classes are the folders, sorted by name.

    skip_broken: a file that cannot be decoded is left out of its batch with a warning, instead of stopping with an
    error that names it.
    """

    def __init__(self, directory, size, *, classes=None, skip_broken=False):
        self.source, self.size, self.skip_broken = str(directory), int(size), skip_broken
        if self.size < 1:
            raise ValueError(f"size is {size}; expected a number of pixels ≥ 1")
        root = Path(directory)
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder")
        found = sorted(d.name for d in root.iterdir() if d.is_dir() and not d.name.startswith("."))
        self.classes = tuple(found if classes is None else classes)
        unknown = sorted(set(found) - set(self.classes))
        if unknown:
            raise ValueError(f"{root}: folder {unknown[0]!r} is not one of the classes {', '.join(self.classes)}")
        pairs = [(path, k) for k, name in enumerate(self.classes) if (root / name).is_dir()
                 for path in sorted((root / name).iterdir()) if path.suffix.lower() in SUFFIXES]
        if not pairs:
            raise ValueError(f"{root}: no images in class folders ({', '.join(sorted(SUFFIXES))})")
        self.paths = [path for path, _ in pairs]
        self.labels = np.array([k for _, k in pairs], np.int64)

    def __len__(self):
        return len(self.paths)

    def take(self, indices):
        """(images (B,3,size,size) uint8, labels (B,)) of these indices."""
        images, labels = [], []
        for i in np.atleast_1d(indices):
            try:
                images.append(center_crop(resize(read_image(self.paths[i]), self.size), self.size))
                labels.append(self.labels[i])
            except ValueError as error:
                if not self.skip_broken:
                    raise
                warnings.warn(f"left out: {error}", stacklevel=2)
        return np.array(images, np.uint8).reshape(-1, 3, self.size, self.size), np.array(labels, np.int64)

    @property
    def image_shape(self):
        return 3, self.size, self.size
