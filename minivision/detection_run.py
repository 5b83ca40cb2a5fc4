"""Detectors from the command line: their data, how they are built, what they find, how they are scored, what they look like."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from minivision import checkpoint, data, draw, models
from minivision.answering import write_detections
from minivision.data.checking import layout
from minivision.data.detection_batches import DEVIATION, MEAN, DetectionBatches, back, working_size
from minivision.data.transforms import normalise, resize
from minivision.detection import priors
from minivision.ladder import climb
from minivision.settings import BOX_AUGMENTATIONS, DETECTORS, read_settings

FACTS = "detector.json"
GENERAL = (0.1, 0.14, 0.2, 0.28, 0.4, 0.56, 0.8)        # sides of general priors, as shares of the shorter side of an image


def split_names(folder):
    """The splits of a detection folder, by the names under which `load_detection` finds them."""
    kind, found = layout(folder)
    return [p.stem.removeprefix("instances_") for p in found] if kind == "coco" else found


def pick(known, words):
    """The first of the split names `known` that is one of `words`: train, but also train_mini or train2017. "" where none is."""
    same = lambda word, name: word in (name, name.split("_")[0], name.rstrip("0123456789"))
    return next((name for word in words for name in known if same(word, name)), "")


def sets(settings):
    """(training set, validation set): the splits that the settings name, or that one would expect; where the folder has none, every
    fifth image is held out. ValueError for a folder that leaves it open."""
    s, folder = settings, data.sets.folder_of(settings.data, data.sets.DETECTION)
    known = split_names(folder)
    learn = s.split or pick(known, ("train", "trainval"))
    test = s.validation or pick(known, ("test", "val") if learn.startswith("trainval") else ("val", "test", "valid", "validation"))
    load = lambda split: data.load_detection(s.data, split, mend=s.mend)
    if learn and test:
        found = load(learn), load(test)
    elif learn or test or len(known) > 1:
        raise ValueError(f"{folder}: its splits are {', '.join(known) or 'not named'}; say which to learn from (--split) and "
                         "which to validate on (--validation)")
    else:
        whole = load(None)
        if len(whole) < 2:
            raise ValueError(f"{folder}: {len(whole)} image(s); expected at least two, one to learn from and one to validate on")
        held = np.arange(len(whole)) % 5 == 1
        found = whole.subset(np.flatnonzero(~held)), whole.subset(np.flatnonzero(held))
    if found[0].classes != found[1].classes:
        raise ValueError(f"{folder}: classes {', '.join(found[0].classes)} to learn, {', '.join(found[1].classes)} to validate on")
    for one, what in zip(found, ("learn from", "validate on")):
        if not sum(one.unmarked().counts().values()):
            raise ValueError(f"{folder}: there is not one object to {what}")
    if shared := set(map(str, found[0].images)) & set(map(str, found[1].images)):
        raise ValueError(f"{folder}: {len(shared)} image(s), such as {min(shared)}, would be learned from and validated on; name "
                         "another --validation")
    return found


def batches(settings, facts=None):
    """(training batches, validation batches, facts) of a run; facts: of a run that goes on."""
    s, (learn, test) = settings, sets(settings)
    if facts and list(learn.classes) != facts["classes"]:
        raise ValueError(f"{s.data} has classes {', '.join(learn.classes)}; the run was trained on {', '.join(facts['classes'])}")
    augment = [BOX_AUGMENTATIONS[name] for name in filter(None, s.augment.split(","))]
    train = DetectionBatches(learn, s.batch_size, side=s.size, augment=augment)
    return train, DetectionBatches(test, 16, side=s.size), facts or found_facts(s, train)


def found_facts(settings, train):
    """What a detector must know of its training data, also later, when only images are there: class names, the usual size (H,W) of
    its images, and priors. Written to detector.json."""
    shapes = np.concatenate([(t.boxes[:, 2:] - t.boxes[:, :2]) * np.array([Q / W, P / H])
                             for t, (P, Q), (H, W) in zip(train.dataset.targets, train.frames, train.dataset.sizes)])
    size = [int(side) for side in np.median(train.frames, axis=0)]
    K = min(settings.priors, len(np.unique(shapes.round(6), axis=0)))
    found = priors.cluster(shapes.round(6), K, settings.seed) if K else [[g * min(size)] * 2 for g in GENERAL]
    return {"classes": list(train.dataset.classes), "size": size, "priors": np.asarray(found).tolist()}


def read_facts(directory):
    path = Path(directory) / FACTS
    facts = checkpoint.read_json(path)
    numbers = lambda rows: isinstance(rows, list) and all(isinstance(x, (int, float)) and x > 0 for x in rows)
    if not (isinstance(facts, dict) and set(facts) == {"classes", "size", "priors"} and isinstance(facts["classes"], list)
            and numbers(facts["size"]) and len(facts["size"]) == 2 and isinstance(facts["priors"], list)
            and all(numbers(p) and len(p) == 2 for p in facts["priors"])):
        raise ValueError(f"{path}: not what a detector's run remembers of its data (classes, size, priors)")
    return facts


def build(settings, facts):
    """The detector that the settings name, for these classes."""
    K, size, rng = len(facts["classes"]), facts["size"], np.random.default_rng([settings.seed, 0])
    if settings.model == "ssd":
        return models.small_ssd(K, size, rng=rng)
    if settings.model == "faster-rcnn":
        return models.small_faster_rcnn(K, size, rng=rng)
    if settings.model == "yolo-v1":
        return models.small_yolo_v1(K, rng=rng)
    return models.small_yolo(K, facts["priors"], rng=rng)


def ladder(settings, number=8, steps=150, *, progress=True):
    """Yield the steps of the sanity ladder for a new detector on the first images with objects of its training set."""
    if settings.model not in DETECTORS:
        raise ValueError(f"model is {settings.model!r}; the ladder is for detectors: {', '.join(DETECTORS)}")
    if number < 1:
        raise ValueError(f"images is {number}; expected at least 1")
    train, _, facts = batches(settings)
    chosen = [i for i, target in enumerate(train.dataset.targets) if len(target)][:number]
    yield from climb(build(settings, facts), *train.prepare(np.array(chosen), None), steps=steps, progress=progress)


def picture_of(prepared, number=8):
    """A function (model) → figure: what it finds now in the first images of the validation set, over what is there."""
    batches = prepared.test
    chosen = range(min(number, len(batches.dataset)))
    images, targets = zip(*(batches.scaled(i) for i in chosen))
    inputs, _ = batches.prepare(np.array(chosen), None)
    return lambda model: draw.gallery(images, model.detect(inputs), prepared.classes, truths=targets, least=0.3)


def load(directory, *, best=False, device=None):
    """(model, settings, facts) of a run, in evaluation mode; needs no data set. best: the weights that validated best."""
    settings, facts = read_settings(directory, device), read_facts(directory)
    model = build(settings, facts).to(settings.device)
    checkpoint.load_newest(directory, model, best)
    return model.eval(), settings, facts


def find(model, paths, side=0, *, progress=True):
    """Detections of image files of any sizes, one after the other, in each image's own pixels: yields (image, Detections)."""
    for path in tqdm(paths, disable=not progress, unit="image"):
        image = data.read_image(path)
        frame = working_size(image.shape[1:], side)
        found = model.detect(normalise(resize(image, frame)[None], MEAN, DEVIATION))[0]
        yield image, back(found, frame, image.shape[1:])


