"""What is measured: training steps, inference, and single layers, each as a pair (ours, PyTorch's) of functions to call.

Every pair does the same arithmetic on float32 arrays of the same shapes. PyTorch's networks are written as its users
write them: `nn.Sequential`, ReLU in place, `zero_grad()` that forgets, SGD with momentum.
"""

from typing import NamedTuple

import numpy as np


class Workload(NamedTuple):
    """A pair of programs. `flop`: multiplications and additions (or comparisons) of a direct computation; `bytes`: what it must
    at least read and write; 0 where that is not a number worth quoting."""

    name: str
    ours: object                # device -> f
    torch: object               # device -> f
    flop: float = 0
    bytes: float = 0


def images(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def classes_of(n, classes):
    return np.random.default_rng(1).integers(0, classes, n)


def on(device, *arrays):
    from minivision import to_device
    return [to_device(a, device) for a in arrays]


def tensors(device, *arrays):
    import torch
    return [torch.tensor(a, device="cuda" if device == "gpu" else "cpu") for a in arrays]


def ours_training(make, shape, classes):
    def start(device):
        from minivision import optim
        model = make().to(device)
        optimiser = optim.SGD(model.parameters(), 0.001, momentum=0.9)
        x, labels = on(device, images(*shape), classes_of(shape[0], classes))

        def step():
            optimiser.zero_grad()
            loss = model.loss(x, labels)["cross_entropy"]
            loss.backward()
            optimiser.step()
            return loss.item()

        return step
    return start


def torch_training(make, shape, classes):
    def start(device):
        import torch
        model = make().to("cuda" if device == "gpu" else "cpu")
        optimiser = torch.optim.SGD(model.parameters(), 0.001, momentum=0.9)
        x, labels = tensors(device, images(*shape), classes_of(shape[0], classes))

        def step():
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x), labels)
            loss.backward()
            optimiser.step()
            return loss.item()

        return step
    return start


def small_cnn():
    from minivision.models import SmallCNN
    return SmallCNN()


def torch_small_cnn():
    from torch import nn
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(64 * 8 * 8, 128), nn.ReLU(), nn.Linear(128, 10))


def three_conv():
    from minivision.models import ThreeConvCNN
    return ThreeConvCNN()


def torch_three_conv():
    from torch import nn
    layers = [layer for i, o in ((3, 32), (32, 64), (64, 128)) for layer in (nn.Conv2d(i, o, 3), nn.ReLU(), nn.MaxPool2d(2))]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 26 * 26, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 10))


def resnet20():
    from minivision.models import resnet20
    return resnet20()


def torch_resnet20():
    from benchmarks.torch_resnet import resnet20
    return resnet20()


def resnet18():
    from minivision.models import resnet18
    return resnet18()


def torch_resnet18():
    from benchmarks.torch_resnet import resnet18
    return resnet18()


def inference(name, ours, torch, shape):
    """Scores or raw maps of one image (1,3,H,W) in evaluation: ours with its batch norms folded into the convolutions (`nn.fold`),
    as `minivision classify` and `detect` use it; PyTorch's as its users write it, in `inference_mode`."""
    x = np.random.default_rng(0).random(shape, dtype=np.float32)

    def start(device):
        from minivision import Tensor, nn, no_grad
        model, (image,) = nn.fold(ours(), lambda m: m(Tensor(x))).to(device), on(device, x)

        def infer():
            with no_grad():
                return model(Tensor(image))
        return infer

    def torch_start(device):
        import torch as library
        model, (image,) = torch().eval().to("cuda" if device == "gpu" else "cpu"), tensors(device, x)

        def infer():
            with library.inference_mode():
                return model(image)
        return infer

    return Workload(f"inference, {name}, batch 1", start, torch_start)


def detection(title, name, H, W):
    """A published detector from the pixels of one photograph to its boxes, with the same random weights as torchvision's, so that
    both have as much to suppress."""
    photo = np.random.default_rng(0).integers(0, 256, (3, H, W), dtype=np.uint8)

    def theirs():
        import torch
        from torchvision.models import detection as published
        torch.manual_seed(0)
        return vars(published)[name](weights=None, weights_backbone=None).eval()

    def ours(device):
        from minivision import pretrained, weights, zoo
        entry = zoo.PUBLISHED[name]["coco"]
        model = entry.build()
        model.load_state(weights.translated({k: v.detach().numpy() for k, v in theirs().state_dict().items()}, name))
        network = pretrained.Network(model.eval(), entry.prepare, entry.classes).folded()
        network.model.to(device)
        return lambda: network.detect(photo)

    def torch(device):
        import torch
        model, image = theirs(), torch.tensor(photo) / 255
        where = "cuda" if device == "gpu" else "cpu"
        model, image = model.to(where), image.to(where)

        def detect():
            with torch.inference_mode():
                return model([image])
        return detect

    return Workload(f"inference, {title}, batch 1", ours, torch)


def our_network(name):
    def make():
        from minivision import models
        return vars(models)[name]()
    return make


