"""The in-memory form of a detection data set, and how its readers deal with what is wrong in a file."""

import math
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath

import numpy as np

from minivision.data.images import read_image
from minivision.detection import Target

__all__ = ["DetectionSet", "Log", "Problem", "admit", "collect", "inside_folder", "mark", "number"]

ROUNDING = 0.5          # pixels: an edge this little outside comes from rounded numbers; it is put on the border, and counted
EXACT = 0.01            # pixels: so little is not even counted
SMALLEST = 1.0          # pixels a side: less than this left of a box that was clipped is no object


@dataclass(frozen=True)
class Problem:
    """What is wrong, in which file, with which item. `missing`: a file that is not there."""

    file: str
    item: str
    what: str
    missing: bool = False

    def __str__(self):
        return f"{self.file}: {self.item}: {self.what}" if self.item else f"{self.file}: {self.what}"


class Log:
    """Where a reader reports problems. Strict (mend=False): the first one is raised, as ValueError or FileNotFoundError. Else it is
    kept, and the reader leaves out, or clips, what is wrong."""

    def __init__(self, mend):
        self.mend, self.problems, self.rounded = mend, [], 0

    def __call__(self, file, item, what, missing=False):
        problem = Problem(str(file), item, what, missing)
        if not self.mend:
            hint = "; mend=True (--mend) clips what sticks out and leaves out what cannot be used"
            raise (FileNotFoundError if missing else ValueError)(f"{problem}{hint if item and not missing else ''}")
        self.problems.append(problem)

    def note(self, file, item, what):
        """Worth telling, but nothing is left out and nothing stops."""
        if self.mend:
            self.problems.append(Problem(str(file), item, what))
        else:
            warnings.warn(str(Problem(str(file), item, what)), stacklevel=4)

    def warn(self, source):
        """One warning for all that was mended, and one for all edges that were rounded."""
        if self.rounded:
            warnings.warn(f"{source}: {self.rounded} box(es) stuck out of their image by up to {ROUNDING} pixels and were put on "
                          "its border", stacklevel=4)
        if self.problems:
            more = f" (and {len(self.problems) - 1} more: see .problems)" if len(self.problems) > 1 else ""
            warnings.warn(f"{source}: mended {len(self.problems)} problem(s): {self.problems[0]}{more}", stacklevel=4)


def number(text):
    """A finite float from text or a JSON number; None for anything else ("ten", "1_0", nan, true)."""
    if isinstance(text, str) and "_" in text or isinstance(text, bool):
        return None
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def mark(text):
    """True or False from a 0/1 mark in a file; None for anything else."""
    return {0.0: False, 1.0: True}.get(number(text))


def admit(log, file, item, box, size, said):
    """(box, share): the box (x1, y1, x2, y2) of an object clipped to its image of size (H,W), and how much of its area is
    left. (None, 0) if it cannot be used, and said so to `log`. size None: not clipped. said: the box as the file writes it."""
    x1, y1, x2, y2 = box
    if not (x2 > x1 and y2 > y1):
        return log(file, item, f"box {said} has no area"), 0
    if size is None:
        return box, 1
    H, W = size
    if x1 >= W or y1 >= H or x2 <= 0 or y2 <= 0:
        return log(file, item, f"box {said} lies outside the image of {W}×{H}"), 0
    cut = (max(x1, 0.0), max(y1, 0.0), min(x2, float(W)), min(y2, float(H)))
    beyond = max(abs(a - b) for a, b in zip(box, cut))
    log.rounded += EXACT < beyond <= ROUNDING
    if beyond > ROUNDING:
        log(file, item, f"box {said} sticks out of the image of {W}×{H}")
        if cut[2] - cut[0] < SMALLEST or cut[3] - cut[1] < SMALLEST:
            return None, 0
    return cut, (cut[2] - cut[0]) * (cut[3] - cut[1]) / ((x2 - x1) * (y2 - y1))


