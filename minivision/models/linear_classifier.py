"""The smallest classifier: one fully-connected layer on the pixels (chapter 01)."""

from minivision.backend import as_rng
from minivision.models.classifier import Classifier
from minivision.nn import Flatten, Linear
from minivision.nn.initialisers import small_normal


class LinearClassifier(Classifier):
    """scores = W·pixels + b (F1 with f left out, F10, F13): (N,C,H,W) → (N,classes). Row k of W is a picture of class k.

    size: the side of the square images.
    """

    def __init__(self, classes=10, channels=1, size=8, *, rng=0):
        self.flatten = Flatten()
        self.fc = Linear(channels * size * size, classes, rng=as_rng(rng), initialise=small_normal)

    def forward(self, x):
        return self.fc(self.flatten(x))
