"""Data sets by name or by folder: where they lie, how they are had, which reader takes them."""

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

from minivision.data.cifar import read_cifar10
from minivision.data.download import fetch
from minivision.data.folder import ImageFolder
from minivision.data.idx import read_idx_pair

GARMENTS = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


@dataclass(frozen=True)
class Published:
    """A public data set: where its files are, and their checksums."""

    base: str
    files: dict
    about: str


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
    }, "small photos of ten classes, 50 000 + 10 000 images of 32×32, 170 MB"),
}
NAMES = ("digits", *PUBLISHED)
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def data_home():
    """Where data sets lie: $MINIVISION_DATA, else data/ of a source checkout, else ~/.cache/minivision."""
    if os.environ.get("MINIVISION_DATA"):
        return Path(os.environ["MINIVISION_DATA"])
    checkout = Path(__file__).parents[2]
    return checkout / "data" if (checkout / "pyproject.toml").is_file() else Path.home() / ".cache" / "minivision"


def get(name, home=None, *, base=None, progress=True):
    """Download a published data set into `home`/name; return the folder. base: another server with the same files."""
    if name not in PUBLISHED:
        raise ValueError(f"no data set {name!r} to download; there are {', '.join(PUBLISHED)} (digits is shipped)")
    published, folder = PUBLISHED[name], Path(home or data_home()) / name
    for file, checksum in published.files.items():
        if file.endswith(".tar.gz") and (folder / UNPACKED / "test_batch.bin").is_file():
            continue
        path = fetch((base or published.base) + file, folder / file, checksum, progress=progress)
        if file.endswith(".tar.gz"):
            unpack(path, folder)
    return folder


UNPACKED = "cifar-10-batches-bin"


def unpack(archive, folder):
    """The six .bin files of CIFAR-10's archive, by their exact names: no member decides where it is written."""
    wanted = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    target = folder / UNPACKED
    target.mkdir(exist_ok=True)
    with tarfile.open(archive) as tar:
        for name in wanted:
            partial = target / (name + ".partial")
            partial.write_bytes(tar.extractfile(f"{UNPACKED}/{name}").read())
            os.replace(partial, target / name)
    archive.unlink()


def load(name, *, size=None, skip_broken=False):
    """(train, test) of a data set: a name (digits, mnist, fashion-mnist, cifar10) or a folder.

    A folder is read by what lies in it: MNIST's four IDX files (gz or not), CIFAR-10's .bin files, or train/ and test/
    (or val/) with class folders, for which `size` is the side in pixels.
    """
    if name == "digits":
        folder = shipped_digits()
    elif name in NAMES:                         # a folder of that name in the current directory is ./mnist
        folder = data_home() / name
        if not folder.is_dir():
            raise FileNotFoundError(f"{name} is not in {data_home()}; get it with: minivision data get {name}")
    else:
        folder = Path(name)
        if not folder.is_dir():
            raise FileNotFoundError(f"no data set {name!r}: neither a folder nor one of {', '.join(NAMES)}")
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


def shipped_digits():
    """The folder of the digits that come with the project."""
    inside = Path(__file__).parents[1] / "shipped" / "digits"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "data" / "digits"