def inside_folder(folder, name, log, file):
    """The path folder/name, unless the name leads out of the folder."""
    path, windows = Path(folder) / name, PureWindowsPath(name)              # whose rules include those of the others
    leads_out = windows.drive or windows.root or ".." in windows.parts
    if not name.strip() or leads_out or "\0" in name:
        return log(file, "", f"names the file {name!r}, which is not inside {folder}")
    return path


def collect(rows):
    """A Target from rows (box, label, difficult, crowd, area or None) of one image."""
    boxes = np.array([row[0] for row in rows], float).reshape(-1, 4)
    area = [(b[2] - b[0]) * (b[3] - b[1]) if row[4] is None else row[4] for b, row in zip(boxes, rows)]
    return Target(boxes, np.array([row[1] for row in rows], np.int64), np.array([row[2] for row in rows], bool),
                  np.array([row[3] for row in rows], bool), np.array(area, float))


@dataclass
class DetectionSet:
    """Images and their objects.

    images       files, decoded when they are taken, or uint8 arrays (3,H,W)
    targets      one `Target` each
    classes      the K names
    sizes        (H,W) of each
    names        file name of each, by which its writers call it
    image_ids, category_ids      the numbers that a COCO file uses for images and classes; else 1, 2, 3 …
    problems     what the reader mended
    """

    images: list
    targets: list
    classes: tuple
    sizes: list
    names: list
    source: str = "images"
    image_ids: list = None
    category_ids: tuple = None
    problems: list = field(default_factory=list)

    def __post_init__(self):
        self.classes = tuple(self.classes)
        n = len(self.images)
        self.image_ids = list(range(1, n + 1)) if self.image_ids is None else list(self.image_ids)
        self.category_ids = tuple(range(1, len(self.classes) + 1)) if self.category_ids is None else tuple(self.category_ids)
        for what in ("targets", "sizes", "names", "image_ids"):
            if len(getattr(self, what)) != n:
                raise ValueError(f"{self.source}: {n} images and {len(getattr(self, what))} {what}")
        for name, image, size in zip(self.names, self.images, self.sizes):
            if isinstance(image, np.ndarray) and (image.dtype != np.uint8 or image.shape != (3, *size)):
                raise ValueError(f"{self.source}: {name}: {image.dtype} {image.shape}; expected uint8 {(3, *size)}")
        if len(set(self.image_ids)) != n:
            raise ValueError(f"{self.source}: an image id is used twice")
        if len(self.category_ids) != len(self.classes) or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"{self.source}: classes {self.classes} and their numbers {self.category_ids}; expected one number "
                             "each, and no name twice")
        for name, target in zip(self.names, self.targets):
            if len(target) and int(target.labels.max()) >= len(self.classes):
                raise ValueError(f"{self.source}: {name}: label {int(target.labels.max())} is not in 0 … {len(self.classes) - 1}")

    def __len__(self):
        return len(self.images)

    def image(self, i):
        """Image i, uint8 (3,H,W)."""
        return self.images[i] if isinstance(self.images[i], np.ndarray) else read_image(self.images[i])

    def take(self, indices):
        """(images, targets) of these indices: two lists, since images differ in size."""
        return [self.image(i) for i in np.atleast_1d(indices)], [self.targets[i] for i in np.atleast_1d(indices)]

    def subset(self, indices):
        """The same classes, only these images."""
        pick = lambda column: [column[i] for i in np.atleast_1d(indices)]
        return replace(self, **{name: pick(getattr(self, name)) for name in ("images", "targets", "sizes", "names", "image_ids")})

    def counts(self):
        """{class name: number of objects}."""
        labels = np.concatenate([t.labels for t in self.targets] or [np.zeros(0, int)])
        return dict(zip(self.classes, np.bincount(labels, minlength=len(self.classes)).tolist()))

    def marked(self):
        """How many objects are difficult or a crowd."""
        return sum(int((t.difficult | t.crowd).sum()) for t in self.targets)

    def unmarked(self):
        """The same images without the objects that are difficult or a crowd."""
        return replace(self, targets=[t.keep(~(t.difficult | t.crowd)) for t in self.targets])
