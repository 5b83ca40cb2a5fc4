"""ResNet-9, for 32×32 images: a residual network, wide and shallow, that trains fast (Page, "How to train your ResNet", 2018)."""

from minivision.backend import as_rng
from minivision.models.classifier import Classifier
from minivision.nn import BatchNormReLU, Conv2d, GlobalAvgPool2d, Linear, MaxPool2d, Module, Sequential
from minivision.nn.initialisers import small_normal


class Residual(Module):
    """y = x + F(x), F = (conv 3×3 → batch norm → ReLU) twice. The ReLU comes before the sum: nothing ever cuts x off."""

    def __init__(self, channels, *, rng):
        self.inner = Sequential(*(layer for _ in range(2) for layer in convolution(channels, channels, rng)))

    def forward(self, x):
        return x + self.inner(x)


class ResNet9(Classifier):
    """conv 3×3, w → (conv 3×3, 2w → pool 2 → residual) → (conv, 4w → pool) → (conv, 8w → pool → residual) → global mean → fc.

    (N,3,H,W) → scores (N,classes); behind every convolution are batch norm and ReLU. With w = 24 it has 3.4 times the parameters
    of ResNet-20 and 1.3 times the multiply–adds, in fewer and wider layers. Page has w = 64, the largest pixel instead of the mean,
    and multiplies the scores by an eighth.
    """

    strides = (2, 4, 8)

    def __init__(self, width=24, classes=10, channels=3, *, rng=0):
        rng, w = as_rng(rng), width
        self.channels = (2 * w, 4 * w, 8 * w)
        self.first = Sequential(*convolution(channels, w, rng))
        self.stage1 = Sequential(*convolution(w, 2 * w, rng), MaxPool2d(2), Residual(2 * w, rng=rng))
        self.stage2 = Sequential(*convolution(2 * w, 4 * w, rng), MaxPool2d(2))
        self.stage3 = Sequential(*convolution(4 * w, 8 * w, rng), MaxPool2d(2), Residual(8 * w, rng=rng))
        self.pool = GlobalAvgPool2d()
        self.linear = Linear(8 * w, classes, rng=rng, initialise=small_normal)

    def features(self, x):
        """[maps] of strides 2, 4, 8."""
        first = self.stage1(self.first(x))
        second = self.stage2(first)
        return [first, second, self.stage3(second)]

    def forward(self, x):
        return self.linear(self.pool(self.features(x)[-1]))


def convolution(inputs, outputs, rng):
    return Conv2d(inputs, outputs, 3, padding=1, bias=False, rng=rng), BatchNormReLU(outputs)


def resnet9(classes=10, *, rng=0):
    """ResNet-9, 24 channels wide: 927 010 parameters with 10 classes."""
    return ResNet9(24, classes, rng=rng)
