"""GoogLeNet (Szegedy et al., CVPR 2015; with the batch norm of Ioffe and Szegedy, ICML 2015): several filter sizes side by side."""

from minivision import ops
from minivision.backend import as_rng
from minivision.models.classifier import Classifier
from minivision.nn import BatchNormReLU, Conv2d, Dropout, GlobalAvgPool2d, Linear, MaxPool2d, Module, Sequential
from minivision.nn.initialisers import small_normal


class BasicConv(Module):
    """conv → batch norm → ReLU."""

    def __init__(self, inputs, outputs, size, *, stride=1, rng):
        self.conv = Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False, rng=rng)
        self.bn = BatchNormReLU(outputs, eps=1e-3)

    def forward(self, x):
        return self.bn(self.conv(x))


class Inception(Module):
    """Four branches on the same map, laid side by side (figure 2b):

        conv 1×1  |  conv 1×1 → conv 3×3  |  conv 1×1 → conv 5×5  |  pool 3×3 → conv 1×1

    The first 1×1 of a branch brings the channels down before the dear filter sees them. widths: outputs of the six convolutions
    (table 1). `largest`: 5 as in the paper, or 3, a slip in torchvision's third branch that its published weights have kept.
    """

    def __init__(self, inputs, widths, largest, *, rng):
        one, reduce3, three, reduce5, five, pooled = widths
        conv = lambda *sizes: BasicConv(*sizes, rng=rng)
        self.branch1 = conv(inputs, one, 1)
        self.branch2 = Sequential(conv(inputs, reduce3, 1), conv(reduce3, three, 3))
        self.branch3 = Sequential(conv(inputs, reduce5, 1), conv(reduce5, five, largest))
        self.branch4 = Sequential(MaxPool2d(3, stride=1, padding=1), conv(inputs, pooled, 1))

    def forward(self, x):
        return ops.concat(self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x))


# Table 1: the widths of the nine modules, in the order of `Inception`'s branches.
WIDTHS = {"3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
          "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
          "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)}


class GoogLeNet(Classifier):
    """conv 7×7/2 → pool → conv 1×1 → conv 3×3 → pool → 3a, 3b → pool → 4a … 4e → pool → 5a, 5b → global mean → dropout → fc.

    (N,3,H,W) → scores (N,classes), H and W at least 15. Left out: the two auxiliary classifiers in the middle (§5), which helped
    training before batch norm did.
    """

    strides, channels = (4, 8, 16, 32), (192, 480, 832, 1024)

    def __init__(self, classes=1000, *, largest=5, dropout=0.2, rng=0):
        rng = as_rng(rng)
        pool = lambda size: MaxPool2d(size, stride=2, ceil=True)
        self.conv1, self.maxpool1 = BasicConv(3, 64, 7, stride=2, rng=rng), pool(3)
        self.conv2, self.conv3, self.maxpool2 = BasicConv(64, 64, 1, rng=rng), BasicConv(64, 192, 3, rng=rng), pool(3)
        inputs = 192
        for name, widths in WIDTHS.items():
            setattr(self, f"inception{name}", Inception(inputs, widths, largest, rng=rng))
            inputs = widths[0] + widths[2] + widths[4] + widths[5]
        self.maxpool3, self.maxpool4 = pool(3), pool(2)
        self.avgpool, self.dropout = GlobalAvgPool2d(), Dropout(dropout, rng=rng)
        self.fc = Linear(inputs, classes, rng=rng, initialise=small_normal)

    def features(self, x):
        """[maps] of strides 4, 8, 16, 32."""
        maps, block = [self.conv3(self.conv2(self.maxpool1(self.conv1(x))))], lambda name: getattr(self, f"inception{name}")
        for pool, names in ((self.maxpool2, ("3a", "3b")), (self.maxpool3, ("4a", "4b", "4c", "4d", "4e")),
                            (self.maxpool4, ("5a", "5b"))):
            x = pool(maps[-1])
            for name in names:
                x = block(name)(x)
            maps.append(x)
        return maps

    def forward(self, x):
        return self.fc(self.dropout(self.avgpool(self.features(x)[-1])))


def googlenet(classes=1000, *, largest=5, rng=0):
    """GoogLeNet: with 1000 classes 7 005 832 parameters; 6 624 904 with `largest=3`, torchvision's."""
    return GoogLeNet(classes, largest=largest, rng=rng)
