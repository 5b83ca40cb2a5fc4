"""Networks, one file each. A model has `loss(images, targets)`, a dict of named Tensors, whatever its task."""

from minivision.models.alexnet import AlexNet, alexnet
from minivision.models.classifier import Classifier
from minivision.models.darknet import Darknet
from minivision.models.densenet import DenseNet, densenet121
from minivision.models.detector import Detector
from minivision.models.faster_rcnn import FasterRCNN
from minivision.models.faster_rcnn_nets import faster_rcnn_resnet50_fpn, faster_rcnn_vgg16, small_faster_rcnn
from minivision.models.googlenet import GoogLeNet, googlenet
from minivision.models.linear_classifier import LinearClassifier
from minivision.models.mnist7 import MNIST7
from minivision.models.mobilenet_v2 import MobileNetV2, mobilenet_v2
from minivision.models.resnet import ResNet, resnet18, resnet34, resnet50
from minivision.models.resnet9 import ResNet9, resnet9
from minivision.models.resnet_cifar import ResNetCIFAR, resnet20, resnet56
from minivision.models.se_resnet import se_resnet18, se_resnet50
from minivision.models.small_cnn import SmallCNN, ThreeConvCNN
from minivision.models.squeezenet import SqueezeNet, squeezenet1_1
from minivision.models.ssd import SSD, small_ssd
from minivision.models.ssd300 import ssd300_vgg16
from minivision.models.ultraface import UltraFace, ultraface_rfb, ultraface_slim
from minivision.models.vgg import VGG, vgg11, vgg16
from minivision.models.yolo import YOLO, small_yolo
from minivision.models.yolo_v1 import YOLOv1, small_yolo_v1, yolo_v1

__all__ = ["Classifier", "AlexNet", "alexnet", "VGG", "vgg11", "vgg16", "GoogLeNet", "googlenet", "DenseNet", "densenet121",
           "se_resnet18", "se_resnet50", "SqueezeNet", "squeezenet1_1", "MobileNetV2", "mobilenet_v2", "LinearClassifier",
           "SmallCNN", "ThreeConvCNN", "ResNet9", "resnet9", "ResNetCIFAR", "resnet20", "resnet56", "ResNet", "resnet18",
           "resnet34", "resnet50", "MNIST7", "Detector", "Darknet", "UltraFace", "ultraface_slim", "ultraface_rfb", "FasterRCNN",
           "small_faster_rcnn", "faster_rcnn_vgg16", "faster_rcnn_resnet50_fpn", "SSD", "small_ssd", "ssd300_vgg16", "YOLO",
           "small_yolo", "YOLOv1", "small_yolo_v1", "yolo_v1"]