def their_network(name):
    def make():
        import torchvision
        return vars(torchvision.models)[name](weights=None)
    return make


def our_yolo_fastest():
    from minivision import pretrained
    return pretrained.load("yolo-fastest").model


def torch_yolo_fastest():
    from benchmarks.torch_darknet import Darknet
    from minivision import zoo
    return Darknet(zoo.weights_home() / "yolo-fastest-1.1.cfg")


def convolution(N, C, H):
    arrays, dy = (images(N, C, H, H), images(C, C, 3, 3, seed=1), images(C, seed=2)), images(N, C, H, H, seed=3)

    def ours(device):
        from minivision import ops, vjp
        *inputs, slope = on(device, *arrays, dy)

        def f():
            y, backward = vjp(ops.conv2d, *inputs, padding=1)
            return y, backward(slope)
        return f

    def torch(device):
        import torch
        *leaves, slope = tensors(device, *arrays, dy)
        leaves = [leaf.requires_grad_() for leaf in leaves]

        def f():
            y = torch.nn.functional.conv2d(*leaves, padding=1)
            return y, torch.autograd.grad(y, leaves, slope)
        return f

    numbers = 3 * (2 * N * C * H * H + 9 * C * C)               # each of the three products reads two arrays and writes the third
    return Workload(f"conv 3×3, {C} ch {H}², batch {N}", ours, torch, 3 * 2 * 9 * N * C * C * H * H, 4 * numbers)


def layer(name, shape, ours_layer, torch_layer, flop, passes):
    """Forward and backward of a layer without a matrix product, which does `flop` operations on each number of its input and
    reads or writes arrays of that size `passes` times."""
    array, size = images(*shape), int(np.prod(shape))

    def ours(device):
        x, = on(device, array)
        dy, = on(device, images(*ours_layer(x)[0].shape, seed=1))

        def f():
            y, backward = ours_layer(x)
            return y, backward(dy)
        return f

    def torch(device):
        import torch
        module = torch_layer(torch).to("cuda" if device == "gpu" else "cpu")
        leaf = tensors(device, array)[0].requires_grad_()
        slope, = tensors(device, images(*module(leaf).shape, seed=1))

        def f():
            y = module(leaf)
            return y, torch.autograd.grad(y, [leaf, *module.parameters()], slope)
        return f

    return Workload(name, ours, torch, flop * size, 4 * passes * size)


def our_max_pool(x):
    from minivision import ops, vjp
    return vjp(ops.max_pool2d, x, size=2)


def our_batch_norm(x):
    from minivision import ops, vjp
    from minivision.backend import array_module
    xp = array_module(x)
    return vjp(ops.batch_norm2d, x, xp.ones(x.shape[1], np.float32), xp.zeros(x.shape[1], np.float32))


def training(name, shape, classes, ours, torch, flop):
    return Workload(name, ours_training(ours, shape, classes), torch_training(torch, shape, classes), flop)


def boxes(n, side, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 0.75 * side, (n, 2))
    return np.minimum(np.concatenate([corner, corner + rng.uniform(16, side / 4, (n, 2))], axis=1), side).astype(np.float32)


def suppression():
    """5000 boxes in any order."""
    found, scores = boxes(5000, 800), np.random.default_rng(2).random(5000, dtype=np.float32)

    def ours(device):
        from minivision.detection.suppression import nms
        arrays = on(device, found, scores)
        return lambda: nms(*arrays, 0.5)

    def torch(device):
        from torchvision.ops import nms
        arrays = tensors(device, found, scores)
        return lambda: nms(*arrays, 0.5)

    return Workload("NMS of 5000 boxes", ours, torch)


def overlaps(R, S, what):
    """IoU of R boxes with S others."""
    a, b = boxes(R, 800), boxes(S, 800)

    def ours(device):
        from minivision.detection.boxes import iou
        arrays = on(device, a, b)
        return lambda: iou(*arrays)

    def torch(device):
        from torchvision.ops import box_iou
        arrays = tensors(device, a, b)
        return lambda: box_iou(*arrays)

    return Workload(f"IoU of {R} {what} with {S} objects", ours, torch)


def regions(backward):
    """256 boxes of a map with 256 channels, 7×7 bins of 2×2 points."""
    x, found, dy = images(1, 256, 50, 50), boxes(256, 800), images(256, 256, 7, 7, seed=1)

    def ours(device):
        from minivision import ops, vjp
        map, rows, image, slope = on(device, x, found, np.zeros(256, int), dy)

        def f():
            y, back = vjp(ops.roi_align, map, boxes=rows, image=image, size=7, scale=1 / 16)
            return back(slope) if backward else y
        return f

    def torch(device):
        import torch
        from torchvision.ops import roi_align
        leaf, slope, rows = tensors(device, x, dy, np.concatenate([np.zeros((256, 1), np.float32), found], axis=1))
        leaf.requires_grad_(backward)

        def f():
            y = roi_align(leaf, rows, 7, 1 / 16, 2, True)
            return torch.autograd.grad(y, leaf, slope) if backward else y
        return f

    return Workload(f"RoI Align, 256 boxes × 256 ch{', and back' if backward else ''}", ours, torch)


