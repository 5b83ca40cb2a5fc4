"""Images and what is in them: readers, writers, transforms, batches, and the data sets that can be had."""

from minivision.data import published, sets
from minivision.data.annotated import DetectionSet, Problem
from minivision.data.augment import cutout, mixup, random_colour, random_rotate, random_zoom
from minivision.data.batches import Batches
from minivision.data.checking import check, read_detection
from minivision.data.cifar import read_cifar10
from minivision.data.coco import read_coco, read_coco_results, write_coco, write_coco_results
from minivision.data.crops import crops
from minivision.data.detection_batches import DetectionBatches
from minivision.data.folder import ImageFolder
from minivision.data.idx import read_idx, read_idx_pair
from minivision.data.images import image_size, read_image
from minivision.data.labelled import LabelledImages
from minivision.data.preparation import Preparation
from minivision.data.published import data_home, get
from minivision.data.scenes import scene, scenes
from minivision.data.sets import load, load_detection
from minivision.data.transforms import center_crop, normalise, random_crop, random_flip, resize, statistics
from minivision.data.voc import read_voc, read_voc_files, write_voc
from minivision.data.yolo import read_yolo, read_yolo_files, write_yolo

__all__ = ["Batches", "DetectionBatches", "DetectionSet", "ImageFolder", "LabelledImages", "Preparation", "Problem",
           "center_crop", "check", "crops", "cutout", "data_home", "get", "image_size", "load", "load_detection", "mixup",
           "normalise", "published", "random_crop", "random_flip", "random_colour", "random_rotate", "random_zoom",
           "read_cifar10", "read_coco", "read_coco_results", "read_detection", "read_idx", "read_idx_pair", "read_image",
           "read_voc", "read_voc_files", "read_yolo", "read_yolo_files", "resize", "scene", "scenes", "sets", "statistics",
           "write_coco", "write_coco_results", "write_voc", "write_yolo"]
