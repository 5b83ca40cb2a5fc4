"""Layers that own parameters, put together into networks."""

from minivision.nn.containers import Sequential, Stages
from minivision.nn.fold import fold
from minivision.nn.initialisers import glorot_uniform, he_normal, he_uniform, small_normal, torch_bias, zeros
from minivision.nn.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    BatchNormReLU,
    Conv2d,
    ConvPoolReLU,
    ConvReLU,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Identity,
    InstanceNorm2d,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    ReLU6,
    Sigmoid,
    Upsample,
)
from minivision.nn.module import Module, watch

__all__ = ["Module", "fold", "watch", "Sequential", "Stages", "Linear", "Conv2d", "ConvReLU", "ConvPoolReLU", "BatchNorm2d",
           "BatchNormReLU", "InstanceNorm2d", "Dropout", "MaxPool2d", "AvgPool2d", "GlobalAvgPool2d", "AdaptiveAvgPool2d",
           "Identity", "ReLU", "ReLU6", "LeakyReLU", "Sigmoid", "Flatten", "Upsample", "he_normal", "he_uniform",
           "glorot_uniform", "small_normal", "torch_bias", "zeros"]
