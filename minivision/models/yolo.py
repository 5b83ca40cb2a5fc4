"""YOLO with priors (Redmon and Farhadi, CVPR 2017: "v2"; arXiv 1804.02767: "v3"): a grid that votes, each cell once a prior."""

import math

import numpy as np

from minivision import ops
from minivision.backend import as_rng, to_device
from minivision.detection.anchors import as_levels, levels
from minivision.detection.boxes import from_centre, iou, to_centre
from minivision.detection.priors import shape_iou
from minivision.detection.selection import select
from minivision.models.detector import Detector, rows, unknown
from minivision.models.small_backbone import SmallBackbone, conv_bn_relu
from minivision.nn import Conv2d, Sequential
from minivision.nn.initialisers import zeros
from minivision.ops.activation import stable_sigmoid, stable_softmax
from minivision.tensor import Tensor


class YOLO(Detector):
    """A backbone, and on each of its maps a 3×3 and a 1×1 convolution: t_x t_y t_w t_h, objectness and K class
    scores a prior.

        b_x = (σ(t_x) + column)·stride      b_w = p_w·e^t_w      Pr(object) = σ(t_o)
        b_y = (σ(t_y) + row)·stride         b_h = p_h·e^t_h      Pr(class|object) = softmax      (F4, F5)

    (v2, §2 "direct location prediction", figure 3.)

    features    Module, x → maps; has .channels and .strides
    priors      for each map, widths and heights in pixels (`priors.cluster`)

    From v2: the softmax over classes (F4; v3 asks K yes/no questions). From v3: several maps; objectness 1 on the
    object's best prior; nothing asked of other predictions that overlap an object well (by more than `ignore`; v3 has
    0.5, its code 0.7); the centre's cross-entropy. Ours: a prior within `shared` of the object's shape shares the object
    with the best one (as YOLO v4's code does); the objectness begins at π (Lin et al., ICCV 2017, §3.3), else thousands
    of empty cells shout at first; every term is divided by the number of responsible priors; t_w and t_h count from −4 to 4.
    """

    ignore, shared, pi = 0.6, 0.5, 0.01
    weights = {"centre": 1.0, "shape": 1.0, "objectness": 1.0, "class": 1.0}
    least, suppression, most = 0.01, 0.45, 200

    def __init__(self, features, priors, classes, *, rng=0, width=None):
        rng = as_rng(rng)
        self.features, self.classes = features, classes
        self.priors = as_levels(priors, features.strides)
        self.heads = []
        for C, level in zip(features.channels, self.priors):
            last = Conv2d(width or C, len(level) * (5 + classes), 1, rng=rng, initialise=zeros)
            last.bias.data.reshape(len(level), -1)[:, 4] = -math.log((1 - self.pi) / self.pi)
            self.heads.append(Sequential(conv_bn_relu(C, width or C, rng=rng), last))

    def forward(self, x):
        """x (N,3,H,W) → t (N,R,5+K), priors (R,4) centred in their cells, strides (R,)."""
        maps = self.features(x)
        t = [rows(head(m), 5 + self.classes) for head, m in zip(self.heads, maps)]
        boxes = levels(self.priors, [m.shape[2:] for m in maps], self.features.strides)
        strides = np.repeat(self.features.strides, [y.shape[1] for y in t])
        return ops.concat(*t, axis=1), boxes.astype(x.dtype), strides.astype(x.dtype)

    def losses(self, frame, targets):
        t, priors, strides = self(Tensor(frame.x))
        plan = self.assign(to_device(t.data, "cpu"), priors, strides, frame, targets)
        labels, centre, shape, objectness, weight = (to_device(x.reshape(-1, *x.shape[2:]), self.device) for x in plan)
        t, N = t.reshape(-1, 5 + self.classes), max(1, int((labels >= 0).sum()))
        box_weight = objectness[:, None].repeat(2, axis=1)
        losses = {"centre": ops.objectness_loss(t[:, :2], target=centre, weight=box_weight, divisor=N),
                  "shape": ops.squared_loss(t[:, 2:4], target=shape, weight=box_weight, divisor=N),
                  "objectness": ops.objectness_loss(t[:, 4], target=objectness, weight=weight, divisor=N),
                  "class": ops.class_loss(t[:, 5:], labels=labels, divisor=N)}
        return {name: loss * self.weights[name] for name, loss in losses.items()}

    def assign(self, t, priors, strides, frame, targets):
        """What each prior of each cell is to answer: labels (N,R), −1 for no object; where in its cell the
        centre lies (N,R,2); log stretches of the prior (N,R,2); objectness (N,R) and its weight, 0 where
        nothing is asked. Arrays: no gradient."""
        N, R, _ = t.shape
        labels, centre, shape = np.full((N, R), -1), np.full((N, R, 2), 0.5, t.dtype), np.zeros((N, R, 2), t.dtype)
        corner, size = to_centre(priors)[:, :2] - strides[:, None] / 2, priors[:, 2:] - priors[:, :2]
        weight = frame.holds(corner).astype(t.dtype)
        for n, target in enumerate(targets):
            if len(target):
                overlap = iou(self.decode(t[n], priors, strides), target.boxes.astype(t.dtype))
                weight[n] *= (overlap.max(axis=1) <= self.ignore) & ~unknown(priors, target)
            asked = ~(target.difficult | target.crowd)
            objects = to_centre(target.boxes[asked])
            r, g = self.responsible(objects, frame.x.shape[2:])
            labels[n, r], weight[n, r] = target.labels[asked][g], 1
            centre[n, r] = np.clip((objects[g, :2] - corner[r]) / strides[r, None], 0, 1)
            shape[n, r] = np.log(objects[g, 2:] / size[r])
        return labels, centre, shape, (labels >= 0).astype(t.dtype), weight

    def responsible(self, objects, size):
        """(rows, objects): which rows of t answer for which objects (G,4: centre, width, height), in a frame of
        (P,Q). Each object takes the prior of the best shape in the cell of its centre, and those that share its
        shape; where two objects want the same row, the one that fits better has it, and each its best before
        any its second."""
        wanted, start = [], 0
        for level, stride in zip(self.priors, self.features.strides):
            H, W, A = size[0] // stride, size[1] // stride, len(level)
            row, column = np.minimum(objects[:, 1] // stride, H - 1), np.minimum(objects[:, 0] // stride, W - 1)
            wanted.append(start + ((row * W + column) * A)[:, None].astype(int) + np.arange(A))
            start += H * W * A
        wanted, G = np.concatenate(wanted, axis=1), len(objects)                                    # (G,A of all maps)
        fit = shape_iou(objects[:, 2:], np.concatenate([np.array(level) for level in self.priors]))
        best = fit == fit.max(axis=1, keepdims=True)
        g, a = np.nonzero(best | (fit > self.shared))
        order = np.lexsort((np.arange(len(g)), -fit[g, a], ~best[g, a]))
        rows, first = np.unique(wanted[g, a][order], return_index=True)
        return rows, g[order][first] if G else np.zeros(0, int)

    def decode(self, t, priors, strides):
        """(R,4) boxes of t (R,4 or more)."""
        prior = to_centre(priors)
        centre = prior[:, :2] + (stable_sigmoid(t[:, :2]) - 0.5) * strides[:, None]
        return from_centre(np.concatenate([centre, prior[:, 2:] * np.exp(np.clip(t[:, 2:4], -4, 4))], axis=1))

    @staticmethod
    def encode(centre, shape):
        """(…,4) the t that `decode` turns into a centre (…,2) within the cell and log stretches (…,2) of the prior: σ backwards."""
        inner = np.clip(centre, 1e-4, 1 - 1e-4)
        return np.concatenate([np.log(inner / (1 - inner)), shape], axis=-1)

    def found(self, frame):
        t, priors, strides = self(Tensor(frame.x))
        return self.answers(to_device(t.data, "cpu"), priors, strides, frame)

    def answers(self, t, priors, strides, frame):
        """[Detections] from what the network says, t (N,R,5+K): score = Pr(object)·Pr(class|object)."""
        corner = to_centre(priors)[:, :2] - strides[:, None] / 2
        scores = stable_sigmoid(t[..., 4:5]) * stable_softmax(t[..., 5:], 2) * frame.holds(corner)[..., None]
        return [select(self.decode(row, priors, strides), p, size, least=self.least, threshold=self.suppression, most=self.most)
                for row, p, size in zip(t, scores, frame.sizes)]

    def told(self, frame, targets):
        """[Detections] of a network that answers exactly what it is told to."""
        t, priors, strides = self(Tensor(frame.x))
        labels, centre, shape, objectness, _ = self.assign(to_device(t.data, "cpu"), priors, strides, frame, targets)
        t = np.concatenate([self.encode(centre, shape), 40 * objectness[..., None] - 20,
                            20.0 * (np.arange(self.classes) == labels[..., None])], axis=2)
        return self.answers(t, priors, strides, frame)


def small_yolo(classes, priors, *, rng=0):
    """The course's YOLO: `SmallBackbone`, three maps, the priors (K,2) in pixels shared out among them from small to large; one or
    two priors stand on every map."""
    rng, priors = as_rng(rng), np.asarray(priors, float)
    if priors.ndim != 2 or priors.shape[1] != 2 or len(priors) == 0:
        raise ValueError(f"priors have the shape {priors.shape}; expected at least one width and height, (K,2)")
    features = SmallBackbone(rng=rng)
    M = len(features.strides)
    return YOLO(features, np.array_split(priors, M) if len(priors) >= M else [priors] * M, classes, rng=rng)
