"""The small network below all three course-sized detectors, so that they are compared on equal terms."""

from minivision.backend import as_rng
from minivision.nn import BatchNormReLU, Conv2d, MaxPool2d, Module, Sequential


def conv_bn_relu(inputs, outputs, size=3, *, stride=1, rng):
    """conv → batch norm → ReLU; the norm's shift stands in for the convolution's bias."""
    return Sequential(Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False, rng=rng), BatchNormReLU(outputs))


class SmallBackbone(Module):
    """x (N,3,H,W) → feature maps of strides 8, 16 and 32, or the first `levels` of them.

        conv/2 16 → conv 32 → pool → conv 64, conv 64 → pool → conv 128, conv 128 → (8)
                                                       → pool → conv 192, conv 192 → (16) → conv/2 192 → (32)

    All convolutions 3×3 with batch norm and ReLU; H and W multiples of 32. Nothing is pretrained.
    """

    strides = (8, 16, 32)

    def __init__(self, widths=(16, 32, 64, 128, 192, 192), levels=3, *, rng):
        rng, (a, b, c, d, e, f) = as_rng(rng), widths
        self.stem = Sequential(conv_bn_relu(3, a, stride=2, rng=rng), conv_bn_relu(a, b, rng=rng), MaxPool2d(2),
                               conv_bn_relu(b, c, rng=rng), conv_bn_relu(c, c, rng=rng), MaxPool2d(2))
        self.stages = [Sequential(conv_bn_relu(c, d, rng=rng), conv_bn_relu(d, d, rng=rng)),
                       Sequential(MaxPool2d(2), conv_bn_relu(d, e, rng=rng), conv_bn_relu(e, e, rng=rng)),
                       conv_bn_relu(e, f, stride=2, rng=rng)][:levels]
        self.strides, self.channels = type(self).strides[:levels], (d, e, f)[:levels]

    def forward(self, x):
        maps, x = [], self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
