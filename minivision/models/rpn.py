"""The region proposal network (Ren et al., NIPS 2015, §3.1): a small head that asks of every anchor, "is
something here, and where exactly?", on the maps that the detector behind it uses too (E7: it shares the
backbone; "independent" it is not)."""

from dataclasses import dataclass

import numpy as np

from minivision import ops
from minivision.backend import as_rng, to_device
from minivision.detection import coder, matching
from minivision.detection.anchors import as_levels, corner_levels, levels
from minivision.detection.boxes import clip
from minivision.detection.sampling import balanced
from minivision.detection.suppression import nms
from minivision.models.detector import assigned, rows
from minivision.nn import Conv2d, Module, Sequential
from minivision.nn.initialisers import small_normal, zeros


@dataclass
class ProposalSettings:
    """How many anchors are learned from, and how many proposals are kept; the paper's numbers where it gives them."""

    sample: int = 256               # anchors an image that the loss looks at, half of them with an object (§3.1.3)
    high: float = 0.7               # IoU of an anchor with an object …
    low: float = 0.3                # … and of one without (§3.1.2)
    before: tuple = (2000, 1000)    # the best of each map that go into suppression, in training and in evaluation
    after: tuple = (2000, 1000)     # the best of all that come out (§3.3: 2000 in training; the paper tests with 300)
    suppression: float = 0.7
    least: float = 1.0              # pixels a side; smaller proposals are dropped
    beta: float = 1 / 9             # of the smooth L1 (the authors' code: σ = 3)


class RPNHead(Module):
    """map (N,C,H,W) → objectness (N,A,H,W) and offsets (N,4A,H,W): conv 3×3, ReLU, two conv 1×1; the same weights on every map."""

    def __init__(self, channels, A, *, rng):
        self.conv = Sequential(Sequential(Conv2d(channels, channels, 3, padding=1, rng=rng, initialise=small_normal)))
        self.cls_logits = Conv2d(channels, A, 1, rng=rng, initialise=zeros)
        self.bbox_pred = Conv2d(channels, 4 * A, 1, rng=rng, initialise=zeros)

    def forward(self, m):
        h = ops.relu(self.conv(m))
        return self.cls_logits(h), self.bbox_pred(h)


class RPN(Module):
    """channels of every map; shapes: for each map the widths and heights (A,2) of its anchors; strides: of each map."""

    def __init__(self, channels, shapes, strides, settings=None, *, rng):
        self.rng, self.settings, self.strides = as_rng(rng), settings or ProposalSettings(), tuple(strides)
        self.shapes = as_levels(shapes, strides)
        if len({len(level) for level in self.shapes}) != 1:
            raise ValueError(f"anchors {[len(level) for level in self.shapes]} for maps of strides {self.strides}; expected the "
                             "same number of shapes for each map, since one head serves all")
        self.head = RPNHead(channels, len(self.shapes[0]), rng=self.rng)

    def forward(self, maps):
        """scores (N,R), offsets (N,R,4), anchors (R,4), and how many of the R belong to each map."""
        answers = [self.head(m) for m in maps]
        anchors = self.laid([m.shape[2:] for m in maps])
        scores, offsets = (ops.concat(*(rows(y, n) for y in ys), axis=1) for ys, n in zip(zip(*answers), (1, 4)))
        N, R, _ = offsets.shape
        counts = [score.shape[1] * score.shape[2] * score.shape[3] for score, _ in answers]
        return scores.reshape(N, R), offsets, anchors.astype(maps[0].dtype), counts

    def laid(self, sizes):
        """(R,4) anchors on maps of these sizes (H,W)."""
        return levels(self.shapes, sizes, self.strides)

    def usable(self, anchors, frame):
        """(N,R) which anchors say something of which image: those centred in it."""
        return frame.has(anchors)

    def losses(self, scores, offsets, anchors, frame, targets):
        """L_cls and L_reg of equation 1, both divided by the number of anchors in the sample (λ = 1; the paper
        divides L_reg by the number of positions and multiplies by λ = 10, which is nearly the same)."""
        asked, positive, wanted = self.assign(anchors, frame, targets)
        n, device = max(1, int(asked.sum())), self.device
        asked, positive, wanted = (to_device(x, device) for x in (asked, positive, wanted))
        return {"rpn_objectness": ops.objectness_loss(scores, target=positive, weight=asked, divisor=n),
                "rpn_box": ops.box_loss(offsets.reshape(-1, 4), target=wanted.reshape(-1, 4), positive=positive.reshape(-1),
                                        divisor=n, beta=self.settings.beta)}

    def assign(self, anchors, frame, targets):
        """asked (N,R) and positive (N,R), bool, and offsets (N,R,4): what the sampled anchors are to answer. Arrays: no
        gradient comes this way."""
        s, inside = self.settings, self.usable(anchors, frame)
        asked, positive, wanted = np.zeros(inside.shape, bool), np.zeros(inside.shape, bool), []
        rule = lambda overlap: matching.by_threshold(overlap, s.high, s.low)
        for n, target in enumerate(targets):
            match, objects, _ = assigned(rule, anchors, target, inside[n])
            with_object, without = balanced(match, s.sample, self.rng)
            asked[n, with_object], asked[n, without], positive[n, with_object] = True, True, True
            wanted.append(coder.encode(objects, anchors))
        return asked, positive, np.stack(wanted)

    def propose(self, scores, offsets, anchors, counts, frame):
        """[(P,4)] proposals of each image, best first, inside it. scores (N,R), offsets (N,R,4): arrays, not
        Tensors: a proposal is a place to look at, and no gradient flows back through where it lies (Ren et al.
        2015, §3.2, "approximate joint training")."""
        s, inside, cuts = self.settings, self.usable(anchors, frame), np.cumsum(counts)[:-1]
        before, after = (pair[0 if self.training else 1] for pair in (s.before, s.after))
        scores, offsets = to_device(scores, "cpu"), to_device(offsets, "cpu")
        found = []
        for p, t, here, size in zip(scores, offsets, inside, frame.sizes):
            kept = []
            for level in np.split(np.arange(len(anchors)), cuts):
                level = level[here[level]]
                best = level[np.argsort(-p[level], kind="stable")[:before]]
                boxes = clip(coder.decode(t[best], anchors[best]), size)
                large = ((boxes[:, 2:] - boxes[:, :2]) >= s.least).all(axis=1)
                boxes, score = boxes[large], p[best][large]
                keep = nms(boxes, score, s.suppression)
                kept.append((boxes[keep], score[keep]))
            boxes, score = (np.concatenate(parts) for parts in zip(*kept))
            found.append(boxes[np.argsort(-score, kind="stable")[:after]])
        return found


class CornerRPN(RPN):
    """The RPN of torchvision's published weights: anchors on the cells' corners (`anchors.corner_levels`), also in the padding."""

    def laid(self, sizes):
        (H, W), stride = sizes[0], self.strides[0]
        return corner_levels(self.shapes, sizes, (H * stride, W * stride))

    def usable(self, anchors, frame):
        return np.ones((len(frame.sizes), len(anchors)), bool)
