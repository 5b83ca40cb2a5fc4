"""Networks that have learned already, ready to use on photographs.

    network = load("resnet18")                              weights that `zoo.get` downloaded
    network = load("yolo-fastest", "coco")
    network = load("resnet18", "my.safetensors")            or .pth, .npz; load("net.cfg", "net.weights") for darknet
    network.classify(image)    [(class, probability)]       network.detect(image)    Detections in the image's pixels
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minivision import checkpoint, draw, nn, weights
from minivision.answering import images_in, picture_names, write_detections
from minivision.backend import as_rng
from minivision.data.images import read_image
from minivision.data.preparation import Preparation
from minivision.models.darknet import Darknet
from minivision.tensor import Tensor
from minivision.transfer import last_layer
from minivision.zoo import PUBLISHED, file_of, published, weights_home


@dataclass(frozen=True)
class Network:
    """A model with what it takes to use it on photographs."""

    model: nn.Module
    prepare: Preparation
    classes: tuple

    def must(self, what, command):
        if not hasattr(self.model, what):
            raise ValueError(f"{type(self.model).__name__} does not do that; use minivision {command}")

    def classify(self, image, most=5):
        """[(class, probability)] of a uint8 RGB image (3,H,W), the likeliest first."""
        self.must("probabilities", "detect")
        p = self.model.probabilities(self.prepare(image)[None])[0]
        return [(self.classes[k], float(p[k])) for k in np.argsort(-p, kind="stable")[:most]]

    def detect(self, image):
        """`Detections` of a uint8 RGB image (3,H,W) in its own pixels, the surest first."""
        self.must("detect", "classify")
        return self.prepare.back(self.model.detect(self.prepare(image)[None])[0], image.shape[1:])

    def folded(self):
        """The same with every batch norm inside the convolution before it (`nn.fold`): the same answers, sooner. An image of
        noise shows which layer follows which; all our networks take the same way for every image."""
        side = self.prepare.exact or (self.prepare.crop or 64,) * 2
        noise = as_rng(0).standard_normal((1, 3, *side), dtype=np.float32)
        run = (lambda model: model.detect(noise)) if hasattr(self.model, "detect") else lambda model: model(Tensor(noise))
        return replace(self, model=nn.fold(self.model, run))


def new(name, classes=None):
    """(model, (H,W) of its usual images) of a network by its name, with new weights: published, or of `settings`, or a .cfg."""
    from minivision.settings import CLASSIFIERS
    if Path(name).suffix == ".cfg":
        if classes is not None:
            raise ValueError(f"{name} says itself how many classes there are; leave out --classes")
        model = Darknet(name)
        return model, model.image_size
    if name in PUBLISHED:
        entry = published(name)
        if entry.prepare is None:                           # darknet: the network is described in a file as well
            return new(str(here(entry.files[1][0], name, weights_home())), classes)
        model = entry.build() if classes is None else entry.build(classes=classes)
        return model, entry.prepare.exact or ((entry.prepare.crop or entry.prepare.shorter),) * 2
    small = {"small-cnn": 32, "linear": 8, "three-conv": 224, "resnet9": 32, "resnet20": 32, "resnet56": 32}
    if name not in CLASSIFIERS:
        raise ValueError(f"no network is called {name!r}; there are {', '.join(dict.fromkeys([*CLASSIFIERS, *PUBLISHED]))}, or a "
                         "darknet .cfg")
    side, more = small.get(name, 224), {} if classes is None else {"classes": classes}
    more |= {"channels": 3, "size": side} if name in ("small-cnn", "linear", "three-conv") else {}
    return CLASSIFIERS[name](**more), (side, side)


def load(name, chosen=None, *, classes=None, home=None):
    """A `Network` in evaluation mode.

    name        of a published network, or the path of a darknet .cfg
    chosen      which weights: a name such as imagenet or coco, or a file (.safetensors, .npz, .pth, .weights)
    classes     names of the weights' classes, or a file with one a line, where they are not the published ones

    FileNotFoundError says how to get what is missing; ValueError names every tensor that does not fit.
    """
    classes = read_names(classes) if isinstance(classes, (str, Path)) else classes and tuple(classes)
    if Path(name).suffix == ".cfg":
        if not chosen:
            raise ValueError(f"{name}: say which weights: --weights FILE.weights")
        return darknet(name, chosen, classes)
    own_file = chosen is not None and chosen not in PUBLISHED.get(name, {}) and Path(chosen).suffix
    entry = published(name, None if own_file else chosen)
    if own_file and not Path(chosen).is_file():
        raise FileNotFoundError(f"{chosen}: no such file")
    first, *others = (url for url, _ in entry.files)
    home = home or weights_home()
    paths = [Path(chosen) if own_file else here(first, name, home), *(Path(home) / file_of(url) for url in others)]
    if entry.prepare is None:
        return darknet(here(others[0], name, home), paths[0], classes or entry.classes)
    model = fitting(entry.build, paths[0], entry.rules)
    K = len(last_layer(model)[1].weight.data) if entry.task == "classify" else model.classes
    if classes is None:
        classes = entry.classes or imagenet_names(paths[1])
        classes = classes if len(classes) == K else tuple(f"class {k}" for k in range(K))
    if len(classes) != K:
        raise ValueError(f"{paths[0]}: weights of {K} classes, and {len(classes)} names for them")
    return Network(model.eval(), entry.prepare, classes)


def fitting(build, path, rules=None):
    """The network that `build` makes, with the weights of a file, and with as many classes as they are of. (Of GoogLeNet there are
    two kinds; see `Inception`.)"""
    state = weights.translated(weights.read(path), rules)
    if (branch := state.get("inception3a.branch3.1.conv.weight")) is not None and branch.ndim == 4:
        build = partial(build, largest=int(branch.shape[-1]))
    model = build()
    name, head = last_layer(model)
    found = state.get(f"{name}.weight")
    if not hasattr(model, "detect") and found is not None and found.ndim > 1 and len(found) != len(head.weight.data):
        model = build(classes=len(found))
    try:
        model.load_state(state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return model


def here(url, name, home):
    """The path of a downloaded file; FileNotFoundError says how to get it."""
    path = Path(home) / file_of(url)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; get it with: minivision weights get {name}")
    return path


def darknet(cfg, numbers, classes):
    model = Darknet(cfg)
    weights.load_darknet(model, numbers)
    classes = classes or tuple(f"class {k}" for k in range(model.classes))
    if len(classes) != model.classes:
        raise ValueError(f"{cfg}: {model.classes} classes, and {len(classes)} names for them")
    prepare = Preparation(exact=model.image_size, smooth=False, whole=True, mean=(0, 0, 0), deviation=(1, 1, 1))
    return Network(model.eval(), prepare, classes)


def imagenet_names(path):
    """The 1000 names, shortened to the first of each group of synonyms; numbers where the file is not there."""
    if path.is_file():
        return tuple(line.partition(" ")[2].split(",")[0] for line in read_names(path))
    return tuple(f"ImageNet class {k}" for k in range(1000))


def read_names(path):
    """One name a line."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        found = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file") from None
    if not found:
        raise ValueError(f"{path}: holds no names")
    return found


