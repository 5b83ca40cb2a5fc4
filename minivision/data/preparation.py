"""How a published network wants its images: their size and their range, exactly as in its training. The weights are worth little
with another (E40: document 003 prints no normalisation at all, and E4 the wrong one)."""

from dataclasses import dataclass

import numpy as np

from minivision.data.transforms import normalise, resize
from minivision.detection import Detections
from minivision.detection.boxes import clip
from minivision.kernels import resample

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)         # of ImageNet's photographs, R G B, of pixels/255


@dataclass(frozen=True)
class Preparation:
    """uint8 RGB (3,H,W) → float32 (3,P,Q), ready for the network.

    shorter     what the shorter side becomes; `longest`: the longer side at most (then the shorter is less). 0: as it is
    exact       (P,Q): stretched to that instead
    crop        the middle crop×crop is cut out (classifiers)
    smooth      shrinking averages over all pixels (Pillow); else each new pixel looks at its four neighbours (OpenCV, PyTorch)
    whole       values are rounded to whole numbers after that, as OpenCV does with uint8 images
    mean, deviation     (3,) of pixels/255, in the order in which the channels go in
    reverse     they go in as B G R (Caffe)
    """

    shorter: int = 0
    longest: int = 0
    exact: tuple = ()
    crop: int = 0
    smooth: bool = True
    whole: bool = False
    mean: tuple = MEAN
    deviation: tuple = DEVIATION
    reverse: bool = False

    def size(self, image):
        """(P,Q) that an image of (H,W) is scaled to, before the crop."""
        H, W = image
        if self.exact:
            return self.exact
        if not self.shorter:
            return H, W
        scale = min(self.shorter / min(H, W), self.longest / max(H, W) if self.longest else np.inf)
        return max(1, int(H * scale + 1e-9)), max(1, int(W * scale + 1e-9))

    def __call__(self, image):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
            raise ValueError(f"the image is {image.dtype} {image.shape}; expected uint8 RGB (3,H,W), as data.read_image gives it")
        P, Q = self.size(image.shape[1:])
        x = resize(image, (P, Q)).astype(np.float32) if self.smooth else self.interpolated(image, (P, Q))
        if self.crop:
            if min(P, Q) < self.crop:
                raise ValueError(f"cannot cut {self.crop}×{self.crop} out of an image of {P}×{Q}")
            top, left = round((P - self.crop) / 2), round((Q - self.crop) / 2)
            x = x[:, top:top + self.crop, left:left + self.crop]
        return normalise(x[None, ::-1] if self.reverse else x[None], self.mean, self.deviation)[0]

    def interpolated(self, image, size):
        y = resample.upsample_bilinear(image[None].astype(np.float32), size, False)[0]
        return np.rint(y) if self.whole else y

    def back(self, detections, image):
        """`Detections` in the scaled image, in pixels of the image of (H,W) that it was made from."""
        (P, Q), (H, W) = self.size(image), image
        boxes = detections.boxes * np.array([W / Q, H / P] * 2, detections.boxes.dtype)
        return Detections(clip(boxes, image), detections.labels, detections.scores)
