"""AlexNet (Krizhevsky et al., NIPS 2012; in the widths of "One weird trick", arXiv 1404.5997, as torchvision has it)."""

from minivision.backend import as_rng
from minivision.models.classifier import Classifier
from minivision.nn import AdaptiveAvgPool2d, ConvReLU, Dropout, Flatten, Linear, MaxPool2d, ReLU, Sequential, Stages
from minivision.nn.initialisers import small_normal


class AlexNet(Classifier):
    """The network that began it in 2012: large filters first, three fully-connected layers that hold 96 % of the parameters.

        conv 11×11/4, 64 → pool → conv 5×5, 192 → pool → conv 3×3, 384 → conv 256 → conv 256 → pool → mean to 6×6
        → dropout → fc 4096 → dropout → fc 4096 → fc classes            pool: 3×3/2, so windows overlap (§3.4)

    (N,3,H,W) → scores (N,classes), H and W at least 63. Left out of the paper's: local response normalisation (§3.3), and the
    cut into two halves for two GPUs (§3.2).
    """

    strides, channels = (8, 16, 32), (192, 256, 256)

    def __init__(self, classes=1000, *, dropout=0.5, rng=0):
        rng = as_rng(rng)
        self.features = Stages({
            "0": ConvReLU(3, 64, 11, stride=4, padding=2, rng=rng), "2": MaxPool2d(3, stride=2),
            "3": ConvReLU(64, 192, 5, padding=2, rng=rng), "5": MaxPool2d(3, stride=2),
            "6": ConvReLU(192, 384, 3, padding=1, rng=rng), "8": ConvReLU(384, 256, 3, padding=1, rng=rng),
            "10": ConvReLU(256, 256, 3, padding=1, rng=rng), "12": MaxPool2d(3, stride=2)}, ends=("3", "10", "12"))
        self.avgpool, self.flatten = AdaptiveAvgPool2d(6), Flatten()
        self.classifier = Sequential(Dropout(dropout, rng=rng), Linear(256 * 6 * 6, 4096, rng=rng), ReLU(),
                                     Dropout(dropout, rng=rng), Linear(4096, 4096, rng=rng), ReLU(),
                                     Linear(4096, classes, rng=rng, initialise=small_normal))

    def forward(self, x):
        return self.classifier(self.flatten(self.avgpool(self.features(x)[-1])))


def alexnet(classes=1000, *, rng=0):
    """AlexNet: 61 100 840 parameters with 1000 classes."""
    return AlexNet(classes, rng=rng)