def detect_files(network, paths, out, *, least=0.3, progress=True):
    """Draw what a `Network` finds in images and folders of images, and write it as JSON, into the folder `out`; returns (objects,
    images)."""
    network.must("detect", "classify")
    return write_detections(paths, out, lambda files: looked(network.folded().detect, files, progress), network.classes, least)


def looked(look, files, progress):
    """(image, answer) of each image file."""
    for path in tqdm(files, disable=not progress, unit="image"):
        image = read_image(path)
        yield image, look(image)


def classify_files(network, paths, out=None, *, most=5, progress=True):
    """[(path, [(class, probability)])] of images and folders of images; with a folder `out` also a picture of each and
    classes.json."""
    if most < 1:
        raise ValueError(f"top is {most}; expected at least 1")
    network.must("probabilities", "detect")
    files = images_in(paths)
    pictures, found, network = picture_names(files, out) if out else [None] * len(files), [], network.folded()
    for path, picture, (image, answers) in zip(files, pictures, looked(lambda x: network.classify(x, most), files, progress)):
        found.append((path, answers))
        if out:
            Path(out).mkdir(parents=True, exist_ok=True)
            draw.answers(image, answers).savefig(Path(out) / picture)
    if out:
        checkpoint.write_json(Path(out) / "classes.json", [{"image": str(path), "classes": [{"class": c, "probability": round(p, 5)}
                                                            for c, p in answers]} for path, answers in found])
    return found
