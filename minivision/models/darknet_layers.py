"""darknet's layers: what each [section] of a .cfg means, in our ops.

A function per section makes a Module from the section, the channels of all maps so far, and the places that the section names.
"""

from dataclasses import dataclass

from minivision import ops
from minivision.nn import BatchNorm2d, Conv2d, Dropout, LeakyReLU, MaxPool2d, Module, ReLU, ReLU6, Sequential, Sigmoid, Upsample

ACTIVATIONS = {"linear": None, "leaky": lambda: LeakyReLU(0.1), "relu": ReLU, "relu6": ReLU6, "logistic": Sigmoid}


class Concat(Module):
    """[route] maps side by side: (N,C₁,H,W), (N,C₂,H,W) … → (N,ΣC,H,W)."""

    def forward(self, *maps):
        return ops.concat(*maps) if len(maps) > 1 else maps[0]


class Add(Module):
    """[shortcut] the map before and an earlier one of the same shape: x + y."""

    def forward(self, x, y):
        return x + y


class Scale(Module):
    """[scale_channels] one factor a channel, s (N,C,1,1), times an earlier map x (N,C,H,W)."""

    def forward(self, s, x):
        return s * x


class GlobalPool(Module):
    """[avgpool] (N,C,H,W) → (N,C,1,1)."""

    def forward(self, x):
        y = ops.global_avg_pool2d(x)
        return y.reshape(*y.shape, 1, 1)


@dataclass
class Head:
    """[yolo]: the priors (A,2) in pixels of the network's image, the number of classes, and how far beyond its cell a centre may
    reach: s·σ(t) − (s − 1)/2, s = `stretch`."""

    priors: tuple
    classes: int
    stretch: float


def convolution(section, inputs, eps, rng):
    """[convolutional]: conv → batch norm, if asked for → activation. (module, channels out, stride)"""
    section.refuse(dilation=1, antialiasing=0, binary=0, xnor=0, deform=0, share_index=0)
    filters, size = section.number("filters", least=1), section.number("size", 1, least=1)
    stride, groups = section.number("stride", 1, least=1), section.number("groups", 1, least=1)
    section.refuse(stride_x=stride, stride_y=stride)
    padding = size // 2 if section.number("pad", 0) else section.number("padding", 0)
    normed = bool(section.number("batch_normalize", 0))
    if inputs % groups or filters % groups:
        raise section.error(f"{inputs} channels and {filters} filters cannot be cut into {groups} groups", "groups")
    layers = {"conv": Conv2d(inputs, filters, size, stride=stride, padding=padding, groups=groups, bias=not normed, rng=rng)}
    if normed:
        layers["norm"] = BatchNorm2d(filters, eps=eps)
    if activation := ACTIVATIONS[section.one_of("activation", ACTIVATIONS, "logistic")]:      # darknet's default
        layers["activation"] = activation()
    return Sequential(layers), filters, stride


def max_pooling(section):
    """[maxpool]: without `padding`, size − 1 in all, the smaller half before. (module, stride)"""
    section.refuse(maxpool_depth=0, antialiasing=0)
    stride = section.number("stride", 1, least=1)
    section.refuse(stride_x=stride, stride_y=stride)
    size = section.number("size", stride, least=1)
    around = section.number("padding", size - 1)
    sides = (around // 2, around - around // 2)
    if max(sides) >= size:
        raise section.error(f"padding {around} is too much for a window of {size}", "padding")
    return MaxPool2d(size, stride=stride, padding=(sides, sides)), stride


def dropout(section, rng):
    section.refuse(dropblock=0, dropblock_size_abs=0)
    rate = section.number("probability", 0.5, float)
    if rate >= 1:
        raise section.error(f"probability is {rate}; expected less than 1", "probability")
    return Dropout(rate, rng=rng)


def upsampling(section):
    section.refuse(scale=1)
    factor = section.number("stride", 2, least=1)
    return Upsample(factor), factor


def head(section, inputs):
    """[yolo] on a map with `inputs` channels."""
    section.refuse(new_coords=0)
    classes, mask = section.number("classes", least=1), section.numbers("mask")
    sides = section.numbers("anchors", float)
    pairs = list(zip(sides[::2], sides[1::2]))
    if len(sides) % 2 or not all(side > 0 for side in sides):
        raise section.error(f"anchors are {len(sides)} numbers; expected pairs of width and height", "anchors")
    if not mask or not all(0 <= m < len(pairs) for m in mask):
        raise section.error(f"mask is {mask}; there are {len(pairs)} anchors", "mask")
    if inputs != len(mask) * (5 + classes):
        raise section.error(f"the map has {inputs} channels; {len(mask)} priors with 5 + {classes} numbers each take "
                            f"{len(mask) * (5 + classes)}")
    return Head(tuple(pairs[m] for m in mask), classes, section.number("scale_x_y", 1.0, float, least=1))


def earlier(section, option, at):
    """The indices of the layers that an option names: −1 is the one before, 0 the first of all."""
    found = []
    for value in section.numbers(option):
        index = at + value if value < 0 else value
        if not 0 <= index < at:
            raise section.error(f"{option} is {value}: layer {index}, and this is layer {at}; only earlier ones are there", option)
        found.append(index)
    if not found:
        raise section.error(f"{option} names no layer", option)
    return found
