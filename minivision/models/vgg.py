"""VGG (Simonyan and Zisserman, ICLR 2015): nothing but 3×3 convolutions and pools; two of them see what one 5×5 sees, with 18
weights instead of 25 and a ReLU more. The body is what SSD and Faster R-CNN were published with."""

from minivision.backend import as_rng
from minivision.models.classifier import Classifier
from minivision.nn import AdaptiveAvgPool2d, ConvReLU, Dropout, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential, Stages
from minivision.nn.initialisers import small_normal

# Table 1: the widths of the convolutions between two pools.
A = ((64,), (128,), (256, 256), (512, 512), (512, 512))                                             # VGG-11
D = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))                       # VGG-16


def layers(groups, *, ceil=False, rng):
    """{name: layer} of convolutions with ReLU, a pool behind each group; a name counts the ReLU too, as in torchvision."""
    found, at, inputs = {}, 0, 3
    for widths in groups:
        for width in widths:
            found[str(at)] = ConvReLU(inputs, width, 3, padding=1, rng=rng)
            at, inputs = at + 2, width
        found[str(at)] = MaxPool2d(2, ceil=ceil)
        at += 1
    return found


class VGG(Classifier):
    """Five groups of convolutions → mean to 7×7 → fc 4096 → dropout → fc 4096 → dropout → fc classes.

    (N,3,H,W) → scores (N,classes), H and W at least 32. Three quarters of the parameters and more are in the first
    fully-connected layer: 25 088 × 4096.
    """

    strides, channels = (4, 8, 16, 32), (256, 512, 512, 512)

    def __init__(self, groups, classes=1000, *, dropout=0.5, rng=0):
        rng = as_rng(rng)
        found = layers(groups, rng=rng)
        names = list(found)
        before_pool = [a for a, b in zip(names, names[1:]) if isinstance(found[b], MaxPool2d)]
        self.features = Stages(found, ends=(*before_pool[2:], names[-1]))
        self.avgpool, self.flatten = AdaptiveAvgPool2d(7), Flatten()
        self.classifier = Sequential(Linear(512 * 7 * 7, 4096, rng=rng), ReLU(), Dropout(dropout, rng=rng),
                                     Linear(4096, 4096, rng=rng), ReLU(), Dropout(dropout, rng=rng),
                                     Linear(4096, classes, rng=rng, initialise=small_normal))

    def forward(self, x):
        return self.classifier(self.flatten(self.avgpool(self.features(x)[-1])))


def vgg11(classes=1000, *, rng=0):
    """VGG-11 (configuration A): 132 863 336 parameters with 1000 classes."""
    return VGG(A, classes, rng=rng)


def vgg16(classes=1000, *, rng=0):
    """VGG-16 (configuration D): 138 357 544 parameters with 1000 classes."""
    return VGG(D, classes, rng=rng)


class VGG16Body(Module):
    """x (N,3,H,W) → [conv5_3 (N,512,H/16,W/16)], what Faster R-CNN was published with. Odd sides are rounded up."""

    strides, channels = (16,), (512,)

    def __init__(self, *, rng):
        found = layers(D, ceil=True, rng=as_rng(rng))
        found.popitem()                                     # the last pool
        self.features = Sequential(found)

    def forward(self, x):
        return [self.features(x)]