def evaluate_run(directory, data_name=None, split=None, *, best=False, device=None, out=None, mend=False):
    """Score a run on its validation set, or on a split of its own or another data set with the same classes. Of another one
    without `split` it takes test, else val, else all there is; ValueError where that leaves several to choose from.

    Returns {"coco", "voc07", "voc10": Result, "errors": Breakdown, "classes"} as `evaluation.evaluate_files` does; `out` is a
    folder for detections.json, precision_recall.png, errors.png, mistakes.png (the worst ten) and figures.txt.
    """
    from minivision.evaluation import results_of, write_report
    model, settings, facts = load(directory, best=best, device=device)
    if data_name or split:
        where = data.sets.folder_of(data_name or settings.data, data.sets.DETECTION)
        known = split_names(where)
        split = split or pick(known, ("test", "val", "valid", "validation")) or None
        if not split and len(known) > 1:
            raise ValueError(f"{where}: its splits are {', '.join(known)}; say on which to score the run (--split)")
        classes = facts["classes"] if layout(where)[0] == "voc" else None       # a VOC folder may lack one of them
        test = data.load_detection(where, split, classes, mend=mend or settings.mend)
        if list(test.classes) != facts["classes"]:
            raise ValueError(f"{test.source} has classes {', '.join(test.classes)}; the run was trained on "
                             f"{', '.join(facts['classes'])}")
    else:
        test = sets(settings)[1]
    ahead = DetectionBatches(test, 16, side=settings.size)
    found = ahead.restored([answer for images, _ in ahead for answer in model.detect(images)])
    results = results_of(found, test.targets, test.classes)
    if out is not None:
        write_report(results, out)
        path = Path(out) / "detections.json"
        path.unlink(missing_ok=True)
        data.write_coco_results(test, found, path)
        draw.mistakes(test, found, results["errors"]).savefig(Path(out) / "mistakes.png")
    return results


def detect_files(directory, paths, out, *, least=0.3, best=False, device=None, progress=True):
    """Find objects in images and folders of images (a video's frames, in the order of their names) with the detector of a run.
    Writes a picture of each, and detections.json, into the folder `out`; returns (objects, images)."""
    model, settings, facts = load(directory, best=best, device=device)
    return write_detections(paths, out, lambda files: find(model, files, settings.size, progress=progress), facts["classes"], least)
