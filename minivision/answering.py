"""From images on disk to answers on disk: which files are meant, a picture of each with what was found, and everything as JSON."""

from pathlib import Path

from minivision import checkpoint, data, draw
from minivision.data.images import SUFFIXES
from minivision.detection.boxes import to_corner_size


def images_in(paths):
    """The image files among paths and in folders, those of a folder in the order of their names. ValueError where none is."""
    files = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        found = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not found:
            raise ValueError(f"{path}: no image in this folder ({', '.join(sorted(SUFFIXES))})")
        files += found
    return files


def picture_names(files, folder):
    """The name of each file's picture in `folder`: a.png, or a.jpg.png beside a.png.png. ValueError, before anything is written,
    for a file that is no image, and where a picture would replace another or its own image."""
    stems, folder = [path.stem for path in files], Path(folder)
    names = [f"{path.stem if stems.count(path.stem) == 1 else path.name}.png" for path in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two images would be drawn as {twice}; take them one after the other, with another --out")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; --out takes a folder")
    for path, name in zip(files, names):
        data.image_size(path)
        if (folder / name).resolve() == path.resolve():
            raise ValueError(f"the picture of {path} would replace it; choose another --out")
    return names


def write_detections(paths, out, find, classes, least):
    """Draw what `find` (files → pairs of image and Detections, in order) finds in images and folders of images, and write it as
    detections.json, both into the folder `out`. least: the lowest score that counts. Returns (objects, images)."""
    if not 0 <= least <= 1:
        raise ValueError(f"least is {least}; expected a score, 0 … 1")
    files, folder, rows = images_in(paths), Path(out), []
    names = picture_names(files, folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "detections.json").unlink(missing_ok=True)
    for path, name, (image, found) in zip(files, names, find(files)):
        found = found.keep(found.scores >= least)
        rows.append(as_json(path, image, found, classes))
        draw.boxes(image, found, classes, width=max(3, image.shape[2] / 100)).savefig(folder / name)
    checkpoint.write_json(folder / "detections.json", rows)
    return sum(len(row["objects"]) for row in rows), len(rows)


def as_json(path, image, found, classes):
    """What `minivision detect` writes of one image: class names, scores, and boxes as x, y, width, height in pixels."""
    rows = zip(found.labels.tolist(), found.scores.tolist(), to_corner_size(found.boxes).tolist())
    objects = [{"class": classes[label], "score": round(score, 5), "box": [round(v, 2) for v in box]} for label, score, box in rows]
    return {"image": str(path), "height": image.shape[1], "width": image.shape[2], "objects": objects}
