"""Classifiers from the command line: their data, how they are built, and what of a run answers later, without that data."""

from pathlib import Path

import numpy as np

from minivision import checkpoint, data, pretrained, transfer, zoo
from minivision.settings import ANY_SIZE, AUGMENTATIONS, DETECTORS, FIXED_SIZE, read_settings

FACTS = "classifier.json"


def batches(settings, facts=None):
    """(training batches, test batches, facts) of a run; facts: of a run that goes on."""
    s = settings
    learn, test = data.load(s.data, size=s.size or None)
    facts = facts or found_facts(s, learn)
    if list(learn.classes) != facts["classes"]:
        raise ValueError(f"{s.data} has classes {', '.join(learn.classes)}; the run was trained on {', '.join(facts['classes'])}")
    augment = [name for name in s.augment.split(",") if name]
    mix = (lambda images, labels, rng: data.mixup(images, labels, len(learn.classes), rng)) if "mixup" in augment else None
    augment = [AUGMENTATIONS[name] for name in augment if name != "mixup"]
    return in_batches(learn, s.data, facts, s.batch_size, augment=augment, mix=mix), in_batches(test, s.data, facts), facts


def exam(settings, facts, data_name):
    """Batches of a run's test images, or of another set's (None: its own) with as many classes and images of the same shape."""
    name = data_name or settings.data
    return in_batches(data.load(name, size=settings.size or None)[1], name, facts)


def in_batches(images, name, facts, size=256, **options):
    if list(images.image_shape) != facts["image_shape"] or len(images.classes) != len(facts["classes"]):
        raise ValueError(f"{name} has images {images.image_shape} of {len(images.classes)} classes; the run was trained on "
                         f"{tuple(facts['image_shape'])} of {len(facts['classes'])}")
    return data.Batches(images, size, mean=facts["mean"], deviation=facts["deviation"], **options)


def found_facts(settings, learn):
    """What a classifier must know of its training data, also later: class names, (C,H,W) of its images, and the mean and deviation
    that it subtracts and divides by. Written to classifier.json.

    These are the training set's, or where the network begins with weights, those of the published network (a file of one's own is
    taken to be like it; of a network that has no published weights, to have seen ImageNet's statistics).
    """
    if settings.weights:
        look = zoo.published(settings.model).prepare if settings.model in zoo.PUBLISHED else zoo.PHOTO
        mean, deviation = look.mean, look.deviation
    else:
        mean, deviation = data.statistics(learn.take(np.arange(min(len(learn), 10_000)))[0])
    return {"classes": list(learn.classes), "image_shape": list(learn.image_shape), "mean": [float(m) for m in mean],
            "deviation": [float(d) for d in deviation]}


def read_facts(directory):
    path = Path(directory) / FACTS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a run that was begun without it gets it by: "
                                f"minivision train --resume {directory}")
    facts = checkpoint.read_json(path)
    rows = lambda name, kind: isinstance(facts[name], list) and facts[name] and all(type(x) is kind for x in facts[name])
    if not (isinstance(facts, dict) and set(facts) == {"classes", "image_shape", "mean", "deviation"} and rows("classes", str)
            and rows("image_shape", int) and len(facts["image_shape"]) == 3 and min(facts["image_shape"]) > 0
            and all(rows(name, float) and len(facts[name]) == facts["image_shape"][0] for name in ("mean", "deviation"))
            and np.isfinite(facts["mean"] + facts["deviation"]).all() and min(facts["deviation"]) > 0):
        raise ValueError(f"{path}: not what a classifier's run remembers of its data (classes, image_shape, mean, deviation)")
    return facts


def build(settings, facts, saved=None):
    """The network, new or with the weights that the settings name and a new last layer. saved: a file of the run's own weights, of
    which a checkpoint holds more: then those that it began with are not read again, and may be gone."""
    s, (C, H, W), classes = settings, facts["image_shape"], len(facts["classes"])
    rng = np.random.default_rng([s.seed, 0])
    if s.model in ANY_SIZE:
        if C != 3:
            raise ValueError(f"{s.model} takes colour images; {s.data} has {C} channel(s)")
        model = begun(s, classes, rng, saved) if s.weights else ANY_SIZE[s.model](classes, rng=rng)
    else:
        if s.weights:
            raise ValueError(f"weights is {s.weights!r}, and there are none for {s.model}; take one of {', '.join(ANY_SIZE)}")
        if H != W:
            raise ValueError(f"{s.model} takes square images; {s.data} has {H}×{W}")
        model = FIXED_SIZE[s.model](classes, channels=C, size=H, rng=rng)
    model.smoothing = s.smoothing
    return model


def begun(settings, classes, rng, saved):
    """A network that has learned already, with a new last layer (of `saved`, the last layer is set by the checkpoint)."""
    s = settings
    if s.model in zoo.PUBLISHED and not saved:
        model = pretrained.load(s.model, s.weights).model
    else:
        make = zoo.published(s.model).build if s.model in zoo.PUBLISHED else ANY_SIZE[s.model]
        model = pretrained.fitting(make, saved or s.weights)
    transfer.new_head(model, classes, rng=rng)
    if s.freeze:
        transfer.freeze_body(model)
    return model.train()


def load(directory, *, best=False, device="cpu"):
    """(model, settings, facts) of a run, in evaluation mode; needs no data set. best: the weights that tested best."""
    settings = read_settings(directory, device)
    if settings.model in DETECTORS:
        raise ValueError(f"{directory} is a run of a detector: minivision detect --run {directory}")
    facts = read_facts(directory)
    model = build(settings, facts, checkpoint.weights_file(directory, best)).to(settings.device)
    checkpoint.load_newest(directory, model, best)
    return model.eval(), settings, facts


def network_of(directory, best=False):
    """`pretrained.Network` of a run: photographs are scaled and cut to the size that it was trained at."""
    model, _, facts = load(directory, best=best)
    C, H, W = facts["image_shape"]
    if C != 3 or H != W:
        raise ValueError(f"{directory} was trained on images {C}×{H}×{W}; photographs are square crops of three channels")
    look = data.Preparation(shorter=H, crop=H, mean=tuple(facts["mean"]), deviation=tuple(facts["deviation"]))
    return pretrained.Network(model, look, tuple(facts["classes"]))
