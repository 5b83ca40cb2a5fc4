"""YOLO, first version (Redmon et al., CVPR 2016): one pass, a grid; each cell votes for the object whose centre it holds."""

import numpy as np

from minivision import ops
from minivision.backend import as_rng, to_device
from minivision.detection.anchors import grid
from minivision.detection.boxes import from_centre, iou, to_centre
from minivision.detection.selection import select
from minivision.models.detector import Detector, unknown
from minivision.models.small_backbone import SmallBackbone, conv_bn_relu
from minivision.nn import Conv2d, Dropout, Flatten, LeakyReLU, Linear, MaxPool2d, Module, Sequential
from minivision.nn.initialisers import zeros
from minivision.tensor import Tensor


class YOLOv1(Detector):
    """network: x (N,3,P,Q) → (N, 5B+K, P/cell, Q/cell), plain numbers, no activation.

    A cell answers B times x y √w √h confidence, and K class scores, one set for all B. x, y: where in the cell
    the centre lies, 0 … 1; w, h: as a share of the image. The network gives the roots, as the authors' code
    does: equation 3 compares roots, and a root may be any number.

        λ_coord Σ_responsible (x−x̂)² + (y−ŷ)² + (√w−√ŵ)² + (√h−√ĥ)²
        + Σ_responsible (C − IoU)² + λ_noobj Σ_others C²  + Σ_cells with an object Σ_k (p_k − [k is its class])²
             (equation 3)

    Responsible is the one of a cell's B boxes that overlaps the object most, as the network stands now (§2.2;
    E9). Divided by the number of images. A cell has one object; of several the first of the list (the paper
    leaves it open). The classes are learned by squared error, not by the softmax of F4, which is version 2's (E10).
    """

    coord, noobj = 5.0, 0.5                     # λ (§2.2)
    least, suppression, most = 0.01, 0.5, 200

    def __init__(self, network, cell, classes, B=2, *, stride=None):
        """cell: pixels of the image to a cell of the grid; frames have sides of a multiple of `stride` (by default a cell)."""
        self.network, self.cell, self.classes, self.B, self.stride = network, cell, classes, B, stride or cell

    def forward(self, x):
        """(N,S,T,5B+K): the answers of a grid of S×T cells; 7×7×30 in the paper, with B = 2, K = 20 and images of 448²."""
        return self.network(x).transpose(0, 2, 3, 1)

    def losses(self, frame, targets):
        y, B = self(Tensor(frame.x)), self.B
        N, S, T, _ = y.shape
        boxes, classes = y[..., :5 * B].reshape(N, S, T, B, 5), y[..., 5 * B:]
        wanted, responsible, asked, onehot = self.assign(boxes.data, frame, targets)
        put = lambda x: to_device(x, self.device)
        coordinates = np.broadcast_to(self.coord * responsible[..., None], (N, S, T, B, 2))
        terms = {"centre": (boxes[..., :2], wanted[..., :2], coordinates),
                 "shape": (boxes[..., 2:4], wanted[..., 2:4], coordinates),
                 "object": (boxes[..., 4], wanted[..., 4], responsible),
                 "no_object": (boxes[..., 4], 0 * responsible, self.noobj * (asked[..., None] - responsible)),
                 "class": (classes, onehot, np.broadcast_to(onehot.sum(axis=3, keepdims=True), onehot.shape))}
        return {name: ops.squared_loss(x, target=put(t), weight=put(w), divisor=N) for name, (x, t, w) in terms.items()}

    def assign(self, boxes, frame, targets):
        """wanted (N,S,T,B,5); responsible (N,S,T,B) 0 or 1; asked (N,S,T), 0 for cells in padding; onehot
        (N,S,T,K), all 0 in cells without an object. Arrays: no gradient comes this way. boxes (N,S,T,B,5): what
        the network says now."""
        boxes = to_device(boxes, "cpu")
        N, S, T, B, _ = boxes.shape
        wanted, responsible, asked = np.zeros(boxes.shape, boxes.dtype), np.zeros((N, S, T, B)), np.zeros((N, S, T))
        onehot, cells, inside = np.zeros((N, S, T, self.classes)), *self.cells(S, T, frame)
        for n, (target, (H, W)) in enumerate(zip(targets, frame.sizes)):
            asked[n] = inside[n] & ~unknown(cells, target).reshape(S, T)
            said = self.decode(boxes[n], (H, W)).reshape(S, T, B, 4)
            unasked = target.difficult | target.crowd
            for box, label, skip in zip(to_centre(target.boxes), target.labels, unasked):
                column, row = min(int(box[0] // self.cell), T - 1), min(int(box[1] // self.cell), S - 1)
                if skip or onehot[n, row, column].any():
                    continue
                overlap = iou(said[row, column], from_centre(box[None]).astype(boxes.dtype))[:, 0]
                b = int(overlap.argmax())
                responsible[n, row, column, b], onehot[n, row, column, label] = 1, 1
                wanted[n, row, column, b] = (box[0] / self.cell - column, box[1] / self.cell - row, np.sqrt(box[2] / W),
                                             np.sqrt(box[3] / H), overlap[b])
        return wanted, responsible, np.maximum(asked, responsible.max(axis=3)), onehot

    def cells(self, S, T, frame):
        """The cells as boxes (S·T,4), and which of them have something of each image, (N,S,T)."""
        cells = grid(np.full((1, 2), float(self.cell)), (S, T), self.cell)
        return cells, frame.holds(cells[:, :2]).reshape(-1, S, T)

    def decode(self, boxes, size):
        """(S·T·B,4) boxes in pixels of an image (H,W), from (S,T,B,5)."""
        (S, T, *_), (H, W) = boxes.shape, size
        row, column = np.meshgrid(np.arange(S), np.arange(T), indexing="ij")
        x, y = (boxes[..., 0] + column[..., None]) * self.cell, (boxes[..., 1] + row[..., None]) * self.cell
        w, h = boxes[..., 2] ** 2 * W, boxes[..., 3] ** 2 * H
        return from_centre(np.stack([x, y, w, h], axis=-1).reshape(-1, 4).astype(boxes.dtype))

    def found(self, frame):
        y = to_device(self(Tensor(frame.x)).data, "cpu")
        return self.answers(y[..., :5 * self.B].reshape(*y.shape[:3], self.B, 5), y[..., 5 * self.B:], frame)

    def answers(self, boxes, classes, frame):
        """[Detections] from boxes (N,S,T,B,5) and class scores (N,S,T,K): score = Pr(class)·confidence (equation 1), each brought
        into 0 … 1 first: they are plain numbers, and two negative ones would make a positive score."""
        inside = self.cells(*boxes.shape[1:3], frame)[1]
        scores = inside[..., None, None] * boxes[..., 4:].clip(0, 1) * classes[..., None, :].clip(0, 1)
        scores = scores.reshape(len(boxes), -1, self.classes)
        return [select(self.decode(row, size), p, size, least=self.least, threshold=self.suppression, most=self.most)
                for row, p, size in zip(boxes, scores, frame.sizes)]

    def told(self, frame, targets):
        """[Detections] of a network that answers exactly what it is told to, with the confidence of one that is sure."""
        y = self(Tensor(frame.x)).data[..., :5 * self.B]
        wanted, responsible, _, onehot = self.assign(y.reshape(*y.shape[:3], self.B, 5), frame, targets)
        wanted[..., 4] = responsible
        return self.answers(wanted, onehot, frame)


class Darknet24(Module):
    """The paper's network (figure 3): 24 convolutions, a quarter of them 1×1, leaky ReLU, and two
    fully-connected layers, which is why every image must have 448² pixels. x (N,3,448,448) → (N,outputs,7,7)."""

    def __init__(self, outputs, *, rng):
        rng = as_rng(rng)
        plan = [(7, 64, 2), "pool", (3, 192, 1), "pool", (1, 128, 1), (3, 256, 1), (1, 256, 1), (3, 512, 1), "pool",
                *[(1, 256, 1), (3, 512, 1)] * 4, (1, 512, 1), (3, 1024, 1), "pool",
                *[(1, 512, 1), (3, 1024, 1)] * 2, (3, 1024, 1), (3, 1024, 2), (3, 1024, 1), (3, 1024, 1)]
        layers, inputs = [], 3
        for step in plan:
            if step == "pool":
                layers.append(MaxPool2d(2))
                continue
            size, width, stride = step
            layers += [Conv2d(inputs, width, size, stride=stride, padding=size // 2, rng=rng), LeakyReLU(0.1)]
            inputs = width
        self.features, self.outputs = Sequential(*layers), outputs
        self.head = Sequential(Flatten(), Linear(1024 * 7 * 7, 4096, rng=rng), LeakyReLU(0.1), Dropout(0.5, rng=rng),
                               Linear(4096, 7 * 7 * outputs, rng=rng, initialise=zeros))

    def forward(self, x):
        if x.shape[2:] != (448, 448):
            raise ValueError(f"the images' frame is {x.shape[2:]}; this network has fully-connected layers and takes 448×448 alone")
        return self.head(self.features(x)).reshape(len(x), self.outputs, 7, 7)


def yolo_v1(classes=20, *, rng=0):
    """The paper's: 7×7 cells, two boxes each, images of 448²."""
    return YOLOv1(Darknet24(10 + classes, rng=rng), 64, classes, stride=448)


class SmallGrid(Module):
    """`SmallBackbone` to its map of stride 16, a 3×3 and a 1×1 convolution: a grid that follows the image's size, 7×7 for 112²."""

    def __init__(self, outputs, *, rng):
        self.features = SmallBackbone(levels=2, rng=rng)
        width = self.features.channels[-1]
        self.head = Sequential(conv_bn_relu(width, width, rng=rng), Conv2d(width, outputs, 1, rng=rng, initialise=zeros))

    def forward(self, x):
        return self.head(self.features(x)[-1])


def small_yolo_v1(classes, *, rng=0):
    """The course's version 1: the paper's loss on `SmallBackbone`, cells of 16 pixels, two boxes each."""
    return YOLOv1(SmallGrid(10 + classes, rng=as_rng(rng)), 16, classes, stride=32)
