"""Writing data sets: a file appears whole under its name, or not at all, and never replaces another."""

import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["check_names", "check_places", "copy_image", "lines", "new_file", "plain_name", "read_classes", "text_of",
           "write_classes"]


def text_of(path):
    """The content of a text file. ValueError if it is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8: {error}") from None


def lines(path):
    """The lines of a text file, without blank ones."""
    return [line.strip() for line in text_of(path).splitlines() if line.strip()]


def new_file(path):
    """A function that writes text, or what a function writes into a path, to `path`. FileExistsError, at once, if that is taken."""
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} is there already; nothing is overwritten")

    def write(content):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        try:
            content(partial) if callable(content) else partial.write_text(content, encoding="utf-8", newline="\n")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return path
    return write


def check_names(data, split):
    """ValueError, before anything is written: for a split that is no plain name; where two images would get one name (their
    texts are called after the stem); where a name would not be read as it was written (control characters, blanks around it)."""
    plain_name(split)
    for name in (*data.classes, *data.names):
        if not name.isprintable() or not name or name != name.strip() or Path(name).stem != Path(name).stem.strip():
            raise ValueError(f"{data.source}: the name {name!r} cannot be written: empty, blanks around it, or control characters")
    seen = {}
    for name in data.names:
        stem = Path(name).stem.lower()                              # some file systems do not tell A from a
        if stem in seen:
            raise ValueError(f"{data.source}: {seen[stem]} and {name} would be written under one name; rename one of them")
        seen[stem] = name


def check_places(data, folder, texts=()):
    """Before anything is written: FileExistsError for the first image or text that is there already, FileNotFoundError for the
    first image that is not there to be copied."""
    for i, image in enumerate(data.images):
        if not isinstance(image, np.ndarray) and not Path(image).is_file():
            raise FileNotFoundError(f"{data.source}: {image}: no such file to copy")
        new_file(place_of(data, i, folder))
    for path in texts:
        new_file(path)


def plain_name(name):
    """A name of a split, unless it could lead to another folder or vanish: ValueError."""
    if (not isinstance(name, str) or not name or not name.isprintable() or name != name.strip() or set(name) & set("/\\:")
            or name in (".", "..")):
        raise ValueError(f"split {name!r}: expected a plain name, such as train")
    return name


def read_classes(path):
    """The classes of a classes.txt, one a line. ValueError for an empty line before the last name, since labels count lines."""
    names = text_of(path).rstrip().splitlines()
    for i, name in enumerate(names, 1):
        if not name.strip():
            raise ValueError(f"{path}: line {i} is empty; labels count lines, so every line needs a name")
    return [name.strip() for name in names]


def write_classes(path, classes):
    """One class a line. FileExistsError if the file is there already with other classes."""
    if not path.exists():
        new_file(path)("".join(f"{name}\n" for name in classes))
    elif read_classes(path) != list(classes):
        there = ", ".join(read_classes(path))
        raise FileExistsError(f"{path} is there already, with the classes {there}, not {', '.join(classes)}")


def place_of(data, i, folder):
    """Where `copy_image` puts image i."""
    name = Path(data.names[i])
    as_it_is = not isinstance(data.images[i], np.ndarray) or name.suffix.lower() in (".jpg", ".jpeg")
    return Path(folder) / (name.name if as_it_is else f"{name.stem}.png")


def copy_image(data, i, folder):
    """Image i of a data set in `folder`: a file is copied as it is, an array becomes a JPEG (quality 92) if its name ends so,
    else a PNG. Returns the path."""
    image, write = data.images[i], new_file(place_of(data, i, folder))
    if not isinstance(image, np.ndarray):
        return write(lambda to: shutil.copyfile(image, to))
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    if Path(data.names[i]).suffix.lower() in (".jpg", ".jpeg"):
        return write(lambda to: picture.save(to, format="JPEG", quality=92, subsampling=0))
    return write(lambda to: picture.save(to, format="PNG"))
