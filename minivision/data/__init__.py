"""Images and labels: readers, transforms, batches, and the data sets that can be had."""

from minivision.data import sets
from minivision.data.batches import Batches
from minivision.data.cifar import read_cifar10
from minivision.data.folder import ImageFolder
from minivision.data.idx import read_idx, read_idx_pair
from minivision.data.images import read_image
from minivision.data.labelled import LabelledImages
from minivision.data.sets import data_home, get, load
from minivision.data.transforms import center_crop, normalise, random_crop, random_flip, resize, statistics

__all__ = ["Batches", "ImageFolder", "LabelledImages", "read_image", "read_idx", "read_idx_pair", "read_cifar10", "load",
           "get", "data_home", "sets", "resize", "center_crop", "random_crop", "random_flip", "normalise", "statistics"]
