"""Mini-batches of images with boxes: scaled, augmented and normalised ahead by threads; and answers mapped back."""

import numpy as np

from minivision.backend import as_rng
from minivision.data.batches import Batches
from minivision.data.box_transforms import Letterbox, resize
from minivision.data.transforms import normalise
from minivision.detection import Detections
from minivision.detection.boxes import clip

MEAN, DEVIATION = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])      # of photographs (ImageNet), R G B
KEPT = 1 << 30          # bytes of scaled images that may stay in memory, so that they are read only once


def working_size(size, side):
    """(P,Q) for an image of (H,W): its shorter side becomes `side`, or less where the longer would be more than twice that. side 0:
    as it is, but at most 256."""
    H, W = size
    scale = min(side / min(H, W), 2 * side / max(H, W)) if side else min(1, 256 / min(H, W), 512 / max(H, W))
    return max(1, round(H * scale)), max(1, round(W * scale))


def fitted(image, target, size):
    """Scaled, not stretched, to fit into (P,Q)."""
    return resize(image, target, Letterbox.of(image.shape[1:], size).inner)


class DetectionBatches(Batches):
    """Iterate a `DetectionSet` as (list of float32 images (3,P,Q), list of `Target`s), the last batch being shorter.

        for images, targets in DetectionBatches(scenes, 16, side=128, augment=[random_flip]).epoch(rng): ...

    side        what the shorter side of an image becomes (`working_size`); boxes follow
    augment     functions (image, target, rng) → (image, target), in order, on uint8; the result is scaled back into the frame
                that the image had, so zooming in and out changes the objects and not the cost
    Pixels are normalised by the mean and deviation of photographs: of no data set, so that a trained detector needs none.
    """

    def __init__(self, dataset, batch_size, *, side=0, augment=(), ahead=2):
        super().__init__(dataset, batch_size, augment=augment, mean=MEAN, deviation=DEVIATION, ahead=ahead)
        self.frames = [working_size(size, side) for size in dataset.sizes]
        self.kept = {} if sum(3 * P * Q for P, Q in self.frames) <= KEPT else None

    def scaled(self, i):
        """Image i and its target at their working size."""
        if self.kept is None or i not in self.kept:
            image, target = resize(self.dataset.image(i), self.dataset.targets[i], self.frames[i])
            if self.kept is None:
                return image, target
            self.kept[i] = image, target
        return self.kept[i]

    def prepare(self, indices, seed):
        images, targets = zip(*(self.one(int(i), None if seed is None else [int(seed), int(i)]) for i in indices))
        return list(images), list(targets)

    def one(self, i, seed):
        image, target = self.scaled(i)
        if seed is not None:
            rng = as_rng(np.random.default_rng(seed))
            for augment in self.augment:
                image, target = augment(image, target, rng)
            image, target = fitted(image, target, self.frames[i])
        return normalise(image[None], self.mean, self.deviation)[0], target

    def restored(self, found):
        """Detections of all images in order, mapped from working sizes back to the images' own pixels."""
        if len(found) != len(self.dataset):
            raise ValueError(f"detections of {len(found)} images for a data set of {len(self.dataset)}")
        return [back(d, frame, size) for d, frame, size in zip(found, self.frames, self.dataset.sizes)]


def back(detections, frame, size):
    """Detections in an image that was stretched from `size` (H,W) to `frame` (P,Q), in the image's pixels."""
    (P, Q), (H, W) = frame, size
    boxes = detections.boxes * np.array([W / Q, H / P] * 2, detections.boxes.dtype)
    return Detections(clip(boxes, size), detections.labels, detections.scores)
