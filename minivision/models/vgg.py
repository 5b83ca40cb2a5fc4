"""VGG-16 (Simonyan and Zisserman, ICLR 2015, configuration D): thirteen 3×3 convolutions, the body that SSD and Faster R-CNN were
published with."""

from minivision.nn import ConvReLU, MaxPool2d, Module, Sequential

D = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16Body(Module):
    """x (N,3,H,W) → conv5_3 (N,512,H/16,W/16): five groups of convolutions with ReLU, a pool between two groups.

    features[k] is group k + 1; conv4_3, which SSD reads, is the end of features[3].
    """

    strides, channels = (16,), (512,)

    def __init__(self, *, rng):
        inputs, groups = 3, []
        for k, widths in enumerate(D):
            layers = [MaxPool2d(2, ceil=True)] if k else []         # 300 → 150 → 75 → 38: SSD rounds up (its code; torchvision too)
            for width in widths:
                layers.append(ConvReLU(inputs, width, 3, padding=1, rng=rng))
                inputs = width
            groups.append(Sequential(*layers))
        self.features = groups

    def forward(self, x):
        for group in self.features:
            x = group(x)
        return [x]
