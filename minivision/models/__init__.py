"""Networks, one file each. A model has `loss(images, targets)`, a dict of named Tensors, whatever its task."""

from minivision.models.classifier import Classifier
from minivision.models.linear_classifier import LinearClassifier
from minivision.models.mnist7 import MNIST7
from minivision.models.resnet import ResNet, resnet18, resnet34
from minivision.models.resnet_cifar import ResNetCIFAR, resnet20, resnet56
from minivision.models.small_cnn import SmallCNN, ThreeConvCNN

__all__ = ["Classifier", "LinearClassifier", "SmallCNN", "ThreeConvCNN", "ResNetCIFAR", "resnet20", "resnet56", "ResNet",
           "resnet18", "resnet34", "MNIST7"]
