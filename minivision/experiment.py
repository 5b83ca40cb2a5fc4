"""A training run from its settings: what `minivision train` and `minivision evaluate` do, as functions.

    settings = Settings(model="small-cnn", data="mnist", epochs=5)
    history = train(settings, "runs/mnist")
    evaluate("runs/mnist")                        {"loss": …, "accuracy": …}

A run's folder holds settings.json beside its checkpoints, so that it can be resumed and evaluated without being told again.
"""

import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from minivision import checkpoint, data, models, optim
from minivision.train import fit
from minivision.weights import load as load_weights

MODELS = {"small-cnn": models.SmallCNN, "linear": models.LinearClassifier, "three-conv": models.ThreeConvCNN,
          "resnet20": models.resnet20, "resnet56": models.resnet56, "resnet18": models.resnet18, "resnet34": models.resnet34}
OPTIMISERS = {
    "sgd": lambda p, s: optim.SGD(p, s.lr, momentum=s.momentum, weight_decay=s.weight_decay),
    "nesterov": lambda p, s: optim.SGD(p, s.lr, momentum=s.momentum, nesterov=True, weight_decay=s.weight_decay),
    "adam": lambda p, s: optim.Adam(p, s.lr, weight_decay=s.weight_decay),
    "adamw": lambda p, s: optim.AdamW(p, s.lr, weight_decay=s.weight_decay),
}
AUGMENTATIONS = {"flip": data.random_flip, "crop": data.random_crop}
SCHEDULES = ("constant", "cosine", "step")


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run. Checked when made."""

    model: str = "small-cnn"
    data: str = "digits"
    epochs: int = 10
    batch_size: int = 64
    optimiser: str = "sgd"
    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"        # constant; cosine to 0; step: ×0.1 after each third
    warm_up: int = 0                # steps
    clip: float = 0.0               # largest gradient norm; 0 is none
    smoothing: float = 0.0          # of the labels
    augment: str = ""               # "flip,crop"
    size: int = 0                   # pixels, for folders of photos
    seed: int = 0
    device: str = "cpu"             # or "gpu"

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not field.type and not (field.type is float and type(value) is int):
                raise ValueError(f"{field.name} is {value!r}; expected {field.type.__name__}")
        for name, choices in (("model", MODELS), ("optimiser", OPTIMISERS), ("schedule", SCHEDULES), ("device", ("cpu", "gpu"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; there are {', '.join(choices)}")
        for name in filter(None, self.augment.split(",")):
            if name not in AUGMENTATIONS:
                raise ValueError(f"augment has {name!r}; there are {', '.join(AUGMENTATIONS)}")
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("warm_up", 0), ("clip", 0), ("size", 0)):
            if not least <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr is {self.lr}; expected a number > 0")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing is {self.smoothing}; expected 0 ≤ smoothing < 1")


@dataclass(frozen=True)
class Prepared:
    """Settings turned into things: the model, its data, its optimiser and schedule."""

    model: models.Classifier
    train: data.Batches
    test: data.Batches
    optimiser: optim.SGD
    schedule: object
    classes: tuple


def train(settings, directory, *, progress=True):
    """Start a run in a new directory; returns its history. See `train.fit` for what the directory then holds."""
    if checkpoint.latest(directory):
        raise ValueError(f"{directory} holds a training run already: resume it (--resume {directory}), "
                         "or choose another directory")
    prepared = prepare(settings)
    if settings.data not in data.sets.CLASSIFICATION:                # a folder: found again from wherever the run is resumed
        settings = replace(settings, data=str(Path(settings.data).resolve()))
    Path(directory).mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(Path(directory) / "settings.json", asdict(settings))
    return run(settings, prepared, directory, progress)


def resume(directory, *, device=None, progress=True):
    """Go on with a run that was stopped or killed, as if it never had been; returns the whole history.

    device: "cpu" or "gpu", if not the one the run began on; then the last bits may differ.
    """
    settings = read_settings(directory, device)
    return run(settings, prepare(settings), directory, progress)


def run(settings, prepared, directory, progress):
    p = prepared
    # The run's own generator: shuffling and augmentation do not depend on how many numbers the model drew.
    return fit(p.model, p.optimiser, p.train, p.test, epochs=settings.epochs, directory=directory, schedule=p.schedule,
               rng=np.random.default_rng([settings.seed, 1]), clip=settings.clip or None, resume=True, progress=progress)


def evaluate(directory, *, data_name=None, best=False, device=None):
    """{"loss", "accuracy", "images", "images_per_second"} of a run's newest checkpoint on its test set.

    best: the weights that were best on the test set during training instead (an optimistic choice: they were picked
    by looking at it). data_name: another data set with the same classes and image size. device: if not the run's own.
    """
    settings = read_settings(directory, device)
    prepared = prepare(settings, data_name)
    load_newest(directory, prepared.model, best)
    started = time.perf_counter()
    result = prepared.model.evaluate(prepared.test)
    n = len(prepared.test.dataset)
    return result | {"images": n, "images_per_second": n / (time.perf_counter() - started)}


def load_newest(directory, model, best=False):
    newest = checkpoint.latest(directory)
    if best:
        load_weights(model, Path(directory) / "best.safetensors")
    elif newest:
        checkpoint.load(newest, model)
    else:
        raise FileNotFoundError(f"{directory}: no checkpoint here")


def prepare(settings, data_name=None):
    """The model, data, optimiser and schedule that the settings describe."""
    s = settings
    learn, test = data.load(s.data, size=s.size or None)
    mean, deviation = data.statistics(learn.take(np.arange(min(len(learn), 10_000)))[0])
    if data_name:
        test = data.load(data_name, size=s.size or None)[1]
        if test.image_shape != learn.image_shape or len(test.classes) != len(learn.classes):
            raise ValueError(f"{data_name} has images {test.image_shape} of {len(test.classes)} classes; the run was "
                             f"trained on {learn.image_shape} of {len(learn.classes)}")
    model = build(s, learn.image_shape, len(learn.classes)).to(s.device)
    batches = data.Batches(learn, s.batch_size, mean=mean, deviation=deviation,
                           augment=[AUGMENTATIONS[name] for name in filter(None, s.augment.split(","))])
    steps = len(batches) * s.epochs
    schedule = {"constant": optim.constant(), "cosine": optim.cosine(steps, s.warm_up),
                "step": optim.step_decay(max(1, -(-steps // 3)))}[s.schedule]
    if s.warm_up and s.schedule != "cosine":
        schedule = optim.warm_up(s.warm_up, schedule)
    return Prepared(model, batches, data.Batches(test, 256, mean=mean, deviation=deviation),
                    OPTIMISERS[s.optimiser](model.parameters(), s), schedule, learn.classes)


def build(settings, image_shape, classes):
    C, H, W = image_shape
    rng = np.random.default_rng([settings.seed, 0])
    if settings.model.startswith("resnet"):
        if C != 3:
            raise ValueError(f"{settings.model} takes colour images; {settings.data} has {C} channel(s)")
        model = MODELS[settings.model](classes, rng=rng)
    else:
        if H != W:
            raise ValueError(f"{settings.model} takes square images; {settings.data} has {H}×{W}")
        model = MODELS[settings.model](classes, channels=C, size=H, rng=rng)
    model.smoothing = settings.smoothing
    return model


def read_settings(directory, device=None):
    path = Path(directory) / "settings.json"
    values = checkpoint.read_json(path)
    unknown = set(values) - {f.name for f in fields(Settings)} if isinstance(values, dict) else {"not an object"}
    if unknown:
        raise ValueError(f"{path}: not the settings of a run: {', '.join(sorted(unknown))}")
    return Settings(**values | ({"device": device} if device else {}))
