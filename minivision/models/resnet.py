"""Residual networks for photographs (He et al., CVPR 2016, table 1): ResNet-18 and ResNet-34."""

from minivision.backend import as_rng
from minivision.models.classifier import Classifier
from minivision.nn import BatchNorm2d, BatchNormReLU, Conv2d, GlobalAvgPool2d, Linear, MaxPool2d, Module, Sequential
from minivision.nn.initialisers import small_normal


class BasicBlock(Module):
    """y = ReLU(x' + F(x)), F = conv 3×3 → batch norm → ReLU → conv 3×3 → batch norm (the paper's figure 2).

    x' = x, or where the block halves the image or changes the channels, a 1×1 convolution and batch norm of x ("option B").
    """

    def __init__(self, inputs, outputs, stride, *, rng):
        self.conv1 = Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False, rng=rng)
        self.bn1 = BatchNormReLU(outputs)
        self.conv2 = Conv2d(outputs, outputs, 3, padding=1, bias=False, rng=rng)
        self.bn2 = BatchNormReLU(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = Sequential(Conv2d(inputs, outputs, 1, stride=stride, bias=False, rng=rng), BatchNorm2d(outputs))

    def forward(self, x):
        shortcut = self.downsample(x) if self.downsample else x
        return self.bn2(self.conv2(self.bn1(self.conv1(x))), shortcut)


class ResNet(Classifier):
    """conv 7×7/2, 64 → max-pool 3/2 → four stages of `blocks` BasicBlocks with 64, 128, 256, 512 channels → global mean → fc.

    (N,3,H,W) → scores (N,classes); stages 2, 3, 4 halve the image. Names and shapes of the parameters are torchvision's.
    """

    def __init__(self, blocks, classes=1000, channels=3, *, rng=0):
        rng = as_rng(rng)
        self.conv1 = Conv2d(channels, 64, 7, stride=2, padding=3, bias=False, rng=rng)
        self.bn1 = BatchNormReLU(64)
        self.maxpool = MaxPool2d(3, stride=2, padding=1)
        widths = (64, 64, 128, 256, 512)
        for i, n in enumerate(blocks):
            sizes = [(widths[i], 1 if i == 0 else 2)] + [(widths[i + 1], 1)] * (n - 1)
            setattr(self, f"layer{i + 1}", Sequential(*(BasicBlock(c, widths[i + 1], s, rng=rng) for c, s in sizes)))
        self.avgpool = GlobalAvgPool2d()
        self.fc = Linear(512, classes, rng=rng, initialise=small_normal)

    def forward(self, x):
        x = self.maxpool(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x))


def resnet18(classes=1000, *, rng=0):
    """ResNet-18: 11 689 512 parameters with 1000 classes."""
    return ResNet((2, 2, 2, 2), classes, rng=rng)


def resnet34(classes=1000, *, rng=0):
    """ResNet-34: 21 797 672 parameters with 1000 classes."""
    return ResNet((3, 4, 6, 3), classes, rng=rng)
