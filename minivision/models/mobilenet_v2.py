"""MobileNetV2 (Sandler et al., CVPR 2018): wide inside, narrow between; the 3×3 filters see one channel each."""

from minivision.backend import as_rng
from minivision.models.classifier import Classifier
from minivision.nn import BatchNorm2d, Conv2d, Dropout, GlobalAvgPool2d, Linear, Module, ReLU6, Sequential, Stages
from minivision.nn.initialisers import small_normal

# Table 2: expansion t, output channels c, blocks n, stride s of the first of them.
BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def conv_bn_relu6(inputs, outputs, size, *, stride=1, groups=1, rng):
    return Sequential(Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, groups=groups, bias=False, rng=rng),
                      BatchNorm2d(outputs), ReLU6())


class InvertedResidual(Module):
    """conv 1×1 to t times the channels → depthwise conv 3×3 → conv 1×1 to few, without ReLU; plus x where the shapes agree (§3.3).

    Depthwise: one filter a channel (groups = channels), 9 weights where a full filter has 9·channels. The 1×1 convolutions mix the
    channels. Where ResNet's bottleneck is narrow inside, this one is narrow outside: the maps that must be kept are small.
    """

    def __init__(self, inputs, outputs, stride, expansion, *, rng):
        width = inputs * expansion
        expand = [conv_bn_relu6(inputs, width, 1, rng=rng)] if expansion > 1 else []
        self.conv = Sequential(*expand, conv_bn_relu6(width, width, 3, stride=stride, groups=width, rng=rng),
                               Conv2d(width, outputs, 1, bias=False, rng=rng), BatchNorm2d(outputs))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(Classifier):
    """conv 3×3/2, 32 → seventeen inverted residuals (table 2) → conv 1×1, 1280 → global mean → dropout → fc classes.

    (N,3,H,W) → scores (N,classes).
    """

    strides, channels = (4, 8, 16, 32), (24, 32, 96, 1280)

    def __init__(self, classes=1000, *, dropout=0.2, rng=0):
        rng = as_rng(rng)
        layers, inputs = [conv_bn_relu6(3, 32, 3, stride=2, rng=rng)], 32
        for t, c, n, s in BLOCKS:
            for k in range(n):
                layers.append(InvertedResidual(inputs, c, s if k == 0 else 1, t, rng=rng))
                inputs = c
        layers.append(conv_bn_relu6(inputs, 1280, 1, rng=rng))
        self.features = Stages({str(i): layer for i, layer in enumerate(layers)}, ends=("3", "6", "13", "18"))
        self.avgpool = GlobalAvgPool2d()
        self.classifier = Sequential(Dropout(dropout, rng=rng), Linear(1280, classes, rng=rng, initialise=small_normal))

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)[-1]))


def mobilenet_v2(classes=1000, *, rng=0):
    """MobileNetV2: 3 504 872 parameters with 1000 classes."""
    return MobileNetV2(classes, rng=rng)
