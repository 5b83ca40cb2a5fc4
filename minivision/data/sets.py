"""Data sets by name or by folder: which reader takes them."""

from pathlib import Path

from minivision.data.checking import layout, read_detection
from minivision.data.cifar import read_cifar10
from minivision.data.folder import ImageFolder
from minivision.data.idx import read_idx_pair
from minivision.data.published import data_home

GARMENTS = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
CLASSIFICATION, DETECTION = ("digits", "mnist", "fashion-mnist", "cifar10"), ("scenes", "bccd", "voc2007", "coco-val")
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
UNPACKED = "cifar-10-batches-bin"


def load(name, *, size=None, skip_broken=False):
    """(train, test) of a data set: a name (digits, mnist, fashion-mnist, cifar10) or a folder.

    A folder is read by what lies in it: MNIST's four IDX files (gz or not), CIFAR-10's .bin files, or train/ and test/
    (or val/) with class folders, for which `size` is the side in pixels.
    """
    folder = folder_of(name, CLASSIFICATION)
    if (folder / UNPACKED).is_dir():
        folder = folder / UNPACKED
    if any(with_or_without_gz(folder, file) for file in IDX_FILES):
        return load_idx(folder, GARMENTS if "fashion" in folder.name else tuple("0123456789"))
    if (folder / "test_batch.bin").is_file():
        return read_cifar10(*sorted(folder.glob("data_batch_*.bin"))), read_cifar10(folder / "test_batch.bin")
    test = next((folder / t for t in ("test", "val") if (folder / t).is_dir()), None)
    if (folder / "train").is_dir() and test:
        if size is None:
            raise ValueError(f"{folder}: photos have many sizes; say at which to train: --size 64, or load(…, size=64)")
        train = ImageFolder(folder / "train", size, skip_broken=skip_broken)
        return train, ImageFolder(test, size, classes=train.classes, skip_broken=skip_broken)
    raise ValueError(f"{folder}: found no IDX files, no CIFAR .bin files, and no train/ and test/ with class folders")


def load_detection(name, split=None, classes=None, *, mend=False):
    """The `DetectionSet` of a name (scenes, bccd, voc2007, coco-val) or of a folder in VOC, COCO or YOLO form; see
    `read_detection`.

    splits: scenes train, test; bccd train, val, trainval, test; voc2007 the same; coco-val val2017. None: all of it.
    """
    return read_detection(folder_of(name, DETECTION), split, classes, mend=mend)


def form_of(folder):
    """"voc", "coco" or "yolo": the form of the data set in a folder; None if there is none."""
    try:
        return layout(folder)[0]
    except (ValueError, FileNotFoundError):
        return None


def folder_of(name, names):
    """Where a data set lies: one that is shipped, one that was downloaded, or a folder of the user's own."""
    if name in ("digits", "scenes") and name in names:
        return shipped(name)
    if name in names:                           # a folder of that name in the current directory is ./mnist
        if not (folder := data_home() / name).is_dir():
            raise FileNotFoundError(f"{name} is not in {data_home()}; get it with: minivision data get {name}")
        return folder
    if not Path(name).is_dir():
        raise FileNotFoundError(f"no data set {str(name)!r}: neither a folder nor one of {', '.join(names)}")
    return Path(name)


def load_idx(folder, classes):
    paths = []
    for file in IDX_FILES:
        path = with_or_without_gz(folder, file)
        if path is None:
            raise FileNotFoundError(f"{folder / file}: missing (also with .gz); the other files of the set are there")
        paths.append(path)
    return read_idx_pair(*paths[:2], classes), read_idx_pair(*paths[2:], classes)


def with_or_without_gz(folder, file):
    return next((p for p in (folder / file, folder / f"{file}.gz") if p.is_file()), None)


def shipped(name):
    """The folder of a data set that comes with the project."""
    inside = Path(__file__).parents[1] / "shipped" / name
    return inside if inside.is_dir() else Path(__file__).parents[2] / "data" / name
