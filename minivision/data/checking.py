"""What is wrong with a detection data set: everything, with file, object and value, before a training run finds it in epoch 3."""

import warnings
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minivision.data.annotated import DetectionSet, Log, Problem
from minivision.data.coco import load, read_coco
from minivision.data.images import SUFFIXES, read_image
from minivision.data.voc import listed, read_voc
from minivision.data.yolo import read_yolo
from minivision.detection.boxes import iou

__all__ = ["check", "layout", "near_duplicates", "read_detection"]

NEAR = 0.8              # IoU of two boxes of one class that are probably one object, drawn twice


def layout(directory):
    """Which format a folder is in, and its parts: ("voc", [lists]), ("coco", [JSON files]) or ("yolo", [splits]). ValueError
    if none."""
    root = Path(directory)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    if (root / "Annotations").is_dir() and any((root / "Annotations").glob("*.xml")):
        return "voc", sorted(p.stem for p in (root / "ImageSets" / "Main").glob("*.txt"))
    files = sorted({*root.glob("*.json"), *(root / "annotations").glob("*.json")})
    files = [p for p in files if not p.name.startswith(("captions_", "person_keypoints_"))]
    if files:
        return "coco", files
    if (root / "images").is_dir() and (root / "labels").is_dir():
        return "yolo", sorted({p.name for kind in ("images", "labels") for p in (root / kind).iterdir() if p.is_dir()})
    raise ValueError(f"{root}: neither VOC (Annotations/*.xml), nor COCO (annotations/*.json), nor YOLO (images/ and labels/)")


def read_detection(directory, split=None, classes=None, *, mend=False):
    """A `DetectionSet` of a folder in VOC, COCO or YOLO form, whichever it is.

    split     VOC: a list in ImageSets/Main. YOLO: a folder under images/ and labels/. COCO: the JSON file whose name holds this
              word. None: everything, which for COCO must be one file
    classes   names in the order of their labels (VOC, YOLO); COCO files have their own
    mend      see `read_voc`
    """
    kind, found = layout(directory)
    if kind == "voc":
        return read_voc(directory, split, classes, mend=mend)
    if kind == "yolo":
        return read_yolo(directory, split, classes, mend=mend)
    exact, part, any_part = (lambda p: p.stem == split), (lambda p: split in p.stem.split("_")), (lambda p: split in p.stem)
    tests = [lambda p: True] if split is None else [exact, part, any_part]         # the strictest that fits some file
    chosen = next((fits for test in tests if (fits := [p for p in found if test(p)])), [])
    if len(chosen) != 1:
        raise ValueError(f"{directory}: {len(chosen)} annotation files for split {split!r}; say which: "
                         f"{', '.join(p.stem for p in found)}")
    data = read_coco(chosen[0], images_of(Path(directory), chosen[0]), mend=mend)
    if classes is not None and tuple(classes) != data.classes:
        raise ValueError(f"{chosen[0]}: its classes are {', '.join(data.classes)}, not {', '.join(classes)}")
    return data


def images_of(root, file):
    """The folder that a COCO file's names start from: the one that has the first of them."""
    document = load(file)
    pictures = document.get("images") if isinstance(document, dict) else None
    names = [p.get("file_name") for p in pictures or [] if isinstance(p, dict)] if isinstance(pictures, list) else []
    name = next((n for n in names if isinstance(n, str) and ".." not in n), "")
    split = file.stem.removeprefix("instances_").removesuffix("_mini")
    places = [root / p for p in (f"images/{split}", split, "images", "JPEGImages", ".")]
    return next((p for p in places if (p / name).is_file()), next((p for p in places if p.is_dir()), root))


def near_duplicates(data, least=NEAR):
    """[(image, object, object, IoU)]: pairs of boxes of one class in one image with IoU > least."""
    found = []
    for i, target in enumerate(data.targets):
        shared = np.triu(iou(target.boxes, target.boxes), 1) * (target.labels[:, None] == target.labels)
        found += [(i, int(a), int(b), float(shared[a, b])) for a, b in np.argwhere(shared > least)]
    return found


