"""YOLO text: one line an object (github.com/pjreddie/darknet: "class cx cy w h", as fractions of the image).

    DIR/images/[SPLIT/]NAME.jpg     DIR/labels/[SPLIT/]NAME.txt     DIR/classes.txt, or DIR/labels/classes.txt: one class a line

An image without a text file, or with an empty one, has no objects. The format has no place for difficult, crowd and area.
"""

from pathlib import Path

from minivision.data.annotated import DetectionSet, Log, admit, collect, number
from minivision.data.images import SUFFIXES, image_size
from minivision.data.writing import (
    check_names,
    check_places,
    copy_image,
    new_file,
    plain_name,
    read_classes,
    text_of,
    write_classes,
)

__all__ = ["read_yolo", "read_yolo_files", "write_yolo"]


def read_yolo(directory, split=None, classes=None, *, mend=False):
    """A `DetectionSet` of a YOLO folder; classes: names in order, by default from classes.txt; mend as for `read_voc`."""
    root = Path(directory)
    images, labels = (root / kind / (plain_name(split) if split is not None else "") for kind in ("images", "labels"))
    for folder in (images, labels):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; expected YOLO's layout, images/ and labels/")
    if classes is None:
        files = [root / "classes.txt", root / "labels" / "classes.txt"]
        path = next((p for p in files if p.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"{files[0]}: missing; put one class name a line there, or pass classes=")
        classes = read_classes(path)
    found = sorted(p for p in images.rglob("*") if p.suffix.lower() in SUFFIXES)
    pairs = [(p, labels / p.relative_to(images).with_suffix(".txt")) for p in found]
    log = Log(mend)
    texts = {p for p in labels.rglob("*.txt") if p.name != "classes.txt"}
    for orphan in sorted(texts - {label for _, label in pairs}):
        log(orphan, "", f"has no image in {images}", missing=True)
    data = read_yolo_files(pairs, classes, log=log, source=str(root), folder=images)
    log.warn(root)
    return data


def read_yolo_files(pairs, classes, *, mend=False, log=None, source="YOLO", folder=None):
    """A `DetectionSet` of pairs (image file, text file). For layouts of your own; else as `read_yolo`."""
    own, log, rows = log is None, log or Log(mend), []
    owner = {}
    for image, text in pairs:
        image, text = Path(image), Path(text)
        if owner.setdefault(text, image) is not image:
            log(image, "", f"shares {text} with {owner[text]}")
            continue
        try:
            size = image_size(image)
        except FileNotFoundError:
            log(text, "", f"its image {image} is missing", missing=True)
        except ValueError as error:
            log(text, "", f"its image is broken: {error}")
        else:
            objects = [row for i, line in numbered(text, log) if (row := read_line(text, i, line, size, classes, log)) is not None]
            rows.append((image, collect(objects), size, str(image.relative_to(folder)) if folder else image.name))
    if own:
        log.warn(source)
    files, targets, sizes, names = (list(column) for column in zip(*rows)) if rows else ([], [], [], [])
    return DetectionSet(files, targets, classes, sizes, names, source, problems=log.problems)


def numbered(text, log):
    """(line number, line) of the lines that are not blank."""
    if not text.is_file():
        return
    try:
        content = text_of(text)
    except ValueError as error:
        log(text, "", str(error).removeprefix(f"{text}: "))
        return
    yield from ((i, line) for i, line in enumerate(content.splitlines(), 1) if line.strip())


def read_line(file, i, line, size, classes, log):
    """(box, label, difficult, crowd, area) of one line; None if it cannot be used."""
    item, words, (H, W) = f"line {i}", line.split(), size
    values = [number(w) for w in words]
    if len(words) != 5 or None in values:
        return log(file, item, f"{line.strip()!r}; expected five numbers: class cx cy w h")
    k, cx, cy, w, h = values
    if k != int(k) or not 0 <= k < len(classes):
        return log(file, item, f"class {words[0]} is not in 0 … {len(classes) - 1}")
    said = f"{' '.join(words[1:])} (cx cy w h)"
    box, _ = admit(log, file, item, ((cx - w / 2) * W, (cy - h / 2) * H, (cx + w / 2) * W, (cy + h / 2) * H), size, said)
    return None if box is None else (box, int(k), False, False, None)


def write_yolo(data, directory, split="train"):
    """Write a `DetectionSet` as a YOLO folder. ValueError if objects are marked difficult or crowd, for which the format has no
    place: `data.unmarked()` leaves them out. Nothing is overwritten: FileExistsError."""
    if data.marked():
        raise ValueError(f"{data.source}: {data.marked()} objects are difficult or a crowd, and YOLO text cannot say so; leave "
                         "them out first: data.unmarked(), or --leave-out-marked")
    check_names(data, split)
    root = Path(directory)
    check_places(data, root / "images" / split, [root / "labels" / split / f"{Path(name).stem}.txt" for name in data.names])
    write_classes(root / "classes.txt", data.classes)
    for i, name in enumerate(data.names):
        (H, W), target = data.sizes[i], data.targets[i]
        text = "".join(f"{k} {(x1 + x2) / 2 / W!r} {(y1 + y2) / 2 / H!r} {(x2 - x1) / W!r} {(y2 - y1) / H!r}\n"
                       for (x1, y1, x2, y2), k in zip(target.boxes.tolist(), target.labels.tolist()))
        new_file(root / "labels" / split / f"{Path(name).stem}.txt")(text)
        copy_image(data, i, root / "images" / split)