PRIORS = [(20, 20), (30, 30), (46, 46), (54, 52), (62, 60), (80, 70), (100, 90), (120, 110), (140, 130)]


def crowd(seed):
    """Twelve objects of an image of 240×320, in three classes."""
    rng = np.random.default_rng(seed)
    side = rng.uniform(18, 90, (12, 2))
    corner = rng.uniform(0, 1, (12, 2)) * (np.array([320, 240]) - side)
    return np.concatenate([corner, corner + side], axis=1), rng.integers(0, 3, 12)


def detector(name, batch=8):
    """One training step of a course-sized detector on 8 images of 240×320 with 12 objects each: matching and sampling included."""
    pictures = images(batch, 3, 240, 320)
    objects = [crowd(n) for n in range(batch)]

    def ours(device):
        from minivision import models, optim
        from minivision.detection import Target
        make = {"SSD": lambda: models.small_ssd(3, (240, 320)), "YOLO": lambda: models.small_yolo(3, PRIORS),
                "Faster R-CNN": lambda: models.small_faster_rcnn(3, (240, 320))}
        model = make[name]().to(device)
        optimiser, targets = optim.SGD(model.parameters(), 1e-4, momentum=0.9), [Target(*o) for o in objects]
        x, = on(device, pictures)

        def step():
            optimiser.zero_grad()
            loss = sum(model.loss(x, targets).values(), start=0)
            loss.backward()
            optimiser.step()
            return loss.item()

        return step

    def torch(device):
        import torch

        from benchmarks import torch_detectors as peers
        from minivision import models
        where, (H, W) = "cuda" if device == "gpu" else "cpu", pictures.shape[2:]
        if name == "SSD":
            ours = models.small_ssd(3, (H, W))
            model = peers.SSD(ours.shapes, 3)
        elif name == "YOLO":
            ours, model = models.small_yolo(3, PRIORS), peers.YOLO(np.array_split(np.array(PRIORS), 3), 3)
        else:
            ours = models.small_faster_rcnn(3, (H, W))
            sides = [sorted({round((w * h) ** 0.5, 3) for w, h in level}) for level in ours.rpn.shapes]
            model = peers.FasterRCNN(sides, 3, ours.roi_heads.settings.canonical[0])
        assert sum(p.numel() for p in model.parameters()) == ours.size(), "the peer is another network"
        model.to(where).train()
        optimiser = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)
        x = torch.tensor(pictures, device=where)
        targets = [{"boxes": torch.tensor(b, dtype=torch.float32, device=where), "labels": torch.tensor(l, device=where)}
                   for b, l in objects]

        def step():
            optimiser.zero_grad()
            loss = model(x, targets)
            loss.backward()
            optimiser.step()
            return loss.item()

        return step

    return Workload(f"training step, small {name}, batch {batch}, 240×320", ours, torch)


TRAINING = [
    training("training step, C5, batch 64", (64, 3, 32, 32), 10, small_cnn, torch_small_cnn, 64 * 6 * 6.13e6),
    training("training step, C3, batch 8, 224²", (8, 3, 224, 224), 10, three_conv, torch_three_conv, 8 * 6 * 505e6),
    training("training step, ResNet-20, batch 64", (64, 3, 32, 32), 10, resnet20, torch_resnet20, 64 * 6 * 40.6e6),
    training("training step, ResNet-18, batch 8, 224²", (8, 3, 224, 224), 1000, resnet18, torch_resnet18, 8 * 6 * 1.814e9),
]
OTHERS = [
    convolution(16, 64, 56), convolution(16, 128, 28), convolution(16, 256, 14), convolution(1, 64, 160),
    layer("max-pool 2×2, 64 ch 112², batch 16", (16, 64, 112, 112), our_max_pool, lambda torch: torch.nn.MaxPool2d(2), 1, 2.5),
    layer("batch norm, 64 ch 56², batch 16", (16, 64, 56, 56), our_batch_norm, lambda torch: torch.nn.BatchNorm2d(64),
          15, 5),
]
# These need torchvision.
DETECTORS = [detector("SSD"), detector("YOLO"), detector("Faster R-CNN")]
INFERENCE = [inference("ResNet-18, 224²", our_network("resnet18"), their_network("resnet18"), (1, 3, 224, 224)),
             inference("MobileNetV2, 224²", our_network("mobilenet_v2"), their_network("mobilenet_v2"), (1, 3, 224, 224)),
             inference("YOLO-Fastest 1.1, 320²", our_yolo_fastest, torch_yolo_fastest, (1, 3, 320, 320)),
             detection("SSD300", "ssd300_vgg16", 300, 300),
             detection("Faster R-CNN R50-FPN, 480×640", "fasterrcnn_resnet50_fpn", 480, 640)]
BOXES = [suppression(), overlaps(2000, 100, "proposals"), overlaps(20000, 20, "anchors"), regions(False), regions(True)]
ALL = TRAINING + OTHERS + DETECTORS + INFERENCE + BOXES
