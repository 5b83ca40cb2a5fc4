"""Everything that decides a training run, as one checked value."""

from dataclasses import dataclass, fields
from pathlib import Path

from minivision import checkpoint, data, models, optim
from minivision.data import box_transforms

FIXED_SIZE = {"small-cnn": models.SmallCNN, "linear": models.LinearClassifier, "three-conv": models.ThreeConvCNN}
ANY_SIZE = {name: getattr(models, name) for name in (
    "resnet9", "resnet20", "resnet56", "resnet18", "resnet34", "resnet50", "se_resnet18", "se_resnet50", "alexnet", "vgg11",
    "vgg16", "googlenet", "densenet121", "squeezenet1_1", "mobilenet_v2")}
CLASSIFIERS = FIXED_SIZE | ANY_SIZE
OPTIMISERS = {
    "sgd": lambda p, s: optim.SGD(p, s.lr, momentum=s.momentum, weight_decay=s.weight_decay),
    "nesterov": lambda p, s: optim.SGD(p, s.lr, momentum=s.momentum, nesterov=True, weight_decay=s.weight_decay),
    "adam": lambda p, s: optim.Adam(p, s.lr, weight_decay=s.weight_decay),
    "adamw": lambda p, s: optim.AdamW(p, s.lr, weight_decay=s.weight_decay),
}
DETECTORS = ("ssd", "yolo", "yolo-v1", "faster-rcnn")
AUGMENTATIONS = {"flip": data.random_flip, "crop": data.random_crop, "rotate": data.random_rotate, "zoom": data.random_zoom,
                 "colour": data.random_colour, "cutout": data.cutout, "mixup": data.mixup}
BOX_AUGMENTATIONS = {"flip": box_transforms.random_flip, "turn": box_transforms.random_turn, "crop": box_transforms.random_crop,
                     "expand": box_transforms.random_expand, "colour": box_transforms.colour}
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
    size: int = 0                   # pixels, for folders of photos; detectors: of the shorter side, 0 is as it is, at most 256
    seed: int = 0
    device: str = "cpu"             # or "gpu"
    # of classifiers alone
    weights: str = ""               # to begin with: "imagenet", or a file; the last layer is always new
    freeze: bool = False            # of a network that begins with `weights`, only the last layer learns
    body: float = 1.0               # factor of the learning rate below the last layer
    # of detectors alone
    split: str = ""                 # to learn from; "" looks for train
    validation: str = ""            # looks for val, then test; where there is no split, every fifth image is held out
    priors: int = 0                 # of YOLO: this many, found by k-means in the training set; 0 takes general ones
    every: int = 1                  # epochs between two validations with pictures
    mend: bool = False              # leave out what is wrong in the annotations instead of stopping

    @staticmethod
    def recommended(model, **given):
        """Settings that suit a model, and over them what is `given`."""
        return Settings(**RECOMMENDED.get(model, {}) | {"model": model} | given)

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not field.type and not (field.type is float and type(value) is int):
                raise ValueError(f"{field.name} is {value!r}; expected {field.type.__name__}")
        for name, choices in (("model", (*CLASSIFIERS, *DETECTORS)), ("optimiser", OPTIMISERS), ("schedule", SCHEDULES),
                              ("device", ("cpu", "gpu"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; there are {', '.join(choices)}")
        known = BOX_AUGMENTATIONS if self.model in DETECTORS else AUGMENTATIONS
        for name in filter(None, self.augment.split(",")):
            if name not in known:
                raise ValueError(f"augment has {name!r}; there are {', '.join(known)}")
        for name, least in (("epochs", 1), ("batch_size", 1), ("every", 1), ("seed", 0), ("warm_up", 0), ("clip", 0), ("size", 0),
                            ("priors", 0)):
            if not least <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {least}")
        idle = (("smoothing", "weights", "freeze") if self.model in DETECTORS else ("split", "validation", "priors", "mend"))
        idle += ("priors",) if self.model in DETECTORS and self.model != "yolo" else ()
        if told := [name for name in idle if getattr(self, name)]:
            raise ValueError(f"{told[0]} is {getattr(self, told[0])!r}, and means nothing to {self.model}; leave it out")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr is {self.lr}; expected a number > 0")
        if self.freeze and not self.weights:
            raise ValueError("freeze goes with weights: a body that has learned nothing yet has no features to offer")
        if not 0 < self.body <= 1 or (self.body < 1 and (self.freeze or self.model in DETECTORS)):
            raise ValueError(f"body is {self.body}; expected a factor, 0 < body ≤ 1, for a classifier whose body learns")
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing is {self.smoothing}; expected 0 ≤ smoothing < 1")


FOR_DETECTORS = {"data": "scenes", "epochs": 40, "batch_size": 8, "optimiser": "adamw", "lr": 0.003, "weight_decay": 0.0005,
                 "warm_up": 100, "clip": 10.0, "augment": "flip,crop,expand"}
RECOMMENDED = {"ssd": FOR_DETECTORS, "yolo": FOR_DETECTORS | {"priors": 9}, "yolo-v1": FOR_DETECTORS, "faster-rcnn": FOR_DETECTORS}


def read_settings(directory, device=None):
    path = Path(directory) / "settings.json"
    values = checkpoint.read_json(path)
    unknown = set(values) - {f.name for f in fields(Settings)} if isinstance(values, dict) else {"not an object"}
    if unknown:
        raise ValueError(f"{path}: not the settings of a run: {', '.join(sorted(unknown))}")
    try:
        return Settings(**values | ({"device": device} if device else {}))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
