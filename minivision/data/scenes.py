"""Scenes: photographs of nothing, for learning detection on two cores. Shapes and handwritten digits of many sizes lie over
each other on textured, littered ground; where each of them is, and how much of it can be seen, is known to the pixel. Same
seed, same scene.
"""

from functools import cache

import numpy as np
from tqdm import tqdm

from minivision.backend import as_rng
from minivision.data.annotated import DetectionSet
from minivision.data.idx import read_idx
from minivision.data.shapes import SHAPES, handwriting
from minivision.detection import Target
from minivision.detection.boxes import iou

__all__ = ["CLASSES", "scene", "scenes"]

CLASSES = (*SHAPES, "digit")
EMPTY = 0.06                # share of scenes without any object
HIDDEN = 0.3                # an object is moved until at least this share of every object can be seen
DIFFICULT = 0.5             # less of an object than this in sight, and it is marked difficult
SMALL = 8                   # pixels: so is what is less wide or high
LEAST_RADIUS = 8.0          # pixels: the least radius of an object; smaller ones would be guesses for people, too
TILT = 0.35                 # radians: objects stand more or less upright, as most things do in photographs
LARGEST = 0.75              # the longest object, as a share of the image's shorter side
CLOSE = 0.4                 # no two boxes of a scene have a larger IoU


def scenes(number, size=(128, 128), seed=0, *, classes=CLASSES, most=6, writers="train", suffix="png", progress=False):
    """A `DetectionSet` of `number` scenes of size (H,W), in memory. Scene i is made from (seed, i) alone, so more are the same
    and others.

    classes   some of CLASSES, in the order of their labels; also "0" … "9" for digits by name instead of "digit"
    most      objects in a scene: 1 … most, and now and then none
    writers   "train" or "test": which part of the shipped digits the handwriting is from; most of the test's hands are not in
              the other
    suffix    of the files, should the scenes be written: png (exact) or jpg (a fifth of the size)
    """
    if not isinstance(number, (int, np.integer)) or number < 0:
        raise ValueError(f"{number!r} scenes; expected a whole number ≥ 0")
    rngs = [np.random.default_rng([as_seed(seed), i]) for i in range(number)]
    bar = tqdm(rngs, disable=not progress, unit="scene", leave=False)
    made = [scene(rng, size, classes=classes, most=most, writers=writers) for rng in bar]
    return DetectionSet([image for image, _ in made], [target for _, target in made], classes, [tuple(size)] * number,
                        [f"scene_{seed}_{i:05d}.{suffix}" for i in range(number)], f"scenes of seed {seed}")


def as_seed(seed):
    as_rng(seed)                                                # the same complaint about what is no seed
    return int(seed)


def scene(rng, size=(128, 128), *, classes=CLASSES, most=6, writers="train"):
    """One scene: (image uint8 (3,H,W), Target). rng: a seed or a Generator; the rest as for `scenes`."""
    rng, (H, W), classes = as_rng(rng), size, tuple(classes)
    unknown = [name for name in classes if name not in CLASSES and name not in tuple("0123456789")]
    if unknown or len(set(classes)) != len(classes) or not classes:
        raise ValueError(f"classes {classes}; expected some of {', '.join(CLASSES)}, or 0 … 9, none of them twice")
    if not 32 <= min(H, W) <= max(H, W) <= 4096 or most < 1:
        raise ValueError(f"a scene of {H}×{W} with at most {most} objects; expected 32 … 4096 pixels a side and at least one")
    digits(writers)                                             # complains of a name it does not know
    image = ground(rng, H, W)
    litter(rng, image)
    number = 0 if rng.random() < EMPTY else int(rng.integers(1, most + 1))
    layers = []                                                 # (alpha (H,W), label, whole size in pixels), lowest first
    for _ in range(number):
        for _ in range(12):                                     # a place where it hides nothing; else the scene has one less
            label = int(rng.integers(len(classes)))
            alpha, whole = cover(rng, classes[label], H, W, writers)
            if acceptable([*layers, (alpha, label, whole)]):
                layers.append((alpha, label, whole))
                paint(rng, image, alpha)
                break
    light = 1 + rng.uniform(-0.25, 0.25) * np.linspace(-1, 1, W) + rng.uniform(-0.25, 0.25) * np.linspace(-1, 1, H)[:, None]
    image = image * light + rng.normal(0, rng.uniform(1, 6), image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), answers(layers)


def ground(rng, H, W):
    """A background (3,H,W): smooth noise at three scales between two colours, and on every other one stripes."""
    amount = np.zeros((H, W))
    for cells, strength in ((2, 1.0), (5, 0.6), (16, 0.3)):
        amount += strength * enlarge(rng.normal(size=(cells + 1, cells + 1)), H, W)
    if rng.random() < 0.5:
        angle, period = rng.uniform(0, np.pi), rng.uniform(5, 30)
        y, x = np.mgrid[:H, :W]
        amount += 0.5 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
    amount = (amount - amount.min()) / (np.ptp(amount) + 1e-9)
    low, high = rng.uniform(20, 235, (2, 3, 1, 1))
    return low + (0.15 + 0.5 * rng.random()) * (high - low) * amount


