"""Faster R-CNN (Ren et al., NIPS 2015): first where something may be, then what it is and where exactly."""

from dataclasses import dataclass

import numpy as np

from minivision import ops
from minivision.backend import as_rng, to_device
from minivision.detection import coder
from minivision.detection.boxes import iou
from minivision.detection.matching import by_threshold
from minivision.detection.sampling import balanced
from minivision.detection.selection import select
from minivision.models.detector import Detector, unknown
from minivision.nn import Linear, Module
from minivision.nn.initialisers import zeros
from minivision.ops.activation import stable_softmax
from minivision.tensor import Tensor


class TwoLayers(Module):
    """RoI features (R,C,P,Q) → fc → ReLU → fc → ReLU (R,hidden); with `dropout` behind each, where the VGG head has it."""

    def __init__(self, inputs, hidden, *, dropout=None, rng):
        self.fc6, self.fc7, self.dropout = Linear(inputs, hidden, rng=rng), Linear(hidden, hidden, rng=rng), dropout

    def forward(self, x):
        for layer in (self.fc6, self.fc7):
            x = ops.relu(layer(ops.flatten(x)))
            x = self.dropout(x) if self.dropout else x
        return x


class BoxPredictor(Module):
    """A (R,hidden) → class scores (R,K+1), the first of background, and four offsets for each class (R,4·(K+1)).

        P_cls = softmax(W_cls·A + b_cls)      t = W_reg·A + b_reg       (F2 and F3: document 000, §3.4)

    The document puts a softmax around the second line as well: offsets would be positive and sum to 1 (E6).
    They are linear.
    """

    def __init__(self, hidden, classes, *, rng):
        self.cls_score = Linear(hidden, classes + 1, rng=rng, initialise=zeros)
        self.bbox_pred = Linear(hidden, 4 * (classes + 1), rng=rng, initialise=zeros)

    def forward(self, a):
        return self.cls_score(a), self.bbox_pred(a)


@dataclass
class HeadSettings:
    sample: int = 512               # RoIs an image that the loss looks at (torchvision; Fast R-CNN has 64 of each of two images)
    positive: float = 0.25          # at most this share of them with an object (Girshick, ICCV 2015, §2.3)
    overlap: float = 0.5            # IoU of a RoI with its object
    deviations: tuple = (0.1, 0.1, 0.2, 0.2)
    beta: float = 1 / 9             # of the smooth L1: torchvision's; the paper has 1
    size: tuple = (7, 7)            # of the RoI features
    canonical: tuple = (224, 16)    # a RoI of 224² is cut from the map of stride 16, one half as large from 8 … (FPN, eq. 1)


class RoIHeads(Module):
    """Cuts every RoI out of its map, and says what it is. cut: `ops.roi_align`, or `ops.roi_pool` as in the paper."""

    def __init__(self, box_head, hidden, classes, strides, cut=ops.roi_align, options=None, settings=None, *, rng):
        self.rng, self.settings, self.strides = as_rng(rng), settings or HeadSettings(), tuple(strides)
        self.cut, self.options, self.classes = cut, options or {}, classes
        self.box_head, self.box_predictor = box_head, BoxPredictor(hidden, classes, rng=self.rng)

    def forward(self, maps, boxes, image):
        """Class scores (R,K+1) and offsets (R,K+1,4) of RoIs (R,4) on images (R,), sorted by level: see `level`."""
        level, parts = self.level(boxes), []
        for k, (m, stride) in enumerate(zip(maps, self.strides)):
            mine = level == k
            if mine.any() or (k == 0 and not len(boxes)):
                parts.append(self.cut(m, boxes=to_device(boxes[mine], m.device), image=to_device(image[mine], m.device),
                                      size=self.settings.size, scale=1 / stride, **self.options))
        scores, offsets = self.box_predictor(self.box_head(ops.concat(*parts, axis=0) if len(parts) > 1 else parts[0]))
        return scores, offsets.reshape(len(boxes), self.classes + 1, 4)

    def level(self, boxes):
        """(R,) which map each box is cut from: k = ⌊k0 + log2(√(w·h)/224)⌋ (Lin et al. 2017, equation 1), kept within the maps."""
        size, stride = self.settings.canonical
        side = np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-6))
        k = np.floor(np.log2(stride / self.strides[0]) + np.log2(side / size) + 1e-6)
        return np.clip(k, 0, len(self.strides) - 1).astype(int)

    def sorted_by_level(self, boxes, *columns):
        order = np.argsort(self.level(boxes), kind="stable")
        return tuple(x[order] for x in (boxes, *columns))

    def choose(self, proposals, targets):
        """RoIs to learn from, of all images: boxes (R,4), image (R,), labels (R,) with 0 for background,
        offsets (R,4). Arrays: no gradient. The objects themselves are added to the proposals, so that early on
        there is something to recognise."""
        s, chosen = self.settings, []
        for n, (boxes, target) in enumerate(zip(proposals, targets)):
            objects = target.boxes[~(target.difficult | target.crowd)]
            boxes = np.concatenate([boxes, objects.astype(boxes.dtype)])
            label, wanted = self.told(boxes, target)
            boxes, label, wanted = (x[~unknown(boxes, target) | (label > 0)] for x in (boxes, label, wanted))
            rows = np.concatenate(balanced(label - 1, s.sample, self.rng, s.positive))
            chosen.append((boxes[rows], np.full(len(rows), n), label[rows], wanted[rows]))
        return self.sorted_by_level(*(np.concatenate(parts) for parts in zip(*chosen)))

    def told(self, boxes, target):
        """What each box (R,4) is to answer: (labels (R,), 0 for background; offsets (R,4), 0 there)."""
        asked = ~(target.difficult | target.crowd)
        objects, overlap = target.boxes[asked].astype(boxes.dtype), self.settings.overlap
        match = by_threshold(iou(boxes, objects), overlap, overlap, low_quality=False)
        label, wanted, positive = np.zeros(len(boxes), int), np.zeros((len(boxes), 4), boxes.dtype), match >= 0
        label[positive] = target.labels[asked][match[positive]] + 1
        wanted[positive] = coder.encode(objects[match[positive]], boxes[positive], self.settings.deviations)
        return label, wanted

    def losses(self, scores, offsets, labels, wanted):
        """Fast R-CNN's L_cls and L_loc (equation 1), both divided by the number of RoIs; of the K+1 boxes of a
        RoI only its true class's learns."""
        R, K = len(labels), self.classes + 1
        positive = (np.arange(K) == labels[:, None]) & (labels[:, None] > 0)
        target = np.where(positive[:, :, None], wanted[:, None], 0)
        labels, positive, target = (to_device(x, self.device) for x in (labels, positive, target))
        return {"head_class": ops.class_loss(scores, labels=labels, divisor=max(1, R)),
                "head_box": ops.box_loss(offsets.reshape(-1, 4), target=target.reshape(-1, 4), positive=positive.reshape(-1),
                                         divisor=max(1, R), beta=self.settings.beta)}


