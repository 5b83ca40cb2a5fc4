"""darknet's .cfg networks as PyTorch's users would write them: the layers of YOLO-Fastest, for timing alone."""

import torch
from torch import nn

from minivision.models.darknet_cfg import read_cfg


class Darknet(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        _, *sections = read_cfg(cfg)
        self.layers, self.sources, channels = nn.ModuleList(), [], []
        for at, s in enumerate(sections):
            C, sources, layer = channels[-1] if at else 3, [at - 1], nn.Identity()
            if s.name == "convolutional":
                size, filters, groups = s.number("size"), s.number("filters"), s.number("groups", 1)
                normed = bool(s.number("batch_normalize", 0))
                padding = size // 2 if s.number("pad", 0) else 0
                parts = [nn.Conv2d(C, filters, size, s.number("stride", 1), padding, groups=groups, bias=not normed)]
                parts += [nn.BatchNorm2d(filters)] if normed else []
                kind = s.one_of("activation", ("leaky", "relu", "linear"))
                parts += {"leaky": [nn.LeakyReLU(0.1, inplace=True)], "relu": [nn.ReLU(inplace=True)], "linear": []}[kind]
                layer, C = nn.Sequential(*parts), filters
            elif s.name == "maxpool":
                layer = nn.MaxPool2d(s.number("size"), s.number("stride"), (s.number("size") - 1) // 2)
            elif s.name == "upsample":
                layer = nn.Upsample(scale_factor=s.number("stride"))
            elif s.name in ("route", "shortcut"):
                named = s.numbers("layers" if s.name == "route" else "from")
                sources = ([at - 1] if s.name == "shortcut" else []) + [at + i if i < 0 else i for i in named]
                C = sum(channels[i] for i in sources) if s.name == "route" else C
            self.layers.append(layer)
            self.sources.append((s.name, sources))
            channels.append(C)

    def forward(self, x):
        maps, heads = [], []
        for layer, (name, sources) in zip(self.layers, self.sources):
            inputs = [maps[i] if i >= 0 else x for i in sources]
            if name == "route":
                y = torch.cat(inputs, 1) if len(inputs) > 1 else inputs[0]
            elif name == "shortcut":
                y = inputs[0] + inputs[1]
            else:
                y = layer(inputs[0])
            if name == "yolo":
                heads.append(y)
            maps.append(y)
        return heads
