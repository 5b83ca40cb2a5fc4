"""Transforms for classification. Images are uint8 (C,H,W), batches (N,C,H,W); what is random takes a Generator."""

import numpy as np
from PIL import Image

from minivision.backend import as_rng


def resize(image, size):
    """Scale a uint8 image (C,H,W) so that its shorter side is `size`, or to exactly (H,W): bilinear, with
    smoothing when shrinking (Pillow's). At least one pixel is kept on each side."""
    C, H, W = image.shape
    if isinstance(size, (int, np.integer)):
        size = max(1, round(H * size / min(H, W))), max(1, round(W * size / min(H, W)))
    P, Q = size
    if (P, Q) == (H, W):
        return image
    planes = [Image.fromarray(plane).resize((Q, P), Image.Resampling.BILINEAR) for plane in image]
    return np.stack([np.asarray(plane) for plane in planes])


def center_crop(images, size):
    """The middle size×size (or (P,Q)) of images (…,H,W). ValueError if the image is smaller."""
    P, Q = (size, size) if isinstance(size, (int, np.integer)) else size
    H, W = images.shape[-2:]
    if P > H or Q > W:
        raise ValueError(f"cannot cut {P}×{Q} out of an image of {H}×{W}; resize it first")
    top, left = (H - P) // 2, (W - Q) // 2
    return images[..., top:top + P, left:left + Q]


def random_flip(images, rng):
    """Mirror each image of a batch (N,C,H,W) left to right with probability ½."""
    flip = as_rng(rng).random(len(images)) < 0.5
    return np.where(flip[:, None, None, None], images[..., ::-1], images)


def random_crop(images, rng, padding=None):
    """Shift each image of a batch (N,C,H,W) by up to `padding` pixels each way, by default an eighth of its height;
    what comes in from outside is 0 (the usual recipe for CIFAR, 4 of 32 pixels: He et al., CVPR 2016, §4.2)."""
    (N, C, H, W), rng = images.shape, as_rng(rng)
    padding = H // 8 if padding is None else padding
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows = rng.integers(0, 2 * padding + 1, N)[:, None] + np.arange(H)
    columns = rng.integers(0, 2 * padding + 1, N)[:, None] + np.arange(W)
    return padded[np.arange(N)[:, None, None, None], np.arange(C)[:, None, None],
                  rows[:, None, :, None], columns[:, None, None, :]]


def statistics(images, most=10_000):
    """(mean, deviation), each (C,), of pixels/255 over the first `most` images (N,C,H,W): for `normalise`."""
    x = images[:most].astype(np.float32) / 255
    deviation = x.std(axis=(0, 2, 3), dtype=np.float64)
    return x.mean(axis=(0, 2, 3), dtype=np.float64), np.where(deviation > 0, deviation, 1)


def normalise(images, mean, deviation):
    """uint8 (N,C,H,W) → float32 (pixels/255 − mean) / deviation, channel by channel."""
    if np.shape(mean) != (images.shape[1],) or np.shape(deviation) != np.shape(mean):
        raise ValueError(f"images have {images.shape[1]} channel(s); mean and deviation have {np.size(mean)} and "
                         f"{np.size(deviation)} entries")
    scale = (1 / (255 * np.asarray(deviation))).astype(np.float32)[:, None, None]
    shift = (np.asarray(mean) / np.asarray(deviation)).astype(np.float32)[:, None, None]
    return images.astype(np.float32) * scale - shift
