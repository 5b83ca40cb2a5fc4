"""Transforms that move an image and its boxes together: image uint8 (3,H,W), `Target` → the same two, new.

What is certain takes numbers, what is random takes `rng` and names its paper. Where an image shrinks below an object, or a crop
cuts it, boxes less than a pixel wide or high are left out.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from minivision.backend import as_rng
from minivision.data import transforms
from minivision.detection import Target
from minivision.detection.boxes import as_boxes, clip, iou, to_centre

__all__ = ["Letterbox", "colour", "crop", "expand", "flip", "letterbox", "mosaic", "random_crop", "random_expand", "random_flip",
           "random_turn", "resize", "rotate", "turn"]

GREY = 114              # of padding, as YOLO's authors choose it: near the mean of photographs
LEAST = 1.0             # pixels


def placed(target, boxes, keep=None):
    """The objects at new places; without those that `keep` (G,) refuses, and those with less than a pixel left."""
    boxes = boxes.astype(target.boxes.dtype, copy=False)
    fits = ((boxes[:, 2:] - boxes[:, :2]) >= LEAST).all(axis=1) & (True if keep is None else keep)
    return target.keep(fits).moved(boxes[fits])


def resize(image, target, size):
    """Stretch to exactly (P,Q)."""
    (H, W), (P, Q) = image.shape[1:], size
    return transforms.resize(image, size), placed(target, target.boxes * [Q / W, P / H, Q / W, P / H])


@dataclass(frozen=True)
class Letterbox:
    """How an image fits into another size without being stretched: one scale, then equal margins on two sides.

    The scaled image has whole pixels, so its two scales differ by rounding; boxes follow the pixels.
    """

    scale: tuple            # across, down
    left: int
    top: int
    inner: tuple            # (P,Q) of the scaled image

    @staticmethod
    def of(image_size, size):
        """For an image of (H,W) in a frame of (P,Q). At least one pixel of it remains on each side."""
        (H, W), (P, Q) = image_size, size
        if min(P, Q) < 1:
            raise ValueError(f"a frame of {P}×{Q}; expected at least one pixel a side")
        scale = min(P / H, Q / W)
        inner = max(1, round(H * scale)), max(1, round(W * scale))
        return Letterbox((inner[1] / W, inner[0] / H), (Q - inner[1]) // 2, (P - inner[0]) // 2, inner)

    def boxes(self, boxes):
        """From the image's coordinates to the frame's."""
        boxes = as_boxes(boxes)
        return boxes * np.array(self.scale * 2, boxes.dtype) + np.array([self.left, self.top] * 2, boxes.dtype)

    def undo(self, boxes):
        """From the frame's coordinates to the image's."""
        boxes = as_boxes(boxes)
        return (boxes - np.array([self.left, self.top] * 2, boxes.dtype)) / np.array(self.scale * 2, boxes.dtype)


def letterbox(image, target, size, fill=GREY):
    """Scale to fit into (P,Q) without stretching, in the middle of a grey frame. `Letterbox.of(…).undo` maps boxes back."""
    fit = Letterbox.of(image.shape[1:], size)
    frame = np.full((len(image), *size), fill, np.uint8)
    frame[:, fit.top:fit.top + fit.inner[0], fit.left:fit.left + fit.inner[1]] = transforms.resize(image, fit.inner)
    return frame, placed(target, fit.boxes(target.boxes))


def flip(image, target):
    """Mirror left to right: x becomes W − x, so the two edges change places."""
    W = image.shape[2]
    x1, y1, x2, y2 = target.boxes.T
    return np.ascontiguousarray(image[:, :, ::-1]), target.moved(np.stack([W - x2, y1, W - x1, y2], axis=1))


def random_flip(image, target, rng):
    """`flip` with probability ½."""
    return flip(image, target) if as_rng(rng).random() < 0.5 else (image, target)


def turn(image, target, quarters):
    """A quarter turn anticlockwise, `quarters` times: (x, y) becomes (y, W − x)."""
    for _ in range(quarters % 4):
        W = image.shape[2]
        x1, y1, x2, y2 = target.boxes.T
        image, target = np.rot90(image, axes=(1, 2)), target.moved(np.stack([y1, W - x2, y2, W - x1], axis=1))
    return np.ascontiguousarray(image), target


def random_turn(image, target, rng):
    """`turn` by 0 … 3 quarters, each as likely: for pictures without an upper side, as under a microscope."""
    return turn(image, target, int(as_rng(rng).integers(4)))


def crop(image, target, window):
    """Cut out the window (x1, y1, x2, y2), whole pixels inside the image. Objects whose centre lies in it stay,
    clipped (SSD, §2.2)."""
    (x1, y1, x2, y2), (H, W) = (int(v) for v in window), image.shape[1:]
    if not (0 <= x1 < x2 <= W and 0 <= y1 < y2 <= H):
        raise ValueError(f"window {x1} {y1} {x2} {y2} is not inside an image of {W}×{H}")
    centre = to_centre(target.boxes)[:, :2]
    keep = ((centre >= [x1, y1]) & (centre < [x2, y2])).all(axis=1)
    cut = clip(target.boxes - [x1, y1, x1, y1], (y2 - y1, x2 - x1))
    return np.ascontiguousarray(image[:, y1:y2, x1:x2]), placed(target, cut, keep)


def random_crop(image, target, rng, least=0.3, tries=50):
    """SSD's patches (Liu et al. 2016, §2.2): with equal chances the whole image; a patch that overlaps some object by an IoU of
    at least 0.1, 0.3, 0.5, 0.7 or 0.9; any patch. Its sides are `least` … 1 of the image's (the authors' code; the paper says
    0.1), their ratio ½ … 2. At least one object's centre stays in; where no such patch is found, the image is returned whole."""
    rng, (H, W) = as_rng(rng), image.shape[1:]
    overlap = [None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0][rng.integers(7)]
    if overlap is None or len(target) == 0:
        return image, target
    for _ in range(tries):
        w, h = (max(1, int(side * rng.uniform(least, 1))) for side in (W, H))
        if not 0.5 <= w / h <= 2:
            continue
        x, y = int(rng.integers(0, W - w + 1)), int(rng.integers(0, H - h + 1))
        if iou(np.array([[x, y, x + w, y + h]], float), target.boxes).max() < overlap:
            continue
        patch, inside = crop(image, target, (x, y, x + w, y + h))
        if len(inside):
            return patch, inside
    return image, target


