"""SSD300 on VGG-16, as published (Liu et al., ECCV 2016, figure 2 and §3; the authors' code for what the paper leaves open)."""

import numpy as np

from minivision import ops
from minivision.backend import as_rng
from minivision.detection.default_boxes import SSD300, level_shapes
from minivision.models.ssd import SSD
from minivision.models.vgg import D, layers
from minivision.nn import ConvReLU, MaxPool2d, Module, Sequential
from minivision.nn.layers import parameter


class SSD300Features(Module):
    """x (N,3,300,300) → six maps of 38, 19, 10, 5, 3 and 1 pixels a side.

        VGG-16 to conv4_3 → L2 norm, scale 20 (38)           conv8_2, conv9_2: 1×1, then 3×3/2 (10, 5)
        conv5_3 → pool 3/1 → fc6, fc7 as convolutions (19)   conv10_2, conv11_2: 1×1, then 3×3 without padding (3, 1)

    fc6 is 3×3 with holes (dilation 6) instead of 7×7: a third of VGG's weights, every third one, and the same reach.
    The parameters' names are those of torchvision's backbone.
    """

    strides = tuple(stride for _, stride, *_ in SSD300)
    channels = (512, 1024, 512, 256, 256, 256)

    def __init__(self, *, rng):
        rng = as_rng(rng)
        vgg = layers(D, ceil=True, rng=rng)
        vgg.popitem()                                                   # the last pool: fc6 stands in its place
        names = list(vgg)
        cut = names.index("23")                                         # the pool behind conv4_3
        self.features, self.scale_weight = Sequential({name: vgg[name] for name in names[:cut]}), parameter(np.full(512, 20))
        fc = Sequential({"0": MaxPool2d(3, stride=1, padding=1), "1": ConvReLU(512, 1024, 3, padding=6, dilation=6, rng=rng),
                         "3": ConvReLU(1024, 1024, 1, rng=rng)})
        extras = ((1024, 256, 512, 2), (512, 128, 256, 2), (256, 128, 256, 1), (256, 128, 256, 1))
        self.extra = [Sequential({str(int(name) - 23): vgg[name] for name in names[cut:]} | {"7": fc}),
                      *(Sequential({"0": ConvReLU(i, middle, 1, rng=rng),
                                    "2": ConvReLU(middle, o, 3, stride=stride, padding=stride - 1, rng=rng)})
                        for i, middle, o, stride in extras)]

    def forward(self, x):
        if x.shape[2:] != (300, 300):
            raise ValueError(f"the images' frame is {x.shape[2:]}; SSD300 takes images of at most 300×300: resize them (the paper "
                             "stretches them to exactly that)")
        x = self.features(x)
        maps = [ops.l2_norm2d(x, self.scale_weight)]
        for layer in self.extra:
            x = layer(x)
            maps.append(x)
        return maps


def ssd300_vgg16(classes=20, levels=SSD300, *, rng=0):
    """SSD300: 8732 default boxes for an image of 300²; 35 641 826 parameters with 90 classes. levels: `default_boxes.SSD300`, or
    `SSD300_COCO` with smaller boxes. No box is wider or higher than the image."""
    rng = as_rng(rng)
    shapes = [np.minimum(level_shapes(size, following, ratios), 300) for _, _, size, following, ratios in levels]
    return SSD(SSD300Features(rng=rng), shapes, classes, stride=300, rng=rng)       # its maps shrink to one pixel at 300 alone
