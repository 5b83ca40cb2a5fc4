"""What all detectors share: images of many sizes in, named losses or detections out, and how they are scored."""

import numpy as np

from minivision.backend import to_device
from minivision.detection import Target, evaluate
from minivision.detection.boxes import covered, iou, to_centre
from minivision.detection.frame import Frame
from minivision.detection.matching import BACKGROUND, IGNORED
from minivision.nn import Module
from minivision.tensor import no_grad


class Detector(Module):
    """Base of SSD, YOLO and Faster R-CNN. A detector defines

        losses(frame, targets)      {name: Tensor} of a `Frame` of N images and N `Target`s
        found(frame)                [Detections], one an image

    classes: K, the number of classes; labels are 0 … K−1, and how background is written is the detector's
    private matter.
    """

    main_metric = "ap50"
    stride = 32                 # frames have sides of a multiple of this

    def loss(self, images, targets):
        """{name: Tensor}, to be added up. images: a list of float (3,H,W) of any sizes, or (N,3,H,W); targets:
        one `Target` an image, its boxes in the image's pixels. An image without objects teaches what background
        is (not SSD: its background boxes come in proportion to the matched ones, so it learns nothing there)."""
        frame = self.framed(images)
        for i, target in enumerate(targets):
            if not isinstance(target, Target):
                raise ValueError(f"target {i} is a {type(target).__name__}; expected a Target(boxes, labels)")
            if len(target) and int(target.labels.max()) >= self.classes:
                raise ValueError(f"target {i}: label {int(target.labels.max())} is not in 0 … {self.classes - 1}, the "
                                 f"{self.classes} classes of this detector")
        if len(targets) != len(frame.sizes):
            raise ValueError(f"{len(frame.sizes)} images and {len(targets)} targets; expected one for each image")
        for i, (target, (H, W)) in enumerate(zip(targets, frame.sizes)):
            beyond = (target.boxes < -1).any(axis=1) | (target.boxes > np.array([W, H, W, H]) + 1).any(axis=1)
            for k in np.flatnonzero(beyond)[:1]:
                raise ValueError(f"target {i}: object {k} is {target.boxes[k].tolist()}, outside its image of {W}×{H}")
        return self.losses(frame, targets)

    def detect(self, images):
        """[Detections], one an image, in its own pixels, best first. images as for `loss`."""
        with self.evaluating(), no_grad():
            return self.found(self.framed(images))

    def joints(self):
        """[(owner, name)] of the methods at which the tape ends: they take arrays and decide who learns what. For the gradient
        what they return is constant; a test that holds it fixed can differentiate the loss numerically."""
        return [(self, "assign")]

    def framed(self, images):
        frame = Frame.of(images, self.stride)
        return Frame(to_device(frame.x, self.device), frame.sizes)

    def evaluate(self, batches):
        """{"ap50", "ap"}: VOC's area under the curve at IoU 0.5, and COCO's mean over 0.5 … 0.95, over `data.DetectionBatches`."""
        found = [answer for images, _ in batches for answer in self.detect(images)]
        found, targets = batches.restored(found), batches.dataset.targets
        return {"ap50": evaluate(found, targets, "voc10").ap, "ap": evaluate(found, targets, "coco").ap}


def assigned(rule, anchors, target, inside):
    """(match (A,), boxes (A,4), labels (A,)): which object of a `Target` each anchor (A,4) is to find by a rule of
    detection/matching.py; box and label of that object, or of nothing (the anchor itself, −1).

    Anchors whose centre is not `inside` (A,) the image, and those that would be background but lie half or more
    on an object that is difficult or a crowd, are IGNORED: nobody knows what is right there.
    """
    asked = ~(target.difficult | target.crowd)
    objects, labels = target.boxes[asked].astype(anchors.dtype), target.labels[asked]
    match = rule(np.where(inside[:, None], iou(anchors, objects), 0))
    match = np.where((match == BACKGROUND) & unknown(anchors, target), IGNORED, match)
    match = np.where(inside, match, IGNORED)
    positive = match >= 0
    if not len(objects):
        return match, anchors, np.full(len(anchors), BACKGROUND)
    own = np.maximum(match, 0)
    return match, np.where(positive[:, None], objects[own], anchors), np.where(positive, labels[own], BACKGROUND)


def unknown(boxes, target):
    """(A,) bool: which boxes lie half or more on one object that is difficult or a crowd, or with their centre (where they stick
    out of the image), so that "nothing here" may be wrong."""
    regions = target.boxes[target.difficult | target.crowd].astype(boxes.dtype)
    centre = to_centre(boxes)[:, None, :2]
    within = ((centre >= regions[:, :2]) & (centre < regions[:, 2:])).all(axis=2)
    return ((covered(boxes, regions) >= 0.5) | within).any(axis=1)


def rows(y, n):
    """A head's map (N, A·n, H, W) as one row an anchor: (N, H·W·A, n), in the order of `anchors.grid`."""
    N, channels, H, W = y.shape
    return y.transpose(0, 2, 3, 1).reshape(N, H * W * (channels // n), n)
