"""COCO: one JSON file for all images (cocodataset.org/#format-data), and the results format that detections are exchanged in.

    images        [{"id", "file_name", "width", "height"}]
    categories    [{"id", "name"}]: their ids have gaps; here they are labels 0 … K−1 in the order of the ids
    annotations   [{"id", "image_id", "category_id", "bbox": [x, y, width, height], "area", "iscrowd"}]
    results       [{"image_id", "category_id", "bbox", "score"}]

Coordinates are continuous and begin at 0. A "difficult" mark, which COCO does not have, is written and read under that name.
Outlines ("segmentation") are not read; "area" is theirs.
"""

import json
from pathlib import Path

import numpy as np

from minivision.data.annotated import DetectionSet, Log, admit, collect, inside_folder, mark, number
from minivision.data.images import image_size
from minivision.data.writing import check_names, check_places, copy_image, new_file
from minivision.detection import Detections
from minivision.detection.boxes import to_corner_size

__all__ = ["read_coco", "read_coco_results", "write_coco", "write_coco_file", "write_coco_results"]


def read_coco(path, images=None, *, mend=False):
    """A `DetectionSet` of a COCO annotation file (C2: the data half of document 000, §4.2, with its classes and boxes).

    images    the folder that file names start from; None: images are not looked for (enough to evaluate)
    mend      as for `read_voc`. Problems of the whole file (no JSON, a missing key, ids of images or categories
              that are none or stand twice) stop with an error always
    """
    path, log = Path(path), Log(mend)
    document = load(path)
    if isinstance(document, list):
        raise ValueError(f"{path}: a list: a file of results (detections); expected annotations, with images and categories")
    if not isinstance(document, dict):
        raise ValueError(f"{path}: {type(document).__name__}; expected an object with images, annotations and categories")
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            raise ValueError(f"{path}: {'has no' if key not in document else 'is not a list:'} {key!r}; expected images, "
                             "annotations and categories")
    categories = by_id(path, "category", document["categories"], "name")
    pictures = by_id(path, "image", document["images"], "file_name")
    rows = {i: [] for i in pictures}
    sizes = {i: size_of(path, picture, images, log) for i, picture in pictures.items()}
    labels, seen = {c: k for k, c in enumerate(sorted(categories))}, set()
    for place, note in enumerate(document["annotations"]):
        item = f"annotation {note.get('id', place) if isinstance(note, dict) else place}"
        row = annotation(path, item, note, labels, sizes, log, images is not None)
        if isinstance(note, dict) and "id" in note:
            identity = json.dumps(note["id"])
            if identity in seen:
                log(path, item, "its id is used twice")
            seen.add(identity)
        if row is not None:
            rows[note["image_id"]].append(row)
    log.warn(path)
    kept = [i for i in sorted(pictures) if sizes[i] is not None]           # as pycocotools, which breaks ties of scores by it
    folder = Path(images) if images is not None else path.parent
    return DetectionSet([folder / pictures[i]["file_name"] for i in kept], [collect(rows[i]) for i in kept],
                        [categories[c]["name"] for c in sorted(categories)], [sizes[i] for i in kept],
                        [pictures[i]["file_name"] for i in kept], str(path), kept, sorted(categories), log.problems)


def load(path):
    """The content of a JSON file. ValueError for anything that is not JSON, NaN included."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")

    def refuse(word):
        raise ValueError(f"{word} is not a number of JSON")

    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as JSON: {error}") from None


def by_id(path, kind, entries, text):
    """{id: entry}, each with a whole number as id and the text under the key `text`."""
    found, names = {}, set()
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or type(entry.get("id")) is not int or not isinstance(entry.get(text), str):
            raise ValueError(f"{path}: {kind} {place} is {json.dumps(entry)[:200]}; expected an id (a whole number) and a {text} "
                             "(text)")
        if entry["id"] in found or entry[text] in names:
            raise ValueError(f"{path}: {kind} {place}: its id {entry['id']} or {text} {entry[text]!r} is used twice")
        found[entry["id"]] = entry
        names.add(entry[text])
    return found


def size_of(path, picture, images, log):
    """(H,W) of an image: the file's own if images are looked for, else as the annotations say. None if it cannot be used."""
    item, said = f"image {picture['id']}", (json_number(picture.get("height")), json_number(picture.get("width")))
    file = inside_folder(images or path.parent, picture["file_name"], log, path)
    if file is None:
        return None
    said = None if None in said or min(said) < 1 or any(v != int(v) for v in said) else tuple(map(int, said))
    if images is None:
        return said or log(path, item, f"{picture['file_name']} has no height and width in whole pixels")
    if not file.is_file():
        return log(path, item, f"its file {file} is missing", missing=True)
    try:
        size = image_size(file)
    except ValueError as error:
        return log(path, item, f"its file is broken: {error}")
    if said not in (None, size):
        log.note(path, item, f"is said to be {said[1]}×{said[0]}, but {file} is {size[1]}×{size[0]}; the file is right")
    return size


