"""The in-memory form of a classification data set."""

from dataclasses import dataclass

import numpy as np


@dataclass
class LabelledImages:
    """images (N,C,H,W) uint8, labels (N,) int64 in 0 … K−1, classes: the K names. Checked when made."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple
    source: str = "images"

    def __post_init__(self):
        self.labels, self.classes = np.asarray(self.labels, np.int64), tuple(self.classes)
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(f"{self.source}: images are {self.images.dtype} {self.images.shape}; expected uint8 (N,C,H,W)")
        if self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"{self.source}: {len(self.images)} images and {self.labels.size} labels")
        check_labels(self.labels, len(self.classes), self.source)

    def __len__(self):
        return len(self.labels)

    def take(self, indices):
        """(images (B,C,H,W) uint8, labels (B,)) of these indices."""
        return self.images[indices], self.labels[indices]

    def subset(self, indices):
        """The same classes, only these images."""
        return LabelledImages(self.images[indices], self.labels[indices], self.classes, self.source)

    @property
    def image_shape(self):
        """(C, H, W)."""
        return self.images.shape[1:]


def check_labels(labels, K, source):
    wrong = np.flatnonzero((labels < 0) | (labels >= K))
    if wrong.size:
        raise ValueError(f"{source}: label {labels[wrong[0]]} of image {wrong[0]} is not in 0 … {K - 1}")
