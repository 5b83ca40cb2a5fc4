"""Pascal VOC: one XML file an image (Everingham et al., IJCV 2010, and the devkit's documentation).

    DIR/Annotations/NAME.xml      objects: class, corners, difficult
    DIR/JPEGImages/…              the file that <filename> names
    DIR/ImageSets/Main/SPLIT.txt  one NAME a line
    DIR/classes.txt               one class a line, in the order of their labels; not VOC's own. Without it: sorted by name

VOC counts pixels from 1 and its corners are pixels of the object: xmin = 1, xmax = W is the whole width. Here, and nowhere else,
that becomes 0 … W (x1 = xmin − 1, x2 = xmax), and back. A box whose corners are one pixel (xmin = xmax) would be one pixel wide;
in practice it is a slip of the mouse, and is reported as having no area. Boxes that stand twice in a file are kept.
"""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from minivision.data.annotated import DetectionSet, Log, admit, collect, inside_folder, mark, number
from minivision.data.images import image_size
from minivision.data.writing import check_names, check_places, copy_image, lines, new_file, plain_name, read_classes, write_classes

__all__ = ["read_voc", "read_voc_files", "write_voc"]


def read_voc(directory, split=None, classes=None, *, mend=False):
    """A `DetectionSet` of a VOC folder, or of the images that ImageSets/Main/SPLIT.txt lists.

    classes   names in the order of their labels; by default classes.txt, or all names in the folder, sorted
    mend      False: the first problem is an error. True: boxes that stick out are clipped, and what cannot be used (no area, wholly
              outside, unknown class, broken file, missing image) is left out, with one warning and a list in `.problems`
    Where <size> and the image differ, the image is right, with a warning.
    """
    root, log = Path(directory), Log(mend)
    if not (root / "Annotations").is_dir():
        raise FileNotFoundError(f"{root}: no folder Annotations in it; expected Pascal VOC's layout")
    everything = sorted((root / "Annotations").glob("*.xml"))
    chosen = everything if split is None else listed(root, split, log)
    if classes is None and (root / "classes.txt").is_file():
        classes = read_classes(root / "classes.txt")
    if classes is None:
        names = (name for path in everything for name, *_ in (parse(path, Log(True)) or ((), ()))[1])
        classes = sorted(set(names))
    found = read_voc_files(chosen, root / "JPEGImages", classes, log=log, source=str(root))
    log.warn(root)
    return found


def read_voc_files(paths, images, classes, *, mend=False, log=None, source="VOC"):
    """A `DetectionSet` of these XML files, with images in one folder. For layouts of your own; else as `read_voc`."""
    own, log, classes = log is None, log or Log(mend), tuple(classes)
    rows, owner = [], {}
    for path in paths:
        row = read_one(Path(path), Path(images), classes, log)
        if row is not None and owner.setdefault(row[0], path) is not path:
            log(path, "", f"describes {row[0]}, as {owner[row[0]]} does")
        elif row is not None:
            rows.append(row)
    if own:
        log.warn(source)
    files, targets, sizes = zip(*rows) if rows else ((), (), ())
    return DetectionSet(list(files), list(targets), classes, list(sizes), [str(f.relative_to(images)) for f in files], source,
                        problems=log.problems)


def listed(root, split, log):
    """The XML files that a list names."""
    main = root / "ImageSets" / "Main"
    path = main / f"{plain_name(split)}.txt"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in main.glob("*.txt"))) or "none"
        raise FileNotFoundError(f"{path}: no such list; there are: {there}")
    found, seen = [], set()
    for line in lines(path):
        if line in seen:
            log(path, "", f"lists {line} twice")
            continue
        seen.add(line)
        whole = root / "Annotations" / f"{line}.xml"                # a name with blanks; else VOC's "name flag"
        name = line if ".." not in line and whole.is_file() else line.split()[0]
        xml = inside_folder(root / "Annotations", f"{name}.xml", log, path)
        if xml is not None and not xml.is_file():
            log(path, "", f"lists {name}, but {xml} is missing", missing=True)
        elif xml is not None:
            found.append(xml)
    return found


class Refused(ValueError):
    """A file that has what it may not have."""


class PlainBuilder(ElementTree.TreeBuilder):
    """Builds elements and refuses a document type: declarations can name other files and blow up a few bytes to gigabytes."""

    def doctype(self, name, public, system):
        raise Refused("has a document type declaration (DTD), which is refused")