def expand(image, target, rng, most=4, fill=GREY):
    """Zoom out (SSD's "expansion", §3.6): put the image somewhere on a grey canvas 1 … `most` times as wide and high, so that large
    objects become small ones."""
    rng, (C, H, W) = as_rng(rng), image.shape
    ratio = rng.uniform(1, most)
    P, Q = int(H * ratio), int(W * ratio)
    top, left = int(rng.integers(0, P - H + 1)), int(rng.integers(0, Q - W + 1))
    canvas = np.full((C, P, Q), fill, np.uint8)
    canvas[:, top:top + H, left:left + W] = image
    return canvas, target.moved(target.boxes + np.array([left, top] * 2, target.boxes.dtype))


def random_expand(image, target, rng, most=2, fill=GREY):
    """`expand` with probability ½."""
    return expand(image, target, rng, most, fill) if as_rng(rng).random() < 0.5 else (image, target)


def colour(image, target, rng, brightness=32, contrast=0.5, saturation=0.5, hue=36):
    """Other light (Howard, arXiv 1312.5402; the amounts of SSD's code): brightness ± 32 of 255, contrast and saturation × 0.5 …
    1.5, hue turned by up to 36°, each with probability ½. Boxes stay where they are."""
    return recoloured(image, as_rng(rng), brightness, contrast, saturation, hue), target


