"""What is measured: training steps, inference, and single layers, each as a pair (ours, PyTorch's) of functions to call.

Every pair does the same arithmetic on float32 arrays of the same shapes. PyTorch's networks are written as its users
write them: `nn.Sequential`, ReLU in place, `zero_grad()` that forgets, SGD with momentum.
"""

from typing import NamedTuple

import numpy as np


class Workload(NamedTuple):
    """A pair of programs. `flop`: multiplications and additions of a direct computation, 0 where memory is the work."""

    name: str
    ours: object                # () -> f
    torch: object               # () -> f
    flop: float = 0


def images(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def ours_training(make, shape, classes):
    def start():
        from minivision import optim
        model = make()
        optimiser = optim.SGD(model.parameters(), 0.001, momentum=0.9)
        x, labels = images(*shape), np.random.default_rng(1).integers(0, classes, shape[0])

        def step():
            optimiser.zero_grad()
            loss = model.loss(x, labels)["cross_entropy"]
            loss.backward()
            optimiser.step()
            return loss.item()

        return step
    return start


def torch_training(make, shape, classes):
    def start():
        import torch
        model = make()
        optimiser = torch.optim.SGD(model.parameters(), 0.001, momentum=0.9)
        x, labels = torch.tensor(images(*shape)), torch.tensor(np.random.default_rng(1).integers(0, classes, shape[0]))

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


def ours_inference():
    from minivision import Tensor, no_grad
    model, x = resnet18().eval(), images(1, 3, 224, 224)

    def infer():
        with no_grad():
            return model(Tensor(x))

    return infer


def torch_inference():
    import torch
    model, x = torch_resnet18().eval(), torch.tensor(images(1, 3, 224, 224))

    def infer():
        with torch.inference_mode():
            return model(x)

    return infer


def convolution(N, C, H, O=None):
    O = O or C
    x, w, b, dy = images(N, C, H, H), images(O, C, 3, 3, seed=1), images(O, seed=2), images(N, O, H, H, seed=3)

    def ours():
        from minivision import ops, vjp

        def f():
            y, backward = vjp(ops.conv2d, x, w, b, padding=1)
            return y, backward(dy)
        return f

    def torch():
        import torch
        leaves = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
        slope = torch.tensor(dy)

        def f():
            y = torch.nn.functional.conv2d(*leaves, padding=1)
            return y, torch.autograd.grad(y, leaves, slope)
        return f

    return Workload(f"conv 3×3, {C}→{O} ch {H}², batch {N}", ours, torch, 3 * 2 * 9 * N * O * C * H * H)


def layer(name, shape, ours_layer, torch_layer):
    """Forward and backward of a layer without a matrix product."""
    x = images(*shape)

    def ours():
        y, _ = ours_layer(x)
        dy = images(*y.shape, seed=1)

        def f():
            y, backward = ours_layer(x)
            return y, backward(dy)
        return f

    def torch():
        import torch
        leaf = torch.tensor(x, requires_grad=True)
        f = torch_layer(torch)
        dy = torch.tensor(images(*f(leaf).shape, seed=1))

        def g():
            y = f(leaf)
            return y, torch.autograd.grad(y, [leaf, *getattr(f, "parameters", tuple)()], dy)
        return g

    return Workload(name, ours, torch)


def our_max_pool(x):
    from minivision import ops, vjp
    return vjp(ops.max_pool2d, x, size=2)


def our_batch_norm(x):
    from minivision import ops, vjp
    return vjp(ops.batch_norm2d, x, np.ones(x.shape[1], np.float32), np.zeros(x.shape[1], np.float32))


def training(name, shape, classes, ours, torch, flop):
    return Workload(name, ours_training(ours, shape, classes), torch_training(torch, shape, classes), flop)


TRAINING = [
    training("training step, C5, batch 64", (64, 3, 32, 32), 10, small_cnn, torch_small_cnn, 64 * 3 * 2 * (0.88e6 + 4.72e6 + 0.53e6)),
    training("training step, C3, batch 8, 224²", (8, 3, 224, 224), 10, three_conv, torch_three_conv, 8 * 3 * 2 * 487e6),
    training("training step, ResNet-20, batch 64", (64, 3, 32, 32), 10, resnet20, torch_resnet20, 64 * 3 * 2 * 40.6e6),
    training("training step, ResNet-18, batch 8, 224²", (8, 3, 224, 224), 1000, resnet18, torch_resnet18, 8 * 3 * 2 * 1.814e9),
]
OTHERS = [
    Workload("inference, ResNet-18, batch 1, 224²", ours_inference, torch_inference, 2 * 1.814e9),
    convolution(16, 64, 56), convolution(16, 128, 28), convolution(16, 256, 14), convolution(1, 64, 160),
    layer("max-pool 2×2, 64 ch 112², batch 16", (16, 64, 112, 112), our_max_pool, lambda torch: torch.nn.MaxPool2d(2)),
    layer("batch norm, 64 ch 56², batch 16", (16, 64, 56, 56), our_batch_norm, lambda torch: torch.nn.BatchNorm2d(64)),
]