def parse(path, log):
    """(file name or None, objects [(class, box in VOC's counting, difficult, crowd, area)], (H,W) or None) of one XML file."""
    if not path.is_file():
        return log(path, "", "no such file", missing=True)
    try:
        root = ElementTree.fromstring(path.read_bytes(), ElementTree.XMLParser(target=PlainBuilder()))
    except (ElementTree.ParseError, Refused, ValueError, LookupError) as error:
        return log(path, "", f"not readable as XML: {error}" if path.stat().st_size else "an empty file")
    if root.tag != "annotation":
        return log(path, "", f"begins with <{root.tag}>; expected <annotation>")
    objects = []
    for i, node in enumerate(root.findall("object")):
        item, name, box = f"object {i}", (node.findtext("name") or "").strip(), node.find("bndbox")
        if not name:
            log(path, item, "has no <name>")
        elif box is None:
            log(path, item, f"{name} has no <bndbox>")
        else:
            texts = {tag: box.findtext(tag) for tag in ("xmin", "ymin", "xmax", "ymax")}
            corners = {tag: number(text) for tag, text in texts.items()}
            marks = {tag: mark(node.findtext(tag, "0")) for tag in ("difficult", "crowd")}
            area = number(node.findtext("area", "0"))
            area = None if area is not None and area < 0 else area
            wrong = next((tag for tag, value in {**corners, **marks, "area": area}.items() if value is None), None)
            if wrong:
                log(path, item, f"<{wrong}> of {name} is {texts.get(wrong, node.findtext(wrong))!r}; expected a number")
            else:
                objects.append((name, tuple(corners.values()), *marks.values(), area or None, i))
    size = [number(root.findtext(f"size/{tag}")) for tag in ("height", "width")]
    return root.findtext("filename"), objects, None if None in size else tuple(map(int, size))


def read_one(path, images, classes, log):
    """(image file, Target, (H,W)) of one XML file; None if it cannot be used."""
    parsed = parse(path, log)
    if parsed is None:
        return None
    name, objects, said = parsed
    image = inside_folder(images, (name or path.stem + ".jpg").strip(), log, path)
    if image is None:
        return None
    if not image.is_file():
        return log(path, "", f"its image {image} is missing", missing=True)
    try:
        size = image_size(image)
    except ValueError as error:
        return log(path, "", f"its image is broken: {error}")
    if said not in (None, size):
        log.note(path, "", f"<size> says {said[1]}×{said[0]}, but the image is {size[1]}×{size[0]}; the image is right")
    rows = []
    for label, (xmin, ymin, xmax, ymax), difficult, crowd, area, i in objects:
        if label not in classes:
            log(path, f"object {i}", f"class {label!r} is not one of {', '.join(classes)}")
            continue
        item, said = f"object {i} ({label})", f"{xmin:g} {ymin:g} {xmax:g} {ymax:g}"
        if not (xmax > xmin and ymax > ymin):
            log(path, item, f"box {said} has no area")
            continue
        box, share = admit(log, path, item, (xmin - 1, ymin - 1, xmax, ymax), size, said)
        if box is not None:
            rows.append((box, classes.index(label), difficult, crowd, area and area * share))
    return image, collect(rows), size


def write_voc(data, directory, split="train"):
    """Write a `DetectionSet` as a VOC folder; the list of the split comes last, so a set that was interrupted has none. Files that
    are there already are not overwritten: FileExistsError. crowd and area, which VOC does not have, become tags of those names."""
    check_names(data, split)
    for name, target in zip(data.names, data.targets):
        thin = np.flatnonzero((target.boxes[:, 2:] - target.boxes[:, :2] <= 1).any(axis=1))
        if len(thin):
            raise ValueError(f"{data.source}: {name}: object {thin[0]} is {target.boxes[thin[0]].tolist()}: at most a pixel wide "
                             "or high, which VOC's readers take for a box without area")
    root = Path(directory)
    listing = new_file(root / "ImageSets" / "Main" / f"{split}.txt")
    check_places(data, root / "JPEGImages", [root / "Annotations" / f"{Path(name).stem}.xml" for name in data.names])
    write_classes(root / "classes.txt", data.classes)
    for i, name in enumerate(data.names):
        stem = Path(name).stem
        target, (H, W) = data.targets[i], data.sizes[i]
        image = copy_image(data, i, root / "JPEGImages")
        note = ElementTree.Element("annotation")
        put(note, "filename", image.name)
        size = ElementTree.SubElement(note, "size")
        for tag, value in (("width", W), ("height", H), ("depth", 3)):
            put(size, tag, value)
        columns = target.boxes.tolist(), target.labels, target.difficult, target.crowd, target.area.tolist()
        for (x1, y1, x2, y2), label, difficult, crowd, area in zip(*columns):
            node = ElementTree.SubElement(note, "object")
            put(node, "name", data.classes[label])
            put(node, "difficult", int(difficult))
            if crowd:
                put(node, "crowd", 1)
            if area != (x2 - x1) * (y2 - y1):
                put(node, "area", plain(area))
            corners = ElementTree.SubElement(node, "bndbox")
            for tag, value in (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2)):
                put(corners, tag, plain(value))
        ElementTree.indent(note)
        new_file(root / "Annotations" / f"{stem}.xml")(ElementTree.tostring(note, encoding="unicode") + "\n")
    listing("".join(f"{Path(name).stem}\n" for name in data.names))


def put(node, tag, value):
    ElementTree.SubElement(node, tag).text = str(value)


def plain(value):
    """A number as people write it: 12, not 12.0."""
    return str(int(value)) if value == int(value) else repr(value)
