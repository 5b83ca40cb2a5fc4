"""SSD (Liu et al., ECCV 2016): default boxes on maps of several scales, each answering at once what and where."""

from functools import partial

import numpy as np

from minivision import ops
from minivision.backend import as_rng, to_device
from minivision.detection import coder, matching
from minivision.detection.anchors import as_levels, levels
from minivision.detection.default_boxes import level_shapes, scales
from minivision.detection.matching import BACKGROUND
from minivision.detection.sampling import hard_negatives
from minivision.detection.selection import select
from minivision.kernels.loss import cross_entropy_rows
from minivision.models.detector import Detector, assigned, rows
from minivision.models.small_backbone import SmallBackbone
from minivision.nn import Conv2d
from minivision.nn.initialisers import zeros
from minivision.ops.activation import stable_softmax
from minivision.tensor import Tensor


class SSD(Detector):
    """A backbone, and on each of its maps two 3×3 convolutions: K+1 class scores and four offsets for every
    default box.

    features    Module, x → maps; has .channels and .strides, one number a map
    shapes      for each map, widths and heights in pixels of its A default boxes, as
                `default_boxes.level_shapes` makes them
    classes     K; scores have a column more, the first, for background
    stride      frames have sides of a multiple of this

        L = (L_conf + α·L_loc) / N        N: matched boxes of the batch, α = 1

    (equation 1; F15, document 000 §3.5)
    """

    deviations = (0.1, 0.1, 0.2, 0.2)           # of the offsets: "variances" in the authors' code, not in the paper
    overlap, ratio = 0.5, 3                     # §2.2: matched at IoU > 0.5; three background boxes to each matched one
    least, suppression, most = 0.01, 0.45, 200  # §3: what `detect` keeps

    def __init__(self, features, shapes, classes, *, stride=32, rng=0):
        rng = as_rng(rng)
        self.features, self.classes = features, classes
        self.shapes, self.stride = as_levels(shapes, features.strides), stride
        heads = [(C, len(level)) for C, level in zip(features.channels, self.shapes)]
        self.class_heads = [Conv2d(C, A * (classes + 1), 3, padding=1, rng=rng, initialise=zeros) for C, A in heads]
        self.box_heads = [Conv2d(C, A * 4, 3, padding=1, rng=rng, initialise=zeros) for C, A in heads]

    def forward(self, x):
        """x (N,3,H,W) → scores (N,R,K+1), offsets (N,R,4), default boxes (R,4): of all maps, one after the other."""
        maps = self.features(x)
        scores = [rows(head(m), self.classes + 1) for head, m in zip(self.class_heads, maps)]
        offsets = [rows(head(m), 4) for head, m in zip(self.box_heads, maps)]
        boxes = levels(self.shapes, [m.shape[2:] for m in maps], self.features.strides)
        return ops.concat(*scores, axis=1), ops.concat(*offsets, axis=1), boxes.astype(x.dtype)

    def losses(self, frame, targets):
        scores, offsets, boxes = self(Tensor(frame.x))
        labels, wanted, positive = self.assign(scores.data, boxes, frame, targets)
        N, K = max(1, int(positive.sum())), self.classes + 1
        labels, wanted, positive = (to_device(x.reshape(-1, *x.shape[2:]), self.device) for x in (labels, wanted, positive))
        return {"class": ops.class_loss(scores.reshape(-1, K), labels=labels, divisor=N),
                "box": ops.box_loss(offsets.reshape(-1, 4), target=wanted, positive=positive, divisor=N)}

    def assign(self, scores, boxes, frame, targets):
        """What each default box is to answer: labels (N,R), 0 for background and −1 for those not asked;
        offsets (N,R,4); and which are matched (N,R). Arrays: no gradient comes this way."""
        scores, inside = to_device(scores, "cpu"), frame.has(boxes)
        rule = partial(matching.ssd, threshold=self.overlap)
        match, objects, labels = map(np.stack, zip(*(assigned(rule, boxes, t, inside[n]) for n, t in enumerate(targets))))
        everything = scores.reshape(-1, self.classes + 1)
        background = np.zeros_like(everything)
        background[:, 0] = 1
        background_loss, _ = cross_entropy_rows(everything, background)
        hard, positive = hard_negatives(background_loss.reshape(match.shape), match, self.ratio), match >= 0
        labels = np.where(positive, labels + 1, np.where(hard, 0, BACKGROUND))
        wanted = np.stack([coder.encode(wanted, boxes, self.deviations) for wanted in objects])
        return labels, wanted, positive

    def found(self, frame):
        scores, offsets, boxes = self(Tensor(frame.x))
        return self.answers(to_device(scores.data, "cpu"), to_device(offsets.data, "cpu"), boxes, frame)

    def answers(self, scores, offsets, boxes, frame):
        """[Detections] from what the network says: scores (N,R,K+1), offsets (N,R,4)."""
        p = stable_softmax(scores, 2)[..., 1:] * frame.has(boxes)[..., None]
        keep = {"least": self.least, "threshold": self.suppression, "most": self.most}
        return [select(coder.decode(t, boxes, self.deviations), q, size, **keep) for t, q, size in zip(offsets, p, frame.sizes)]

    def told(self, frame, targets):
        """[Detections] of a network that answers exactly what it is told to."""
        scores, _, boxes = self(Tensor(frame.x))
        labels, wanted, _ = self.assign(scores.data, boxes, frame, targets)
        return self.answers(20.0 * (np.arange(self.classes + 1) == np.maximum(labels, 0)[..., None]), wanted, boxes, frame)


def small_ssd(classes, size=(128, 128), *, least=0.08, most=0.7, rng=0):
    """The course's SSD: `SmallBackbone`, three maps, five shapes each (three squares, 2:1, 1:2).

    size: (H,W) that it will mostly see; the default boxes take `least` … `most` of its shorter side (equation 4,
    F15). With so few maps the steps between them would be too long, so each map has two of six scales: one with its
    extra square, one alone.
    """
    rng, side = as_rng(rng), min(size)
    features = SmallBackbone(rng=rng)
    steps = scales(2 * len(features.strides), least, most) * side
    shapes = [[*level_shapes(s, following, (2,)), (following, following)] for s, following in zip(steps[::2], steps[1::2])]
    return SSD(features, shapes, classes, rng=rng)
