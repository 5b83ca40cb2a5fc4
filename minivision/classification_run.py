"""Classifiers from the command line: their data, how they are built, and what of a run answers later, without that data."""

from pathlib import Path

import numpy as np

from minivision import checkpoint, data, pretrained, transfer, zoo
from minivision.settings import ANY_SIZE, AUGMENTATIONS, FIXED_SIZE, read_settings

FACTS = "classifier.json"


def batches(settings, facts=None, data_name=None):
    """(training batches, test batches, facts) of a run; facts: of a run that goes on. data_name: another set to test on."""
    s = settings
    learn, test = data.load(s.data, size=s.size or None)
    facts = facts or found_facts(s, learn)
    if (list(learn.classes), list(learn.image_shape)) != (facts["classes"], facts["image_shape"]):
        raise ValueError(f"{s.data} has images {learn.image_shape} of {', '.join(learn.classes)}; the run was trained on "
                         f"{tuple(facts['image_shape'])} of {', '.join(facts['classes'])}")
    if data_name:
        test = data.load(data_name, size=s.size or None)[1]
        if test.image_shape != learn.image_shape or len(test.classes) != len(learn.classes):
            raise ValueError(f"{data_name} has images {test.image_shape} of {len(test.classes)} classes; the run was trained on "
                             f"{learn.image_shape} of {len(learn.classes)}")
    look = {"mean": facts["mean"], "deviation": facts["deviation"]}
    augment = [name for name in s.augment.split(",") if name]
    mix = (lambda images, labels, rng: data.mixup(images, labels, len(learn.classes), rng)) if "mixup" in augment else None
    train = data.Batches(learn, s.batch_size, **look, mix=mix, augment=[AUGMENTATIONS[name] for name in augment if name != "mixup"])
    return train, data.Batches(test, 256, **look), facts


def found_facts(settings, learn):
    """What a classifier must know of its training data, also later: class names, (C,H,W) of its images, and the mean and deviation
    that it subtracts and divides by. Written to classifier.json.

    These are the training set's, or where the network begins with weights, those of the published network (a file of one's own is
    taken to be like it; of ResNet-20 and 56, to have seen ImageNet's statistics).
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
    facts = checkpoint.read_json(path)
    rows = lambda name, kind: isinstance(facts.get(name), list) and all(type(x) is kind for x in facts[name])
    if not (isinstance(facts, dict) and set(facts) == {"classes", "image_shape", "mean", "deviation"} and rows("classes", str)
            and rows("image_shape", int) and len(facts["image_shape"]) == 3 and min(facts["image_shape"]) > 0
            and all(rows(name, float) and len(facts[name]) == facts["image_shape"][0] for name in ("mean", "deviation"))
            and min(facts["deviation"]) > 0):
        raise ValueError(f"{path}: not what a classifier's run remembers of its data (classes, image_shape, mean, deviation)")
    return facts


def build(settings, facts, learned=True):
    """The network, new or with the weights that the settings name and a new last layer."""
    s, (C, H, W), classes = settings, facts["image_shape"], len(facts["classes"])
    rng = np.random.default_rng([s.seed, 0])
    if s.model in ANY_SIZE:
        if C != 3:
            raise ValueError(f"{s.model} takes colour images; {s.data} has {C} channel(s)")
        model = begun(s, classes, rng, learned) if s.weights else ANY_SIZE[s.model](classes, rng=rng)
    else:
        if s.weights:
            raise ValueError(f"weights is {s.weights!r}, and there are none for {s.model}; take one of {', '.join(ANY_SIZE)}")
        if H != W:
            raise ValueError(f"{s.model} takes square images; {s.data} has {H}×{W}")
        model = FIXED_SIZE[s.model](classes, channels=C, size=H, rng=rng)
    model.smoothing = s.smoothing
    return model


def begun(settings, classes, rng, learned):
    """A network that has learned already, with a new last layer; not learned: the same network, without reading its weights."""
    s = settings
    published = s.model in zoo.PUBLISHED
    if not learned:
        model = zoo.published(s.model).build() if published else ANY_SIZE[s.model](rng=rng)
    elif published:
        model = pretrained.load(s.model, s.weights).model
    else:
        model = pretrained.fitting(ANY_SIZE[s.model], s.weights)
    transfer.new_head(model, classes, rng=rng)
    if s.freeze:
        transfer.freeze_body(model)
    return model.train()


def load(directory, *, best=False):
    """(model, facts) of a run, in evaluation mode, on the CPU; needs no data set. best: the weights that validated best."""
    settings, facts = read_settings(directory, "cpu"), read_facts(directory)
    model = build(settings, facts, learned=False)
    checkpoint.load_newest(directory, model, best)
    return model.eval(), facts


def network_of(directory, best=False):
    """`pretrained.Network` of a run: photographs are scaled and cut to the size that it was trained at."""
    model, facts = load(directory, best=best)
    C, H, W = facts["image_shape"]
    if C != 3 or H != W:
        raise ValueError(f"{directory} was trained on images {C}×{H}×{W}; photographs are square crops of three channels")
    look = data.Preparation(shorter=H, crop=H, mean=tuple(facts["mean"]), deviation=tuple(facts["deviation"]))
    return pretrained.Network(model, look, tuple(facts["classes"]))
