"""Squeeze-and-excitation (Hu et al., CVPR 2018): a block's channels are turned up or down by what
the whole map says."""

from minivision import ops
from minivision.backend import as_rng
from minivision.models.resnet import BasicBlock, Bottleneck, ResNet
from minivision.nn import BatchNorm2d, Linear, Module


class SqueezeExcite(Module):
    """y = s·x, one factor a channel and image (equations 2–4):

        z = global mean of x (N,C)          s = σ(W₂·ReLU(W₁·z + b₁) + b₂) (N,C)          y[n,c] = s[n,c]·x[n,c]

    x, y (N,C,H,W). W₁ brings C down to C/reduction, W₂ back: C²/8 parameters, beside 18C² in the filters of a basic block
    and 17/16·C² in those of a bottleneck.
    """

    def __init__(self, channels, reduction=16, *, rng):
        self.fc1 = Linear(channels, max(1, channels // reduction), rng=rng)
        self.fc2 = Linear(max(1, channels // reduction), channels, rng=rng)

    def forward(self, x):
        s = ops.sigmoid(self.fc2(ops.relu(self.fc1(ops.global_avg_pool2d(x)))))
        return x * s.reshape(*s.shape, 1, 1)


class SEBasicBlock(BasicBlock):
    """`BasicBlock` whose F is excited before the shortcut is added (figure 3): y = ReLU(x' + s·F(x))."""

    def __init__(self, inputs, width, stride, *, rng):
        super().__init__(inputs, width, stride, rng=rng)
        self.bn2, self.se = BatchNorm2d(width), SqueezeExcite(width, rng=rng)       # without the ReLU, which follows the sum

    def forward(self, x):
        return ops.relu(self.shortcut(x) + self.se(self.bn2(self.inner(x))))


class SEBottleneck(Bottleneck):
    """`Bottleneck`, likewise."""

    def __init__(self, inputs, width, stride, *, rng):
        super().__init__(inputs, width, stride, rng=rng)
        self.bn3, self.se = BatchNorm2d(4 * width), SqueezeExcite(4 * width, rng=rng)

    def forward(self, x):
        return ops.relu(self.shortcut(x) + self.se(self.bn3(self.inner(x))))


def se_resnet18(classes=1000, *, rng=0):
    """SE-ResNet-18: 11 778 592 parameters with 1000 classes, 0.8 % more than ResNet-18."""
    return ResNet((2, 2, 2, 2), classes, block=SEBasicBlock, rng=as_rng(rng))


def se_resnet50(classes=1000, *, rng=0):
    """SE-ResNet-50: 28 088 024 parameters with 1000 classes, a tenth more than ResNet-50."""
    return ResNet((3, 4, 6, 3), classes, block=SEBottleneck, rng=as_rng(rng))