class FasterRCNN(Detector):
    """backbone → maps → RPN → proposals → RoI features → head (document 000, §3.4; C2: §4.2).

    backbone    Module, x → maps; has .strides
    rpn         `RPN`; it may have one map more than the RoIs are cut from
    roi_heads   `RoIHeads`
    """

    least, suppression, most, candidates = 0.05, 0.5, 100, 400

    def __init__(self, backbone, rpn, roi_heads):
        self.backbone, self.rpn, self.roi_heads, self.classes = backbone, rpn, roi_heads, roi_heads.classes
        self.stride = max(32, *backbone.strides)

    def losses(self, frame, targets):
        maps = self.backbone(Tensor(frame.x))
        scores, offsets, anchors, counts = self.rpn(maps)
        proposals = self.rpn.propose(scores.data, offsets.data, anchors, counts, frame)
        boxes, image, labels, wanted = self.roi_heads.choose(proposals, targets)
        return {**self.rpn.losses(scores, offsets, anchors, frame, targets),
                **self.roi_heads.losses(*self.roi_heads(maps, boxes, image), labels, wanted)}

    def joints(self):
        return [(self.rpn, "assign"), (self.rpn, "propose"), (self.roi_heads, "choose")]

    def found(self, frame):
        maps = self.backbone(Tensor(frame.x))
        scores, offsets, anchors, counts = self.rpn(maps)
        proposals = self.rpn.propose(scores.data, offsets.data, anchors, counts, frame)
        image = np.repeat(np.arange(len(proposals)), [len(p) for p in proposals])
        boxes, image = self.roi_heads.sorted_by_level(np.concatenate(proposals), image)
        scores, offsets = (to_device(y.data, "cpu") for y in self.roi_heads(maps, boxes, image))
        return self.answers(scores, offsets, boxes, image, frame)

    def answers(self, scores, offsets, boxes, image, frame):
        """[Detections] from scores (R,K+1) and offsets (R,K+1,4) of RoIs (R,4) on images (R,)."""
        p, t = stable_softmax(scores, 1)[:, 1:], offsets[:, 1:]
        each = np.broadcast_to(boxes[:, None], t.shape).reshape(-1, 4)
        found = coder.decode(t.reshape(-1, 4), each, self.roi_heads.settings.deviations).reshape(-1, self.classes, 4)
        keep = {"least": self.least, "threshold": self.suppression, "most": self.most, "candidates": self.candidates}
        return [select(found[image == n], p[image == n], size, **keep) for n, size in enumerate(frame.sizes)]

    def told(self, frame, targets):
        """[Detections] of a network both of whose stages answer exactly what they are told to."""
        _, _, anchors, counts = self.rpn(self.backbone(Tensor(frame.x)))
        _, positive, wanted = self.rpn.assign(anchors, frame, targets)
        proposals = self.rpn.propose(40.0 * positive - 20, wanted, anchors, counts, frame)
        labels, wanted = map(np.concatenate, zip(*(self.roi_heads.told(p, t) for p, t in zip(proposals, targets))))
        image = np.repeat(np.arange(len(proposals)), [len(p) for p in proposals])
        boxes, image, labels, wanted = self.roi_heads.sorted_by_level(np.concatenate(proposals), image, labels, wanted)
        columns = np.arange(self.classes + 1) == labels[:, None]
        return self.answers(20.0 * columns, np.where(columns[..., None], wanted[:, None], 0), boxes, image, frame)