def enlarge(grid, H, W):
    """A small grid (M,N) stretched bilinearly to (H,W)."""
    rows, columns = np.linspace(0, grid.shape[0] - 1.001, H), np.linspace(0, grid.shape[1] - 1.001, W)
    p, q = rows.astype(int), columns.astype(int)
    v, u = (rows - p)[:, None], columns - q
    top, bottom = (grid[r][:, q] * (1 - u) + grid[r][:, q + 1] * u for r in (p, p + 1))
    return top * (1 - v) + bottom * v


def litter(rng, image):
    """Bits of lines and dots that are no objects."""
    _, H, W = image.shape
    y, x = np.mgrid[:H, :W] + 0.5
    for _ in range(rng.integers(0, 14)):
        (cx, cy), angle = rng.uniform(0, (W, H)), rng.uniform(0, np.pi)
        length, width = rng.uniform(0, 0.35) * min(H, W), rng.uniform(0.5, 1.6)
        along, across = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle), (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        distance = np.hypot(np.maximum(np.abs(along) - length / 2, 0), across) - width
        blend(image, np.clip(0.5 - distance, 0, 1) * rng.uniform(0.3, 0.9), rng.uniform(0, 255, 3))


def cover(rng, name, H, W, writers):
    """(alpha (H,W), pixels of the whole object) of one object at a random place, size, angle and stretch; it may
    cross the border."""
    digit = name == "digit" or name in tuple("0123456789")
    function = handwriting(a_digit(rng, name, writers)) if digit else SHAPES[name]
    radius = np.exp(rng.uniform(np.log(LEAST_RADIUS), np.log(max(LEAST_RADIUS + 1, LARGEST / 2 * min(H, W)))))
    stretch, angle = np.exp(rng.uniform(-0.25, 0.25)), rng.uniform(-TILT, TILT)
    cx, cy = rng.uniform(0.6 * radius, (W - 0.6 * radius, H - 0.6 * radius))
    reach = int(1.6 * radius) + 2
    left, top = int(cx) - reach, int(cy) - reach
    y, x = np.mgrid[top:top + 2 * reach, left:left + 2 * reach] + 0.5       # pixel centres
    u = ((x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)) / (radius * stretch)
    v = ((y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)) / (radius / stretch)
    patch = np.clip(0.5 - function(u, v) * radius, 0, 1)                    # one pixel from outside to inside
    alpha = np.zeros((H, W))
    a, b, c, d = max(0, -top), max(0, -left), min(2 * reach, H - top), min(2 * reach, W - left)
    alpha[top + a:top + c, left + b:left + d] = patch[a:c, b:d]
    return alpha, int((patch >= 0.5).sum())


def a_digit(rng, name, writers):
    images, labels = digits(writers)
    choice = np.arange(len(labels)) if name == "digit" else np.flatnonzero(labels == int(name))
    return images[choice[rng.integers(len(choice))]]


@cache
def digits(writers):
    from minivision.data.sets import shipped
    if writers not in ("train", "test"):
        raise ValueError(f"writers is {writers!r}; expected 'train' or 'test'")
    part = {"train": "train", "test": "t10k"}[writers]
    return tuple(read_idx(shipped("digits") / f"{part}-{what}-ubyte.gz") for what in ("images-idx3", "labels-idx1"))


def visible(layers):
    """(n,H,W) bool: the pixels of each object that nothing above it covers."""
    masks = np.array([alpha >= 0.5 for alpha, *_ in layers])
    above = np.cumsum(masks[::-1], axis=0)[::-1] - masks
    return masks & (above == 0)


def acceptable(layers):
    """Whether every object keeps enough of itself in sight, and no two boxes nearly coincide."""
    seen = visible(layers)
    if any(s.sum() < max(20, HIDDEN * whole) for s, (_, _, whole) in zip(seen, layers)):
        return False
    around = np.array([extent(s) for s in seen], float)
    return bool((np.triu(iou(around, around), 1) <= CLOSE).all())


def extent(mask):
    """The box around the true pixels of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def paint(rng, image, alpha):
    """Colour an object so that it stands out from what is under it, plainly or in stripes."""
    under = (image * alpha).sum(axis=(1, 2)) / alpha.sum()
    colour = rng.uniform(0, 255, 3)
    while np.abs(colour - under).sum() < 140:
        colour = rng.uniform(0, 255, 3)
    if rng.random() < 0.4:
        _, H, W = image.shape
        y, x = np.mgrid[:H, :W]
        angle, period = rng.uniform(0, np.pi), rng.uniform(4, 12)
        wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
        colour = colour[:, None, None] * (1 + 0.15 * wave)
    blend(image, alpha, colour)


def blend(image, alpha, colour):
    """image ← (1 − alpha)·image + alpha·colour, in place."""
    colour = np.reshape(colour, (3, 1, 1)) if np.ndim(colour) == 1 else colour
    image *= 1 - alpha
    image += alpha * colour


def answers(layers):
    """The Target: boxes around what can be seen of each object, their areas in pixels in sight."""
    if not layers:
        return Target(np.zeros((0, 4)), np.zeros(0, int))
    seen = visible(layers)
    boxes = np.array([extent(s) for s in seen], float)
    area = seen.sum(axis=(1, 2)).astype(float)
    whole = np.array([w for *_, w in layers])
    difficult = (area < DIFFICULT * whole) | ((boxes[:, 2:] - boxes[:, :2]).min(axis=1) < SMALL)
    return Target(boxes, np.array([label for _, label, _ in layers]), difficult, area=area)