def annotation(path, item, note, labels, sizes, log, clipped):
    """(box, label, difficult, crowd, area) of one annotation; None if it cannot be used. clipped: whether boxes must lie in their
    image; where only detections are to be evaluated, they count as they are written."""
    if not isinstance(note, dict):
        return log(path, item, f"is {json.dumps(note)[:100]}; expected an object")
    for key, known in (("image_id", sizes), ("category_id", labels)):
        if type(note.get(key)) is not int or note[key] not in known:
            return log(path, item, f"{key} {note.get(key)!r} is not in the file's list")
    box = [json_number(v) for v in note["bbox"]] if isinstance(note.get("bbox"), list) else [None]
    if len(box) != 4 or None in box:
        return log(path, item, f"bbox is {json.dumps(note.get('bbox'))[:100]}; expected four numbers: x, y, width, height")
    area, crowd, difficult = json_number(note.get("area", 0)), mark(note.get("iscrowd", 0)), mark(note.get("difficult", 0))
    for key, value in (("area", area), ("iscrowd", crowd), ("difficult", difficult)):
        if value is None or value < 0:
            return log(path, item, f"{key} is {note[key]!r}; expected " + ("a number ≥ 0" if key == "area" else "0 or 1"))
    if sizes[note["image_id"]] is None:
        return None                                     # its image is left out, and that was said
    x, y, w, h = box
    size = sizes[note["image_id"]] if clipped else None
    box, share = admit(log, path, item, (x, y, x + w, y + h), size, f"{x:g} {y:g} {w:g} {h:g} (x, y, width, height)")
    area = area * share if "area" in note else None
    return None if box is None else (box, labels[note["category_id"]], difficult, crowd, area)


def json_number(value):
    """A finite float from a number of JSON; None for text and true."""
    return number(value) if type(value) in (int, float) else None


def write_coco(data, directory, split="train"):
    """Write a `DetectionSet` as DIR/annotations/SPLIT.json with its images under DIR/images/SPLIT; the JSON comes last. Nothing is
    overwritten: FileExistsError."""
    check_names(data, split)
    root = Path(directory)
    new_file(root / "annotations" / f"{split}.json")            # complain now rather than after the images
    check_places(data, root / "images" / split)
    files = [copy_image(data, i, root / "images" / split).name for i in range(len(data))]
    return write_coco_file(data, root / "annotations" / f"{split}.json", files)


def write_coco_file(data, path, files=None):
    """The JSON file alone; files: the name of each image, by default the data set's own."""
    document = as_document(data, data.names if files is None else files)
    return new_file(path)(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")


def as_document(data, files):
    """The content of a COCO file."""
    notes = []
    for image, target in zip(data.image_ids, data.targets):
        for box, label, difficult, crowd, area in zip(to_corner_size(target.boxes).tolist(), target.labels, target.difficult,
                                                      target.crowd, target.area.tolist()):
            notes.append({"id": len(notes) + 1, "image_id": image, "category_id": data.category_ids[label], "bbox": box,
                          "area": area, "iscrowd": int(crowd)} | ({"difficult": 1} if difficult else {}))
    return {"images": [{"id": i, "file_name": name, "width": W, "height": H}
                       for i, name, (H, W) in zip(data.image_ids, files, data.sizes)],
            "annotations": notes, "categories": [{"id": c, "name": name} for c, name in zip(data.category_ids, data.classes)]}


def write_coco_results(data, detections, path):
    """Write detections, one `Detections` for each image of `data`, as a results file, under the data set's own numbers."""
    if len(detections) != len(data):
        raise ValueError(f"{len(detections)} lists of detections for {len(data)} images")
    rows = [{"image_id": image, "category_id": data.category_ids[label], "bbox": box, "score": score}
            for image, d in zip(data.image_ids, detections)
            for box, label, score in zip(to_corner_size(d.boxes).tolist(), d.labels.tolist(), d.scores.tolist())]
    return new_file(path)(json.dumps(rows) + "\n")


def read_coco_results(path, data):
    """One `Detections` for each image of `data`, from a results file, best score first. ValueError for the first bad row: an
    image or category that the data set does not have, a box that is not four numbers or has a negative side, a score that is no
    number."""
    document = load(path)
    if not isinstance(document, list):
        what = "annotations" if isinstance(document, dict) else type(document).__name__
        raise ValueError(f"{path}: {what}; expected results: a list of objects with image_id, category_id, bbox, score")
    image_of, label_of = ({c: k for k, c in enumerate(ids)} for ids in (data.image_ids, data.category_ids))
    table = np.empty((len(document), 5))
    places = np.empty((len(document), 2), np.int64)
    for i, row in enumerate(document):
        try:
            x, y, w, h = row["bbox"] if isinstance(row["bbox"], list) else ()
            values = x, y, w, h, row["score"], row["image_id"], row["category_id"]
            if not all(type(v) in (int, float) for v in values):        # neither "0.5" nor true is a number
                raise TypeError
            table[i] = values[:5]
            places[i] = image_of[row["image_id"]], label_of[row["category_id"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path}: result {i} is {json.dumps(row)[:200]}: {explain(row, error, image_of, label_of)}") from None
    negative = (table[:, 2:4] < 0).any(axis=1)
    with np.errstate(over="ignore"):
        table[:, 2:4] += table[:, :2]
    wrong = np.flatnonzero(~np.isfinite(table).all(axis=1) | negative)
    if len(wrong):
        raise ValueError(f"{path}: result {wrong[0]} is {json.dumps(document[wrong[0]])[:200]}: expected finite numbers, and no "
                         "negative size")
    order = np.argsort(places[:, 0], kind="stable")
    parts = np.split(order, np.searchsorted(places[order, 0], np.arange(1, len(data)))) if len(data) else []
    return [Detections(table[part, :4], places[part, 1], table[part, 4]) for part in parts]


def explain(row, error, image_of, label_of):
    if not isinstance(row, dict):
        return "expected an object with image_id, category_id, bbox, score"
    for key, known in (("image_id", image_of), ("category_id", label_of)):
        if key in row and not (type(row[key]) is int and row[key] in known):
            return f"{key} {row[key]!r} is not in the ground truth"
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else "expected bbox: four numbers, score: a number"
