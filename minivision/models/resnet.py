"""Residual networks for photographs (He et al., CVPR 2016, table 1): ResNet-18, ResNet-34 and ResNet-50."""

from minivision.backend import as_rng
from minivision.models.classifier import Classifier
from minivision.nn import BatchNorm2d, BatchNormReLU, Conv2d, GlobalAvgPool2d, Linear, MaxPool2d, Module, Sequential
from minivision.nn.initialisers import small_normal


class BasicBlock(Module):
    """y = ReLU(x' + F(x)), F = conv 3×3 → batch norm → ReLU → conv 3×3 → batch norm (the paper's figure 2).

    x' = x, or where the block halves the image or changes the channels, a 1×1 convolution and batch norm of x ("option B").
    """

    growth = 1          # output channels to a channel of the block's width

    def __init__(self, inputs, width, stride, *, rng):
        self.conv1 = Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False, rng=rng)
        self.bn1 = BatchNormReLU(width)
        self.conv2 = Conv2d(width, width, 3, padding=1, bias=False, rng=rng)
        self.bn2 = BatchNormReLU(width)
        self.downsample = projection(inputs, width, stride, rng)

    def shortcut(self, x):
        return self.downsample(x) if self.downsample else x

    def inner(self, x):
        """F up to its last convolution."""
        return self.conv2(self.bn1(self.conv1(x)))

    def forward(self, x):
        return self.bn2(self.inner(x), self.shortcut(x))


class Bottleneck(BasicBlock):
    """F = conv 1×1 → conv 3×3 → conv 1×1 to four times the width (figure 5, right), each with batch norm: the 3×3 convolution, the
    dear one, sees a quarter of the channels. The stride is on the 3×3 (as in torchvision; the paper has it on the first 1×1)."""

    growth = 4

    def __init__(self, inputs, width, stride, *, rng):
        self.conv1 = Conv2d(inputs, width, 1, bias=False, rng=rng)
        self.bn1 = BatchNormReLU(width)
        self.conv2 = Conv2d(width, width, 3, stride=stride, padding=1, bias=False, rng=rng)
        self.bn2 = BatchNormReLU(width)
        self.conv3 = Conv2d(width, 4 * width, 1, bias=False, rng=rng)
        self.bn3 = BatchNormReLU(4 * width)
        self.downsample = projection(inputs, 4 * width, stride, rng)

    def inner(self, x):
        return self.conv3(self.bn2(self.conv2(self.bn1(self.conv1(x)))))

    def forward(self, x):
        return self.bn3(self.inner(x), self.shortcut(x))


def projection(inputs, outputs, stride, rng):
    """The shortcut of a block that changes the shape; None where x itself fits."""
    if stride == 1 and inputs == outputs:
        return None
    return Sequential(Conv2d(inputs, outputs, 1, stride=stride, bias=False, rng=rng), BatchNorm2d(outputs))


class ResNetBody(Module):
    """conv 7×7/2, 64 → max-pool 3/2 → four stages of `blocks` blocks with widths 64, 128, 256, 512; stages 2, 3, 4 halve the image.

    x (N,3,H,W) → the four stages' maps, of strides 4, 8, 16, 32: what a detector builds on.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, blocks, block=BasicBlock, channels=3, *, rng=0):
        rng = as_rng(rng)
        self.conv1 = Conv2d(channels, 64, 7, stride=2, padding=3, bias=False, rng=rng)
        self.bn1 = BatchNormReLU(64)
        self.maxpool = MaxPool2d(3, stride=2, padding=1)
        widths, inputs = (64, 128, 256, 512), 64
        for i, (n, width) in enumerate(zip(blocks, widths)):
            layers = []
            for k in range(n):
                layers.append(block(inputs, width, 2 if i and k == 0 else 1, rng=rng))
                inputs = width * block.growth
            setattr(self, f"layer{i + 1}", Sequential(*layers))
        self.channels = tuple(width * block.growth for width in widths)

    def forward(self, x):
        maps, x = [], self.maxpool(self.bn1(self.conv1(x)))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps


class ResNet(Classifier, ResNetBody):
    """The body → global mean → fc: (N,3,H,W) → scores (N,classes). Names and shapes of the parameters are torchvision's."""

    def __init__(self, blocks, classes=1000, channels=3, *, block=BasicBlock, rng=0):
        rng = as_rng(rng)
        ResNetBody.__init__(self, blocks, block, channels, rng=rng)
        self.avgpool = GlobalAvgPool2d()
        self.fc = Linear(self.channels[-1], classes, rng=rng, initialise=small_normal)

    def features(self, x):
        """[maps] of strides 4, 8, 16, 32."""
        return ResNetBody.forward(self, x)

    def forward(self, x):
        return self.fc(self.avgpool(self.features(x)[-1]))


def resnet18(classes=1000, *, rng=0):
    """ResNet-18: 11 689 512 parameters with 1000 classes."""
    return ResNet((2, 2, 2, 2), classes, rng=rng)


def resnet34(classes=1000, *, rng=0):
    """ResNet-34: 21 797 672 parameters with 1000 classes."""
    return ResNet((3, 4, 6, 3), classes, rng=rng)


def resnet50(classes=1000, *, rng=0):
    """ResNet-50: 25 557 032 parameters with 1000 classes."""
    return ResNet((3, 4, 6, 3), classes, block=Bottleneck, rng=rng)
