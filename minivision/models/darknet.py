"""Networks that darknet's .cfg files describe: YOLO v3 and its small relatives (YOLO-Fastest, MobileNet-YOLO, yoloface), with their
published weights (`weights.load_darknet`)."""

import numpy as np

from minivision.backend import as_rng, to_device
from minivision.detection.anchors import levels
from minivision.detection.boxes import from_centre, to_centre
from minivision.detection.selection import select
from minivision.models import darknet_layers as layers
from minivision.models.darknet_cfg import read_cfg
from minivision.models.detector import Detector, rows
from minivision.ops.activation import stable_sigmoid
from minivision.tensor import Tensor


class Darknet(Detector):
    """A chain of layers, some of which look back at earlier ones, with [yolo] heads on some maps (Redmon and Farhadi, arXiv
    1804.02767).

        b_x = (s·σ(t_x) − (s − 1)/2 + column)·stride      b_w = p_w·e^t_w      score of class k = σ(t_o)·σ(t_k)
        b_y = (s·σ(t_y) − (s − 1)/2 + row)·stride         b_h = p_h·e^t_h      s = 1 in v3, a little more in later ones

    cfg: a .cfg file. eps: of batch norm; darknet's own is 1e-5. image_size: (H,W) that the network was trained for; images come
    stretched to it, pixels/255. To detect with, not to train: the course's `YOLO` has the losses.
    """

    least, suppression, most = 0.01, 0.45, 100

    def __init__(self, cfg, *, eps=1e-5, rng=0):
        rng, (net, *sections) = as_rng(rng), read_cfg(cfg)
        self.image_size = net.number("height", least=1), net.number("width", least=1)
        inputs = net.number("channels", 3, least=1)
        self.layers, self.plan, self.heads = [], [], []
        channels, strides = [], []                          # of the map behind each layer
        for at, section in enumerate(sections):
            C, stride = (channels[-1], strides[-1]) if at else (inputs, 1)
            module, sources, step = None, (at - 1,), 1
            if section.name == "convolutional":
                module, C, step = layers.convolution(section, C, eps, rng)
            elif section.name == "maxpool":
                module, step = layers.max_pooling(section)
            elif section.name == "dropout":
                module = layers.dropout(section, rng)
            elif section.name == "upsample":
                module, factor = layers.upsampling(section)
                step = 1 / factor
            elif section.name == "avgpool":
                module, stride = layers.GlobalPool(), 0     # the whole map in one place: it has no stride
            elif section.name == "route":
                section.refuse(groups=1, group_id=0)
                sources = layers.earlier(section, "layers", at)
                module, C = layers.Concat(), sum(channels[i] for i in sources)
                stride = same(section, "stride", [strides[i] for i in sources])
            elif section.name == "shortcut":
                sources, module = (at - 1, *layers.earlier(section, "from", at)), layers.Add()
                same(section, "number of channels", [channels[i] for i in sources])
                same(section, "stride", [strides[i] for i in sources])
                section.one_of("activation", ("linear",), "linear")
            elif section.name == "scale_channels":
                section.refuse(scale_wh=0, activation="linear")
                (source,) = layers.earlier(section, "from", at)[:1]
                sources, module, stride = (at - 1, source), layers.Scale(), strides[source]
                same(section, "number of channels", [channels[i] for i in sources])
            elif section.name == "yolo":
                if not stride:
                    raise section.error("it stands behind [avgpool], where there are no places left")
                self.heads.append((at - 1, layers.head(section, C), int(stride)))
            else:
                raise section.error("an unknown kind of layer")
            self.layers.append(module)
            self.plan.append(tuple(sources))
            channels.append(C)
            strides.append(stride * step)
        last = next((s for s in reversed(sections) if s.name == "yolo"), net)
        self.classes = same(last, "number of classes", [head.classes for _, head, _ in self.heads]) if self.heads else 0
        self.stride = int(max([1, *(s for s in strides if s)]))
        self.kept = {i for at, sources in enumerate(self.plan) for i in sources if i != at - 1} | {at for at, *_ in self.heads}

    def forward(self, x):
        """x (N,C,H,W) → [raw maps (N, A·(5+K), H/stride, W/stride)], one a head; without heads, the last map."""
        maps, last = {}, x
        for at, (layer, sources) in enumerate(zip(self.layers, self.plan)):
            inputs = [last if i == at - 1 else maps[i] for i in sources]
            last = layer(*inputs) if layer else last
            if at in self.kept:
                maps[at] = last
        return [maps[at] for at, *_ in self.heads] or [last]

    def found(self, frame):
        if not self.heads:
            raise ValueError("this network has no [yolo] section: it finds nothing")
        boxes, scores = self.decode([to_device(m.data, "cpu") for m in self(Tensor(frame.x))])
        return [select(b, p, size, least=self.least, threshold=self.suppression, most=self.most)
                for b, p, size in zip(boxes, scores, frame.sizes)]

    def decode(self, maps):
        """Boxes (N,R,4) in pixels of the network's image and scores (N,R,K), of all heads, row by row, prior by prior."""
        boxes, scores = [], []
        for m, (_, head, stride) in zip(maps, self.heads):
            t = rows(m, 5 + head.classes)
            prior = to_centre(levels([head.priors], [m.shape[2:]], [stride]).astype(m.dtype))
            centre = prior[:, :2] + head.stretch * (stable_sigmoid(t[..., :2]) - 0.5) * stride
            size = prior[:, 2:] * np.exp(np.clip(t[..., 2:4], -10, 10))          # an untrained network may say e^80
            boxes.append(from_centre(np.concatenate([centre, size], axis=-1).reshape(-1, 4)).reshape(*centre.shape[:2], 4))
            scores.append(stable_sigmoid(t[..., 4:5]) * stable_sigmoid(t[..., 5:]))
        return np.concatenate(boxes, axis=1), np.concatenate(scores, axis=1)


def same(section, what, values):
    """The one value that all have; an error of the section where they differ."""
    if len(set(values)) != 1:
        raise section.error(f"joins maps of different {what}: {', '.join(map(str, values))}")
    return values[0]