def check(directory, classes=None, *, progress=True):
    """Read a whole folder, decode every image, and list what is wrong: [`Problem`]. An empty list: nothing.

    Reported are: files that cannot be read, images that are missing or broken, objects of unknown classes, boxes without area
    or outside the image, marks and numbers that are none, near-duplicates (same class, IoU > 0.8), class names that differ only
    in case or blanks, sizes that disagree with the image, and images that no annotation names.
    """
    kind, found = layout(directory)
    if kind == "coco":
        sets = [read_collecting(lambda p=p: read_detection(directory, p.stem, classes, mend=True), p) for p in found]
    elif kind == "yolo":
        sets = [read_collecting(lambda s=s: read_yolo(directory, s, classes, mend=True), directory) for s in found or [None]]
        sets += [loose_files(Path(directory))] if found else []
    else:
        sets = [read_collecting(lambda: read_voc(directory, None, classes, mend=True), directory)]
        sets += [read_collecting(lambda s=s: listing_problems(directory, s), directory) for s in found]
    problems, seen = [], set()
    for data in sets:
        problems += data.problems
        for image, a, b, share in near_duplicates(data):
            name = data.classes[data.targets[image].labels[a]]
            first, second = (" ".join(f"{v:g}" for v in data.targets[image].boxes[k]) for k in (a, b))
            problems.append(Problem(str(data.images[image]), f"objects {a} and {b}",
                                    f"near-duplicates of {name}: {first} and {second} (x1 y1 x2 y2) have IoU {share:.2f}"))
        problems += similar_names(data)
        fresh = [p for p in data.images if p not in seen]
        for path in tqdm(fresh, disable=not progress or not fresh, unit="image", desc=Path(data.source).name):
            seen.add(path)
            try:
                read_image(path)
            except (ValueError, OSError) as error:
                problems.append(Problem(str(path), "", str(error).removeprefix(f"{path}: ")))
    if kind != "yolo":                                  # where an image without a text is one without objects
        problems += unnamed([Path(directory) / "JPEGImages"] if kind == "voc" else [], sets)
    return list(dict.fromkeys(problems))


def read_collecting(read, file):
    """What a reader with mend=True returns, without its warning; a file that it refuses is a problem of an empty set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return read()
        except (ValueError, OSError) as error:
            return only_problems(str(file), [Problem(str(file), "", str(error).removeprefix(f"{file}: "))])


def listing_problems(directory, split):
    """Only what is wrong with a list of VOC; the files were read already."""
    log = Log(True)
    listed(Path(directory), split, log)
    return only_problems(f"{directory} {split}", log.problems)


def loose_files(root):
    """Files of a YOLO folder that lie beside its splits, where no split will find them."""
    files = [p for kind in ("images", "labels") for p in sorted((root / kind).iterdir())
             if p.is_file() and p.name != "classes.txt"]
    what = "lies beside the folders of the splits, and belongs to none"
    return only_problems(str(root), [Problem(str(p), "", what) for p in files])


def only_problems(source, problems):
    return DetectionSet([], [], (), [], [], source, problems=problems)


def unnamed(images, sets):
    """Images in the folders of a set that no annotation names."""
    named = {Path(p).resolve() for data in sets for p in data.images}
    folders = {Path(p).parent for data in sets for p in data.images} | set(images)
    files = sorted(p for folder in folders if folder.is_dir() for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    said = {problem.file for data in sets for problem in data.problems}
    return [Problem(str(p), "", "no annotation names this image") for p in files if p.resolve() not in named and str(p) not in said]


def similar_names(data):
    """Class names that are one but for case and blanks."""
    groups = {}
    for name in data.classes:
        groups.setdefault("".join(name.lower().split()), []).append(name)
    return [Problem(data.source, "", f"classes {', '.join(map(repr, names))} differ only in case or blanks")
            for names in groups.values() if len(names) > 1]
