"""Writing data sets: a file appears whole under its name, or not at all, and never replaces another."""

import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["check_names", "copy_image", "lines", "new_file"]


def lines(path):
    """The lines of a text file, without blank ones. ValueError if it is not UTF-8."""
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8: {error}") from None


def new_file(path):
    """A function that writes text, or what a function writes into a path, to `path`. FileExistsError, at once, if that is taken."""
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} is there already; nothing is overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(content):
        partial = path.with_name(f".{path.name}.partial")
        try:
            content(partial) if callable(content) else partial.write_text(content, encoding="utf-8", newline="\n")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return path
    return write


def check_names(data):
    """ValueError, before anything is written, where two images would get one name (their texts are called after the stem), or
    where a name would not be read as it was written: control characters, blanks around the name of a class."""
    for name in (*data.classes, *data.names):
        if not name.isprintable() or not name.strip() or (name in data.classes and name != name.strip()):
            raise ValueError(f"{data.source}: the name {name!r} cannot be written: empty, blanks around it, or control characters")
    seen = {}
    for name in data.names:
        stem = Path(name).stem.lower()                              # some file systems do not tell A from a
        if stem in seen:
            raise ValueError(f"{data.source}: {seen[stem]} and {name} would be written under one name; rename one of them")
        seen[stem] = name


def copy_image(data, i, folder):
    """Image i of a data set in `folder`: a file is copied as it is, an array becomes a JPEG (quality 92) if its name ends so,
    else a PNG. Returns the path."""
    name, image = Path(data.names[i]).name, data.images[i]
    if not isinstance(image, np.ndarray):
        return new_file(folder / name)(lambda to: shutil.copyfile(image, to))
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    if Path(name).suffix.lower() in (".jpg", ".jpeg"):
        return new_file(folder / name)(lambda to: picture.save(to, format="JPEG", quality=92, subsampling=0))
    return new_file(folder / f"{Path(name).stem}.png")(lambda to: picture.save(to, format="PNG"))
