"""Augmentation (数据增强; document 002 §2.3): other views of the same images, whose labels stay true.

Batches uint8 (N,C,H,W) in and out, each image with numbers of its own from `rng`. Flip and shift are in transforms.py; images with
boxes in box_transforms.py. Only `mixup` changes the labels, and works on float images.
"""

import numpy as np
from PIL import Image

from minivision.backend import as_rng
from minivision.data.box_transforms import recoloured
from minivision.data.labelled import check_labels
from minivision.data.transforms import resize


def random_rotate(images, rng, degrees=15):
    """Turn each image about its middle by up to ±`degrees`; what comes in from outside is the image's own mean colour."""
    rng = as_rng(rng)
    return np.stack([turned(image, rng.uniform(-degrees, degrees)) for image in images]) if len(images) else images


def turned(image, degrees):
    return np.stack([np.asarray(Image.fromarray(plane).rotate(degrees, Image.Resampling.BILINEAR, fillcolor=int(plane.mean())))
                     for plane in image])


def random_zoom(images, rng, least=0.5):
    """Cut out a part of `least` … 1 of each image's area, its sides in a ratio of 3/4 … 4/3, and stretch it to the size of the
    image (Szegedy et al., CVPR 2015, §6, who go down to 0.08 of large photos)."""
    if not 0 < least <= 1:
        raise ValueError(f"least is {least}; expected a share of the area, 0 < least ≤ 1")
    (H, W), rng = images.shape[2:], as_rng(rng)
    found = np.empty_like(images)
    for n, image in enumerate(images):
        h, w = H, W
        for _ in range(10):                         # where no part of that kind fits, the image stays whole
            area, ratio = rng.uniform(least, 1) * H * W, np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
            sides = max(1, round(np.sqrt(area / ratio))), max(1, round(np.sqrt(area * ratio)))
            if sides[0] <= H and sides[1] <= W:
                h, w = sides
                break
        top, left = int(rng.integers(H - h + 1)), int(rng.integers(W - w + 1))
        found[n] = resize(image[:, top:top + h, left:left + w], (H, W))
    return found


def random_colour(images, rng, brightness=32, contrast=0.5, saturation=0.5, hue=18):
    """Other light on each image: brightness ± 32 of 255, contrast and saturation × 0.5 … 1.5, hue by up to 18°, each with
    probability ½ (Howard, arXiv 1312.5402). Gray images (C = 1) have no saturation and no hue."""
    rng = as_rng(rng)
    return np.stack([recoloured(image, rng, brightness, contrast, saturation, hue) for image in images]) if len(images) else images


def cutout(images, rng, size=None):
    """Cover a square of each image with its mean colour, so that no single part decides (DeVries and Taylor, arXiv 1708.04552).
    size: its side in pixels, half the height if not given (theirs for CIFAR-10); its middle is anywhere, so it may stick out."""
    (N, _, H, W), rng = images.shape, as_rng(rng)
    size, found = H // 2 if size is None else size, images.copy()
    if size < 0:
        raise ValueError(f"size is {size}; expected a number of pixels ≥ 0")
    for image, y, x in zip(found, rng.integers(0, H, N), rng.integers(0, W, N)):
        rows, columns = (slice(max(0, at - size // 2), at - size // 2 + size) for at in (y, x))
        image[:, rows, columns] = image.mean(axis=(1, 2)).astype(np.uint8)[:, None, None]
    return found


def mixup(images, labels, classes, rng, alpha=0.2):
    """Blend each image with another of the batch, and their labels alike (Zhang et al., ICLR 2018, equation 1):

        x = λ·x_i + (1 − λ)·x_j      t = λ·t_i + (1 − λ)·t_j      λ ~ Beta(α, α), one for the batch

    images float (N,C,H,W), labels (N,) in 0 … classes−1 → images, shares (N,classes), which `ops.softmax_cross_entropy` takes.
    """
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}; expected a number > 0")
    rng, N = as_rng(rng), len(images)
    check_labels(np.asarray(labels), classes, "mixup")
    share, other = np.float32(rng.beta(alpha, alpha)), rng.permutation(N)
    each = np.zeros((N, classes), np.float32)
    each[np.arange(N), labels] = 1
    return share * images + (1 - share) * images[other], share * each + (1 - share) * each[other]
