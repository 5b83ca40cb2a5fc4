"""A training run from its settings: what `minivision train` and `minivision evaluate` do, as functions.

    settings = Settings(model="small-cnn", data="mnist", epochs=5)
    history = train(settings, "runs/mnist")
    evaluate("runs/mnist")                        {"loss": …, "accuracy": …}

Beside its checkpoints a run's folder holds settings.json, and in classifier.json or detector.json what it must remember of its
data, so that it can be resumed and evaluated without being told again.
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from minivision import checkpoint, classification_run, data, detection_run, models, optim, pretrained, transfer
from minivision.settings import DETECTORS, OPTIMISERS, read_settings
from minivision.train import fit


@dataclass(frozen=True)
class Prepared:
    """Settings turned into things: the model, its data, its optimiser and schedule."""

    model: models.Classifier
    train: data.Batches
    test: data.Batches
    optimiser: object                   # one of `optim`
    schedule: object
    classes: tuple
    facts: dict                         # what the run must remember of its data: see `found_facts` of either kind of run


def train(settings, directory, *, progress=True):
    """Start a run in a new directory; returns its history. See `train.fit` for what the directory then holds."""
    if checkpoint.latest(directory):
        raise ValueError(f"{directory} holds a training run already: resume it (--resume {directory}), "
                         "or choose another directory")
    prepared = prepare(settings)
    if settings.data not in (*data.sets.CLASSIFICATION, *data.sets.DETECTION):      # a folder: found from wherever it is resumed
        settings = replace(settings, data=str(Path(settings.data).resolve()))
    if settings.weights and Path(settings.weights).is_file():
        settings = replace(settings, weights=str(Path(settings.weights).resolve()))
    Path(directory).mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(facts_file(settings, directory), prepared.facts)
    checkpoint.write_json(Path(directory) / "settings.json", asdict(settings))
    return run(settings, prepared, directory, progress)


def resume(directory, *, device=None, progress=True):
    """Go on with a run that was stopped or killed, as if it never had been; returns the whole history.

    device: "cpu" or "gpu", if not the one the run began on; then the last bits may differ.
    """
    settings = read_settings(directory, device)
    detector, path = settings.model in DETECTORS, facts_file(settings, directory)
    facts = None
    if detector or path.is_file():
        facts = (detection_run if detector else classification_run).read_facts(directory)
    saved = checkpoint.weights_file(directory) if checkpoint.latest(directory) else None
    prepared = prepare(settings, facts, saved)
    if not facts:                       # a classifier's run of a version that did not write them yet
        checkpoint.write_json(path, prepared.facts)
    return run(settings, prepared, directory, progress)


def facts_file(settings, directory):
    return Path(directory) / (detection_run if settings.model in DETECTORS else classification_run).FACTS


def run(settings, prepared, directory, progress):
    p = prepared
    # The run's own generator: shuffling and augmentation do not depend on how many numbers the model drew.
    return fit(p.model, p.optimiser, p.train, p.test, epochs=settings.epochs, directory=directory, schedule=p.schedule,
               rng=np.random.default_rng([settings.seed, 1]), clip=settings.clip or None, resume=True, progress=progress,
               every=settings.every, picture=detection_run.picture_of(p) if settings.model in DETECTORS else None)


def evaluate(directory, *, data_name=None, best=False, device=None, mirror=False):
    """{"loss", "accuracy", "images", "images_per_second"} of a run's newest checkpoint on its test set.

    best: the weights that were best on the test set during training instead (an optimistic choice: they were picked
    by looking at it). data_name: another data set, of as many classes in the same order and images of the same shape;
    then the run's own need not be there. device: if not the run's own. mirror: each answer is the mean over the image and its
    mirror image; only where a mirrored image keeps its label.
    """
    if read_settings(directory).model in DETECTORS:
        raise ValueError(f"{directory} is a run of a detector: detection_run.evaluate_run({str(directory)!r})")
    model, settings, facts = classification_run.load(directory, best=best, device=device)
    batches = classification_run.exam(settings, facts, data_name)
    started = time.perf_counter()
    result = model.evaluate(batches, mirror)
    n = len(batches.dataset)
    return result | {"images": n, "images_per_second": n / (time.perf_counter() - started)}


def of_run(directory):
    """(model, (C,H,W) of its usual images) of a run of a classifier or a detector, with its newest weights."""
    if read_settings(directory).model in DETECTORS:
        model, _, facts = detection_run.load(directory, device="cpu")
        return model, (3, *(-(-side // model.stride) * model.stride for side in facts["size"]))
    model, _, facts = classification_run.load(directory)
    return model, tuple(facts["image_shape"])


def to_export(name, chosen=None, classes=None):
    """(model, (C,H,W)) of a published network, a darknet .cfg, or the folder of a run, each with what it has learned."""
    if Path(name).is_dir():
        if chosen or classes:
            raise ValueError(f"{name} is the folder of a run, which has weights of its own; leave out --weights and --names")
        return of_run(name)
    network = pretrained.load(name, chosen, classes=classes)
    look = network.prepare
    return network.model, (3, *(look.exact or (look.crop or look.shorter,) * 2))


def prepare(settings, facts=None, saved=None):
    """The model, data, optimiser and schedule that the settings describe. facts: what a run that goes on remembers of its data;
    saved: the file of its newest weights, if it has any yet."""
    s = settings
    if s.model in DETECTORS:
        learn, test, facts = detection_run.batches(s, facts)
        model = detection_run.build(s, facts).to(s.device)
        parameters = model.parameters()
    else:
        learn, test, facts = classification_run.batches(s, facts)
        model = classification_run.build(s, facts, saved).to(s.device)
        parameters = model.parameters() if s.body == 1 else transfer.groups(model, factor=s.body)
    return Prepared(model, learn, test, OPTIMISERS[s.optimiser](parameters, s), schedule_of(s, len(learn) * s.epochs),
                    tuple(facts["classes"]), facts)


def schedule_of(settings, steps):
    s = settings
    schedule = {"constant": optim.constant(), "cosine": optim.cosine(steps, s.warm_up),
                "step": optim.step_decay(max(1, -(-steps // 3)))}[s.schedule]
    return optim.warm_up(s.warm_up, schedule) if s.warm_up and s.schedule != "cosine" else schedule
