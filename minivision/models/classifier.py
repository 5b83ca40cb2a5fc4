"""What all image classifiers share: their loss, their answer, and how it is scored."""

import numpy as np

from minivision.backend import to_device
from minivision.nn import Module
from minivision.ops import softmax_cross_entropy
from minivision.ops.activation import stable_softmax
from minivision.tensor import Tensor, no_grad


class Classifier(Module):
    """A network from images (N,C,H,W) to scores (N,K), raw: the softmax is in the loss, once (E16).

    The published networks take images of any size, and have

        features(x)     [maps], finest first, of .strides pixels and .channels: what a detector or a new head builds on
    """

    smoothing = 0.0         # label smoothing of the training loss
    main_metric = "accuracy"

    def loss(self, images, labels):
        """{"cross_entropy": Tensor}: images (N,C,H,W), labels (N,) in 0 … K−1. At chance it is ln K."""
        return {"cross_entropy": softmax_cross_entropy(self(Tensor(images)), labels, smoothing=self.smoothing)}

    def probabilities(self, images, mirror=False):
        """(N,K): how likely each class is, in evaluation mode, without recording. images (N,C,H,W). mirror: the mean
        of what it says of each image and of its mirror image (Krizhevsky et al., NIPS 2012, §4.1, average over ten views)."""
        with self.evaluating(), no_grad():
            p = stable_softmax(self(Tensor(images)).data, 1)
            return (p + stable_softmax(self(Tensor(images[..., ::-1])).data, 1)) / 2 if mirror else p

    def predict(self, images):
        """(N,): the likeliest class of each image."""
        return self.probabilities(images).argmax(axis=1)

    def evaluate(self, batches, mirror=False):
        """{"loss": mean cross-entropy, "accuracy": share of right answers} over batches of (images, labels); mirror: see
        `probabilities`."""
        right = count = 0
        total = 0.0
        for images, labels in batches:
            p = to_device(self.probabilities(to_device(images, self.device), mirror), "cpu")
            labels = to_device(labels, "cpu")
            total -= float(np.log(np.maximum(p[np.arange(len(p)), labels], 1e-30), dtype=np.float64).sum())
            right += int((p.argmax(axis=1) == labels).sum())
            count += len(labels)
        if count == 0:
            raise ValueError("there are no images to evaluate")
        return {"loss": total / count, "accuracy": right / count}
