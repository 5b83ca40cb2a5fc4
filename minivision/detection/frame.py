"""Images of many sizes in one batch: each in the upper left corner of a common frame, and nothing is learned or said beyond it.

Features near an image's right and lower edge see the padding, and it is no longer 0 behind the first batch norm, so an answer
there may differ a little with the company that the image has in its batch (as in torchvision)."""

from dataclasses import dataclass

import numpy as np

from minivision.backend import array_module, floats
from minivision.detection.boxes import to_centre

__all__ = ["Frame"]


@dataclass
class Frame:
    """x (N,3,P,Q): the images with zeros to the right and below, P and Q multiples of the detector's stride. sizes: the (H,W) of
    each. A pixel of the frame is a pixel of its image, so boxes are mapped back by clipping them to (H,W)."""

    x: np.ndarray
    sizes: list

    @staticmethod
    def of(images, stride=32):
        """From a list of float images (3,H,W), or an array (N,3,H,W) of them. After normalisation zero is the mean colour, and so
        the least surprising padding. ValueError names the image that cannot be used."""
        if hasattr(images, "shape") and images.ndim != 4:
            raise ValueError(f"images have the shape {images.shape}; expected (N,3,H,W), or a list of (3,H,W)")
        for i, image in enumerate(images):
            floats(**{f"image_{i}": image})
            if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
                raise ValueError(f"image {i} has the shape {image.shape}; expected (3,H,W)")
        if len(images) == 0:
            raise ValueError("there is no image in the batch")
        sizes = [tuple(image.shape[1:]) for image in images]
        P, Q = (-(-max(side) // stride) * stride for side in zip(*sizes))
        if hasattr(images, "shape") and images.shape[2:] == (P, Q):
            return Frame(images, sizes)
        xp = array_module(*images)
        x = xp.zeros((len(images), 3, P, Q), images[0].dtype)
        for row, image, (H, W) in zip(x, images, sizes):
            row[:, :H, :W] = image
        return Frame(x, sizes)

    def has(self, anchors):
        """(N,R) bool: whether the centre of each anchor (R,4) lies inside each image; the others look at padding."""
        return self.holds(to_centre(anchors)[:, :2])

    def holds(self, points):
        """(N,R) bool: whether each point x, y of (R,2) lies inside each image. A cell of a grid has something of an image if its
        upper left corner lies inside."""
        return (points < np.array([(W, H) for H, W in self.sizes])[:, None]).all(axis=2)
