"""Published networks: where their weights are, how their images are prepared, what their classes are called."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minivision import models
from minivision.data import names
from minivision.data.download import fetch
from minivision.data.preparation import Preparation
from minivision.data.published import data_home
from minivision.detection.default_boxes import SSD300_COCO
from minivision.models.darknet import Darknet
from minivision.nn import BatchNorm2d

TORCH = "https://download.pytorch.org/models/"
FASTEST = "https://raw.githubusercontent.com/dog-qiuqiu/Yolo-Fastest/"
WORDS = ("https://raw.githubusercontent.com/Tencent/ncnn/b1d2cea21dfc600e831983763b515911d7c0e6d3/examples/synset_words.txt",
         "sha256:ae3fba5fcc74d2c0b6db492b24c55c211358613c02bebc7a3ceab574a153231f")
PHOTO = Preparation(shorter=256, crop=224)
HALVES = Preparation(shorter=256, crop=224, mean=(0.5,) * 3, deviation=(0.5,) * 3)          # GoogLeNet came from TensorFlow


@dataclass(frozen=True)
class Published:
    """One network with one set of weights.

    build       (classes=…) → model; of a darknet network, (path of its .cfg) → model
    files       (address, checksum) of the weights, and of what else it needs; a checksum may be the beginning of one
    prepare     how its images are prepared; None for darknet, whose .cfg has the size
    classes     their names; None: in the file synset_words.txt
    rules       whose names the weights have (`weights.translate.RULES`)
    """

    build: object
    files: tuple
    prepare: Preparation | None = PHOTO
    classes: tuple | None = None
    rules: str | None = None
    task: str = "classify"
    about: str = ""


def imagenet(build, file, about, rules=None, prepare=PHOTO):
    return {"imagenet": Published(build, (torch_file(file), WORDS), prepare, rules=rules, about=f"ImageNet, 1000 classes, {about}")}


def torch_file(name):
    """torchvision's files have the beginning of their checksum in their names."""
    return TORCH + name, f"sha256:{name.removesuffix('.pth').rpartition('-')[2]}"


def yolo_fastest(commit, name, cfg, numbers, about):
    base = f"{FASTEST}{commit}/ModelZoo/yolo-fastest-1.1_coco/{name}"
    files = ((f"{base}.weights", f"sha256:{numbers}"), (f"{base}.cfg", f"sha256:{cfg}"))
    return {"coco": Published(Darknet, files, None, names.COCO, task="detect", about=about)}


def torchvision_faster_rcnn(classes=90):
    """The published weights were trained with batch norms that are never updated and have no eps."""
    model = models.faster_rcnn_resnet50_fpn(classes)
    for _, module in model.named_modules():
        if isinstance(module, BatchNorm2d):
            module.eps = 0.0
    return model


PUBLISHED = {
    "alexnet": imagenet(models.alexnet, "alexnet-owt-7be5be79.pth", "56.5 % right, 244 MB"),
    "vgg11": imagenet(models.vgg11, "vgg11-8a719046.pth", "69.0 %, 531 MB"),
    "vgg16": imagenet(models.vgg16, "vgg16-397923af.pth", "71.6 %, 553 MB"),
    "googlenet": imagenet(partial(models.googlenet, largest=3), "googlenet-1378be20.pth", "69.8 %, 52 MB", "googlenet", HALVES),
    "resnet18": imagenet(models.resnet18, "resnet18-f37072fd.pth", "69.8 %, 47 MB"),
    "resnet34": imagenet(models.resnet34, "resnet34-b627a593.pth", "73.3 %, 87 MB"),
    "resnet50": imagenet(models.resnet50, "resnet50-0676ba61.pth", "76.1 %, 103 MB"),
    "densenet121": imagenet(models.densenet121, "densenet121-a639ec97.pth", "74.4 %, 32 MB", "densenet121"),
    "squeezenet1_1": imagenet(models.squeezenet1_1, "squeezenet1_1-b8a52dc0.pth", "58.2 %, 5 MB"),
    "mobilenet_v2": imagenet(models.mobilenet_v2, "mobilenet_v2-b0353104.pth", "71.9 %, 14 MB"),
    "fasterrcnn_resnet50_fpn": {"coco": Published(
        torchvision_faster_rcnn, (torch_file("fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"),),
        Preparation(shorter=800, longest=1333, smooth=False), names.COCO_BY_ID, "fasterrcnn_resnet50_fpn", "detect",
        "COCO, AP 37.0, 167 MB")},
    "ssd300_vgg16": {"coco": Published(
        partial(models.ssd300_vgg16, classes=90, levels=SSD300_COCO), (torch_file("ssd300_vgg16_coco-b556d3b4.pth"),),
        Preparation(exact=(300, 300), smooth=False, mean=(0.48235, 0.45882, 0.40784), deviation=(1 / 255,) * 3), names.COCO_BY_ID,
        "ssd300_vgg16", "detect", "COCO, AP 25.1, 143 MB")},
    "yolo-fastest": yolo_fastest("99d03d0f26e2555275bdb30f43479d47cc19311f", "yolo-fastest-1.1",
                                 "f6df5775c1e862998cf69046eba9265be3ae84dfe8b2caab7529823f0795bf70",
                                 "1c445c42bbd6df63edea2cc69f99667b5650d663ca11e34b116240740cd42890", "COCO, version 1.1, 1.4 MB"),
    "yolo-fastest-xl": yolo_fastest("9c62b1c50e024fb73d29a651133b1d63548e63a1", "yolo-fastest-1.1-xl",
                                    "c458427acc4fbeabceff4528ef7b65b066c0308ce599460f8ba299eba63abad3",
                                    "fac5fb41786c1f38f04972a658443b189f48720d7d117f9a044100e98a35b0c5", "COCO, version XL, 3.7 MB"),
}


def weights_home():
    return data_home() / "weights"


def published(name, chosen=None):
    """The `Published` of a network and a set of weights (by default its first). ValueError lists what there is."""
    if name not in PUBLISHED:
        raise ValueError(f"no published network is called {name!r}; there are {', '.join(PUBLISHED)}")
    sets = PUBLISHED[name]
    chosen = chosen or next(iter(sets))
    if chosen not in sets:
        raise ValueError(f"{name} has no weights {chosen!r}, neither a file nor one of {', '.join(sets)}")
    return sets[chosen]


def get(name, chosen=None, home=None, *, base=None, progress=True):
    """Download what a published network needs into `home` (by default weights/ in the data folder); returns the files' paths.
    base: another server with the same files. What is there already is checked, and not asked for again."""
    home = Path(home or weights_home())
    return [fetch(url if base is None else f"{base.rstrip('/')}/{file_of(url)}", home / file_of(url), checksum, progress=progress)
            for url, checksum in published(name, chosen).files]


def file_of(url):
    return url.rpartition("/")[2]
