"""DenseNet (Huang et al., CVPR 2017): every layer sees the maps of all layers before it."""

from minivision import ops
from minivision.backend import as_rng
from minivision.models.classifier import Classifier
from minivision.nn import AvgPool2d, BatchNormReLU, Conv2d, GlobalAvgPool2d, Linear, MaxPool2d, Module, Sequential, Stages
from minivision.nn.initialisers import small_normal


class DenseLayer(Module):
    """F = batch norm → ReLU → conv 1×1 to 4k channels → batch norm → ReLU → conv 3×3 to k (§3, "bottleneck layers").

    The norm comes first, since each layer scales the maps that it shares with the others in its own way.
    """

    def __init__(self, inputs, growth, *, rng):
        self.norm1, self.conv1 = BatchNormReLU(inputs), Conv2d(inputs, 4 * growth, 1, bias=False, rng=rng)
        self.norm2, self.conv2 = BatchNormReLU(4 * growth), Conv2d(4 * growth, growth, 3, padding=1, bias=False, rng=rng)

    def forward(self, x):
        return self.conv2(self.norm2(self.conv1(self.norm1(x))))


class DenseBlock(Sequential):
    """x_l = F_l([x_0, x_1, …, x_{l−1}]) (equation 2): each layer sees all maps before it, adds k channels, and all are handed on.

    Where ResNet adds, DenseNet lays side by side; the gradient of a concatenation goes to each part whole.
    """

    def __init__(self, layers, inputs, growth, *, rng):
        super().__init__({f"denselayer{i + 1}": DenseLayer(inputs + i * growth, growth, rng=rng) for i in range(layers)})

    def forward(self, x):
        for layer in self:
            x = ops.concat(x, layer(x))
        return x


class Transition(Module):
    """batch norm → ReLU → conv 1×1 to half the channels → mean of 2×2: between two blocks (§3, "compression" θ = ½)."""

    def __init__(self, inputs, *, rng):
        self.norm, self.conv = BatchNormReLU(inputs), Conv2d(inputs, inputs // 2, 1, bias=False, rng=rng)
        self.pool = AvgPool2d(2)

    def forward(self, x):
        return self.pool(self.conv(self.norm(x)))


class DenseNet(Classifier):
    """conv 7×7/2 → pool 3/2 → four dense blocks with transitions between → batch norm → ReLU → global mean → fc (table 1).

    (N,3,H,W) → scores (N,classes), H and W at least 32. growth: k, the channels that a layer adds.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, blocks=(6, 12, 24, 16), growth=32, classes=1000, *, rng=0):
        rng, channels = as_rng(rng), 2 * growth
        layers = {"conv0": Conv2d(3, channels, 7, stride=2, padding=3, bias=False, rng=rng), "norm0": BatchNormReLU(channels),
                  "pool0": MaxPool2d(3, stride=2, padding=1)}
        widths = []
        for i, n in enumerate(blocks, 1):
            layers[f"denseblock{i}"] = DenseBlock(n, channels, growth, rng=rng)
            channels += n * growth
            widths.append(channels)
            if i < len(blocks):
                layers[f"transition{i}"] = Transition(channels, rng=rng)
                channels //= 2
        layers["norm5"] = BatchNormReLU(channels)
        ends = [f"denseblock{i}" for i in range(1, len(blocks))]
        self.features, self.channels = Stages(layers, ends=(*ends, "norm5")), tuple(widths)
        self.avgpool = GlobalAvgPool2d()
        self.classifier = Linear(channels, classes, rng=rng, initialise=small_normal)

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)[-1]))


def densenet121(classes=1000, *, rng=0):
    """DenseNet-121: 7 978 856 parameters with 1000 classes."""
    return DenseNet(classes=classes, rng=rng)
