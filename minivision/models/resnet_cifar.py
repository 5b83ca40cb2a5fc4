"""Residual networks for 32×32 images (He et al., CVPR 2016, §4.2): ResNet-20, 32, 44, 56 …"""

import numpy as np

from minivision import ops
from minivision.backend import array_module, as_rng
from minivision.models.classifier import Classifier
from minivision.nn import BatchNormReLU, Conv2d, GlobalAvgPool2d, Linear, Module, Sequential
from minivision.nn.initialisers import small_normal


class BasicBlock(Module):
    """y = ReLU(x' + F(x)), F = conv → batch norm → ReLU → conv → batch norm (the paper's figure 2).

    Where the block halves the image and doubles the channels, x' is every second pixel of x with channels of zeros
    beside it ("option A": a shortcut without parameters); elsewhere x' = x.
    """

    def __init__(self, inputs, outputs, stride, *, rng):
        self.conv1 = Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False, rng=rng)
        self.bn1 = BatchNormReLU(outputs)
        self.conv2 = Conv2d(outputs, outputs, 3, padding=1, bias=False, rng=rng)
        self.bn2 = BatchNormReLU(outputs)
        self.stride, self.new_channels = stride, outputs - inputs

    def forward(self, x):
        y = self.bn1(self.conv1(x))
        return self.bn2(self.conv2(y), self.shortcut(x))

    def shortcut(self, x):
        if self.stride > 1:
            x = x[:, :, ::self.stride, ::self.stride]
        if self.new_channels:
            N, C, H, W = x.shape
            zeros = array_module(x.data).zeros((N, self.new_channels // 2, H, W), x.dtype)
            x = ops.concat(zeros, x, zeros)
        return x


class ResNetCIFAR(Classifier):
    """conv 3×3, 16 → three stages of `blocks` BasicBlocks with 16, 32, 64 channels → global mean → fc classes.

    (N,3,32,32) → scores (N,classes); 6·blocks + 2 layers with weights. Any image size works.
    """

    strides, channels = (1, 2, 4), (16, 32, 64)

    def __init__(self, blocks=3, classes=10, channels=3, *, rng=0):
        rng = as_rng(rng)
        self.conv1 = Conv2d(channels, 16, 3, padding=1, bias=False, rng=rng)
        self.bn1 = BatchNormReLU(16)
        self.layer1 = stage(16, 16, blocks, 1, rng)
        self.layer2 = stage(16, 32, blocks, 2, rng)
        self.layer3 = stage(32, 64, blocks, 2, rng)
        self.linear = Linear(64, classes, rng=rng, initialise=small_normal)
        self.pool = GlobalAvgPool2d()

    def features(self, x):
        """[maps] of strides 1, 2, 4."""
        first = self.layer1(self.bn1(self.conv1(x)))
        second = self.layer2(first)
        return [first, second, self.layer3(second)]

    def forward(self, x):
        return self.linear(self.pool(self.features(x)[-1]))


def stage(inputs, outputs, blocks, stride, rng):
    sizes = [(inputs, stride)] + [(outputs, 1)] * (blocks - 1)
    return Sequential(*(BasicBlock(i, outputs, s, rng=rng) for i, s in sizes))


def resnet20(classes=10, *, rng=0):
    """ResNet-20: 269 722 parameters with 10 classes."""
    return ResNetCIFAR(3, classes, rng=rng)


def resnet56(classes=10, *, rng=0):
    """ResNet-56: 853 018 parameters with 10 classes."""
    return ResNetCIFAR(9, classes, rng=rng)


MEAN, DEVIATION = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def prepare(images):
    """uint8 RGB (N,3,H,W) → float32 as the published CIFAR weights expect it: (x/255 − mean) / deviation of ImageNet."""
    return (images.astype(np.float32) / 255 - MEAN[:, None, None]) / DEVIATION[:, None, None]
