"""Public data sets: where they are, their checksums, and how they come to lie in a folder of ours."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from minivision.data.archives import unpack
from minivision.data.download import fetch

__all__ = ["PUBLISHED", "Published", "data_home", "get"]


@dataclass(frozen=True)
class Published:
    """A public data set: where its files are, and their checksums."""

    base: str
    files: dict                             # name on the server: "md5:…" or "sha256:…", or None where `contents` is known
    about: str
    place: Callable | None = None           # of an archive: a member's name → where it goes, or None
    contents: str | None = None             # checksum of all files together, where the archive's own does not last


def cifar10_place(name):
    """The six .bin files, by their exact names."""
    wanted = {f"cifar-10-batches-bin/{part}.bin" for part in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")}
    return name if name in wanted else None


def voc_place(name):
    """Annotations, images and lists, wherever in the archive the three folders are."""
    parts = PurePosixPath(name).parts
    for at, part in enumerate(parts[:-1]):
        inner = parts[at:]
        if (part in ("Annotations", "JPEGImages") and len(inner) == 2) or (inner[:2] == ("ImageSets", "Main") and len(inner) == 3):
            return None if inner[-1].startswith(".") else "/".join(inner)
    return None


def bccd_place(name):
    """The folder BCCD of the repository."""
    return voc_place(name) if PurePosixPath(name).parts[1:2] == ("BCCD",) else None


def coco_place(name):
    """The images of val2017, and the file that has their boxes."""
    path = PurePosixPath(name)
    if path.parts[:-1] == ("val2017",) and path.suffix == ".jpg":
        return f"images/val2017/{path.name}"
    return name if name == "annotations/instances_val2017.json" else None


PUBLISHED = {
    "mnist": Published("https://ossci-datasets.s3.amazonaws.com/mnist/", {
        "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
    }, "handwritten digits, 60 000 + 10 000 images of 28×28, 12 MB"),
    "fashion-mnist": Published("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", {
        "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
    }, "garments, 60 000 + 10 000 images of 28×28, 31 MB"),
    "cifar10": Published("https://www.cs.toronto.edu/~kriz/", {
        "cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530",
    }, "small photos of ten classes, 50 000 + 10 000 images of 32×32, 170 MB", cifar10_place),
    "bccd": Published("https://github.com/Shenggan/BCCD_Dataset/archive/", {
        "d272fb14cdff6e473fafeeeba32aba5f560e9e43.zip": None,
    }, "blood cells, 364 photos of 640×480, 3 classes, 8 MB, MIT licence", bccd_place,
        "sha256:debd2d76b13c300a3999f96a08cbe9ada5f231c3f882f9877a65a01a695872d1"),
    "voc2007": Published("http://host.robots.ox.ac.uk/pascal/VOC/voc2007/", {
        "VOCtrainval_06-Nov-2007.tar": "md5:c52e279531787c972589f7e41ab4ae64",
        "VOCtest_06-Nov-2007.tar": "md5:b6e924de25625d8de591ea690078ad9f",
    }, "Pascal VOC 2007, 9963 photos, 20 classes, 870 MB", voc_place),
    "coco-val": Published("http://images.cocodataset.org/", {
        "zips/val2017.zip": "md5:442b8da7639aecaf257c1dceb8ba8c80",
        "annotations/annotations_trainval2017.zip": "md5:f4bbac642086de4f52a3fdda2de5fa2c",
    }, "COCO 2017 validation, 5000 photos, 80 classes, 1.1 GB", coco_place),
}


def data_home():
    """Where data sets lie: $MINIVISION_DATA, else data/ of a source checkout, else ~/.cache/minivision."""
    if os.environ.get("MINIVISION_DATA"):
        return Path(os.environ["MINIVISION_DATA"])
    checkout = Path(__file__).parents[2]
    return checkout / "data" if (checkout / "pyproject.toml").is_file() else Path.home() / ".cache" / "minivision"


def get(name, home=None, *, base=None, progress=True):
    """Download a published data set into `home`/name; return the folder. base: another server with the same files.

    Archives are unpacked and then deleted; a mark of each remains, so that a second call asks for nothing.
    """
    if name not in PUBLISHED:
        raise ValueError(f"no data set {name!r} to download; there are {', '.join(PUBLISHED)} (digits and scenes are shipped)")
    published, folder = PUBLISHED[name], Path(home or data_home()) / name
    for file, checksum in published.files.items():
        local = folder / PurePosixPath(file).name
        done = local.with_name(f".{local.name}.unpacked")
        if done.exists():
            continue
        fetch((base or published.base).rstrip("/") + "/" + file, local, checksum, progress=progress)
        if published.place is not None:
            try:
                unpack(local, folder, published.place, published.contents)
            except ValueError:
                if checksum is None:        # what cannot be checked before is thrown away after
                    local.unlink()
                raise
            done.touch()
            local.unlink()
    return folder
