"""A training run from its settings: what `minivision train` and `minivision evaluate` do, as functions.

    settings = Settings(model="small-cnn", data="mnist", epochs=5)
    history = train(settings, "runs/mnist")
    evaluate("runs/mnist")                        {"loss": …, "accuracy": …}

A run's folder holds settings.json beside its checkpoints, so that it can be resumed and evaluated without being told again.
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from minivision import checkpoint, data, detection_run, models, optim, pretrained, transfer, zoo
from minivision.settings import ANY_SIZE, AUGMENTATIONS, DETECTORS, FIXED_SIZE, OPTIMISERS, read_settings
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
    facts: dict | None = None           # what a detector's run must remember of its data: see `detection_run.found_facts`


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
    if prepared.facts:
        checkpoint.write_json(Path(directory) / detection_run.FACTS, prepared.facts)
    checkpoint.write_json(Path(directory) / "settings.json", asdict(settings))
    return run(settings, prepared, directory, progress)


def resume(directory, *, device=None, progress=True):
    """Go on with a run that was stopped or killed, as if it never had been; returns the whole history.

    device: "cpu" or "gpu", if not the one the run began on; then the last bits may differ.
    """
    settings = read_settings(directory, device)
    facts = detection_run.read_facts(directory) if settings.model in DETECTORS else None
    return run(settings, prepare(settings, facts=facts, learned=checkpoint.latest(directory) is None), directory, progress)


def run(settings, prepared, directory, progress):
    p = prepared
    # The run's own generator: shuffling and augmentation do not depend on how many numbers the model drew.
    return fit(p.model, p.optimiser, p.train, p.test, epochs=settings.epochs, directory=directory, schedule=p.schedule,
               rng=np.random.default_rng([settings.seed, 1]), clip=settings.clip or None, resume=True, progress=progress,
               every=settings.every, picture=detection_run.picture_of(p) if p.facts else None)


def evaluate(directory, *, data_name=None, best=False, device=None, mirror=False):
    """{"loss", "accuracy", "images", "images_per_second"} of a run's newest checkpoint on its test set.

    best: the weights that were best on the test set during training instead (an optimistic choice: they were picked
    by looking at it). data_name: another data set with the same classes and image size. device: if not the run's own.
    mirror: each answer is the mean over the image and its mirror image; only where a mirrored image keeps its label.
    """
    settings = read_settings(directory, device)
    if settings.model in DETECTORS:
        raise ValueError(f"{directory} is a run of a detector: detection_run.evaluate_run({str(directory)!r})")
    prepared = prepare(settings, data_name, learned=False)
    checkpoint.load_newest(directory, prepared.model, best)
    started = time.perf_counter()
    result = prepared.model.evaluate(prepared.test, mirror)
    n = len(prepared.test.dataset)
    return result | {"images": n, "images_per_second": n / (time.perf_counter() - started)}


def network_of(directory, best=False):
    """`pretrained.Network` of a classifier's run: photographs are scaled and cut to the size that it was trained at."""
    settings = read_settings(directory, "cpu")
    if settings.model in DETECTORS:
        raise ValueError(f"{directory} is a run of a detector: minivision detect --run {directory}")
    prepared = prepare(settings, learned=False)
    C, H, W = prepared.train.dataset.image_shape
    if C != 3 or H != W:
        raise ValueError(f"{directory} was trained on images {C}×{H}×{W}; photographs are square crops of three channels")
    checkpoint.load_newest(directory, prepared.model, best)
    look = data.Preparation(shorter=H, crop=H, mean=tuple(prepared.train.mean), deviation=tuple(prepared.train.deviation))
    return pretrained.Network(prepared.model.eval(), look, tuple(prepared.classes))


def of_run(directory):
    """(model, (C,H,W) of its usual images) of a run of a classifier or a detector, with its newest weights."""
    settings = read_settings(directory, "cpu")
    if settings.model in DETECTORS:
        model, _, facts = detection_run.load(directory, device="cpu")
        return model, (3, *(-(-side // model.stride) * model.stride for side in facts["size"]))
    prepared = prepare(settings, learned=False)
    checkpoint.load_newest(directory, prepared.model)
    return prepared.model.eval(), prepared.train.dataset.image_shape


def to_export(name, chosen=None, classes=None):
    """(model, (C,H,W)) of a published network, a darknet .cfg, or the folder of a run, each with what it has learned."""
    if Path(name).is_dir():
        if chosen or classes:
            raise ValueError(f"{name} is the folder of a run, which has weights of its own; leave out --weights and --names")
        return of_run(name)
    network = pretrained.load(name, chosen, classes=classes)
    look = network.prepare
    return network.model, (3, *(look.exact or (look.crop or look.shorter,) * 2))


def prepare(settings, data_name=None, facts=None, learned=True):
    """The model, data, optimiser and schedule that the settings describe. learned: with the weights that they name; False where
    those of a checkpoint will follow, so that a run does not need the file that it began with any more."""
    s = settings
    if s.model in DETECTORS:
        learn, test, facts = detection_run.batches(s, facts)
        model = detection_run.build(s, facts).to(s.device)
        return Prepared(model, learn, test, OPTIMISERS[s.optimiser](model.parameters(), s), schedule_of(s, len(learn) * s.epochs),
                        tuple(facts["classes"]), facts)
    learn, test = data.load(s.data, size=s.size or None)
    mean, deviation = statistics(s, learn)
    if data_name:
        test = data.load(data_name, size=s.size or None)[1]
        if test.image_shape != learn.image_shape or len(test.classes) != len(learn.classes):
            raise ValueError(f"{data_name} has images {test.image_shape} of {len(test.classes)} classes; the run was trained on "
                             f"{learn.image_shape} of {len(learn.classes)}")
    model = build(s, learn.image_shape, len(learn.classes), learned).to(s.device)
    augment = [name for name in s.augment.split(",") if name]
    mix = (lambda images, labels, rng: data.mixup(images, labels, len(learn.classes), rng)) if "mixup" in augment else None
    batches = data.Batches(learn, s.batch_size, mean=mean, deviation=deviation, mix=mix,
                           augment=[AUGMENTATIONS[name] for name in augment if name != "mixup"])
    parameters = model.parameters() if s.body == 1 else transfer.groups(model, factor=s.body)
    return Prepared(model, batches, data.Batches(test, 256, mean=mean, deviation=deviation),
                    OPTIMISERS[s.optimiser](parameters, s), schedule_of(s, len(batches) * s.epochs), learn.classes)


def statistics(settings, learn):
    """(mean, deviation) of the pixels: those of the training set, or where the network begins with weights, those of the published
    network (a file of one's own is taken to be like it; of ResNet-20 and 56, to have seen ImageNet's statistics)."""
    if settings.weights:
        look = zoo.published(settings.model).prepare if settings.model in zoo.PUBLISHED else zoo.PHOTO
        return look.mean, look.deviation
    return data.statistics(learn.take(np.arange(min(len(learn), 10_000)))[0])


def schedule_of(settings, steps):
    s = settings
    schedule = {"constant": optim.constant(), "cosine": optim.cosine(steps, s.warm_up),
                "step": optim.step_decay(max(1, -(-steps // 3)))}[s.schedule]
    return optim.warm_up(s.warm_up, schedule) if s.warm_up and s.schedule != "cosine" else schedule


def build(settings, image_shape, classes, learned=True):
    """The network, new or with the weights that the settings name and a new last layer."""
    s, (C, H, W) = settings, image_shape
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
