"""SqueezeNet 1.1 (Iandola et al., arXiv 1602.07360; version 1.1 is its authors' later release): AlexNet's accuracy with a fiftieth
of its parameters."""

from minivision import ops
from minivision.backend import as_rng
from minivision.models.classifier import Classifier
from minivision.nn import Conv2d, ConvReLU, Dropout, GlobalAvgPool2d, MaxPool2d, Module, ReLU, Sequential, Stages
from minivision.nn.initialisers import small_normal


class Fire(Module):
    """squeeze: conv 1×1 to few channels; expand: half of the output by conv 1×1, half by conv 3×3, side by side (figure 1).

    A 3×3 filter has nine weights for each channel that it sees, so it is shown few: 64 → 16 → 64 + 64 takes 11 408 parameters, a
    plain 3×3 convolution 64 → 128 takes 73 856.
    """

    def __init__(self, inputs, squeezed, expanded, *, rng):
        self.squeeze = ConvReLU(inputs, squeezed, 1, rng=rng)
        self.expand1x1 = ConvReLU(squeezed, expanded, 1, rng=rng)
        self.expand3x3 = ConvReLU(squeezed, expanded, 3, padding=1, rng=rng)

    def forward(self, x):
        x = self.squeeze(x)
        return ops.concat(self.expand1x1(x), self.expand3x3(x))


class SqueezeNet(Classifier):
    """conv 3×3/2 → pool → fire, fire → pool → fire, fire → pool → four fires → dropout → conv 1×1 to classes → ReLU → global mean.

    (N,3,H,W) → scores (N,classes), H and W at least 17. No fully-connected layer: every place says which class it sees, and the
    mean decides. pool: 3×3/2, rounding up.

    last_padding: 0; 1 is what the authors' Caffe file has in conv10, which puts a frame of biases around the map.
    """

    strides, channels = (4, 8, 16), (128, 256, 512)

    def __init__(self, classes=1000, *, dropout=0.5, last_padding=0, rng=0):
        rng = as_rng(rng)
        fire = lambda inputs, squeezed, expanded: Fire(inputs, squeezed, expanded, rng=rng)
        pool = lambda: MaxPool2d(3, stride=2, ceil=True)
        self.features = Stages({
            "0": ConvReLU(3, 64, 3, stride=2, rng=rng), "2": pool(),
            "3": fire(64, 16, 64), "4": fire(128, 16, 64), "5": pool(),
            "6": fire(128, 32, 128), "7": fire(256, 32, 128), "8": pool(),
            "9": fire(256, 48, 192), "10": fire(384, 48, 192), "11": fire(384, 64, 256), "12": fire(512, 64, 256)},
            ends=("4", "7", "12"))
        self.classifier = Sequential(Dropout(dropout, rng=rng),
                                     Conv2d(512, classes, 1, padding=last_padding, rng=rng, initialise=small_normal), ReLU(),
                                     GlobalAvgPool2d())

    def forward(self, x):
        return self.classifier(self.features(x)[-1])


def squeezenet1_1(classes=1000, *, rng=0):
    """SqueezeNet 1.1: 1 235 496 parameters with 1000 classes."""
    return SqueezeNet(classes, rng=rng)