def recoloured(image, rng, brightness, contrast, saturation, hue):
    """uint8 (3,H,W) in other light; (1,H,W) has no saturation and no hue."""
    x, colours = image.astype(np.float64), len(image) == 3
    if rng.random() < 0.5:
        x = x + rng.uniform(-brightness, brightness)
    if rng.random() < 0.5:
        x = 127.5 + (x - 127.5) * rng.uniform(1 - contrast, 1 + contrast)
    if colours and rng.random() < 0.5:
        grey = np.tensordot([0.299, 0.587, 0.114], x, 1)
        x = grey + (x - grey) * rng.uniform(1 - saturation, 1 + saturation)
    if colours and rng.random() < 0.5:
        x = np.tensordot(hue_rotation(np.radians(rng.uniform(-hue, hue))), x, 1)
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def hue_rotation(angle):
    """(3,3): turn colours about the grey axis (1,1,1)/√3, which greys stay on (Rodrigues' formula:
    cos·I + sin·[k]× + (1 − cos)·kkᵀ)."""
    k = 1 / np.sqrt(3)
    cross = k * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) / 3


def rotate(image, target, degrees, fill=GREY):
    """Turn about the middle, anticlockwise, on a canvas of the same size. The new box is the one around the four turned
    corners, so it is larger than the object: keep angles small. Objects whose centre leaves the image are left out."""
    H, W = image.shape[1:]
    planes = [Image.fromarray(plane).rotate(degrees, Image.Resampling.BILINEAR, fillcolor=fill) for plane in image]
    turned = np.stack([np.asarray(plane) for plane in planes])
    angle, middle = np.radians(degrees), np.array([W / 2, H / 2])
    x1, y1, x2, y2 = target.boxes.T
    corners = np.stack([np.stack([x1, x2, x2, x1], axis=1), np.stack([y1, y1, y2, y2], axis=1)], axis=2) - middle
    corners = corners @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) + middle        # y points down
    around = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).reshape(-1, 4)
    centre = to_centre(around)[:, :2]
    keep = ((centre >= 0) & (centre < [W, H])).all(axis=1)
    moved = placed(target, clip(around, (H, W)), keep)
    return turned, moved


def mosaic(images, targets, size, rng, fill=GREY):
    """Four images in one of size (P,Q) (Bochkovskiy et al., arXiv 2004.10934, Figure 3): scaled to fill the quarters around a
    random point, and cut at them. Four scenes a step, and objects at a quarter of their size."""
    if len(images) != 4 or len(targets) != 4:
        raise ValueError(f"a mosaic of {len(images)} images and {len(targets)} targets; expected four of each")
    rng, (P, Q) = as_rng(rng), size
    cy, cx = int(rng.uniform(0.3, 0.7) * P), int(rng.uniform(0.3, 0.7) * Q)
    canvas, parts = np.full((3, P, Q), fill, np.uint8), []
    for i, (image, target) in enumerate(zip(images, targets)):
        top, left = (0, cy)[i // 2], (0, cx)[i % 2]
        h, w = (cy, P - cy)[i // 2], (cx, Q - cx)[i % 2]
        H, W = image.shape[1:]
        scale = max(h / H, w / W)
        image, target = resize(image, target, (max(h, round(H * scale)), max(w, round(W * scale))))
        y, x = int(rng.integers(0, image.shape[1] - h + 1)), int(rng.integers(0, image.shape[2] - w + 1))
        image, target = crop(image, target, (x, y, x + w, y + h))
        canvas[:, top:top + h, left:left + w] = image
        parts.append(target.moved(target.boxes + np.array([left, top] * 2, target.boxes.dtype)))
    join = lambda name: np.concatenate([getattr(part, name) for part in parts])
    return canvas, Target(*(join(name) for name in ("boxes", "labels", "difficult", "crowd", "area")))
