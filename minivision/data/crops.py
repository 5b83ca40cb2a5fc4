"""A classification set out of a detection set: every object cut out of its image."""

import numpy as np

from minivision.data.labelled import LabelledImages
from minivision.data.transforms import resize


def crops(dataset, size, *, margin=0.1):
    """`LabelledImages` (N,3,size,size) of the objects of a `DetectionSet` that are neither difficult nor a crowd.

    The window is square, so that nothing is stretched: the longer side of the box with `margin` of it on either side. What lies
    outside the image repeats its edge.
    """
    images, labels = [], []
    for i, target in enumerate(dataset.targets):
        if not len(target):
            continue
        image = dataset.image(i)
        for box, label, left_out in zip(target.boxes, target.labels, target.difficult | target.crowd):
            if not left_out:
                images.append(resize(window(image, box, margin), (size, size)))
                labels.append(label)
    if not images:
        raise ValueError(f"{dataset.source}: there is not one object to cut out")
    return LabelledImages(np.stack(images), np.array(labels), tuple(dataset.classes), dataset.source)


def window(image, box, margin):
    """The square part of an image (3,H,W) around a box."""
    (_, H, W), side = image.shape, max(box[2] - box[0], box[3] - box[1])
    reach = max(1, round(side * (1 + 2 * margin)))
    x, y = (round((a + b - reach) / 2) for a, b in ((box[0], box[2]), (box[1], box[3])))
    rows, columns = (np.clip(np.arange(start, start + reach), 0, end - 1) for start, end in ((y, H), (x, W)))
    return image[:, rows[:, None], columns]
