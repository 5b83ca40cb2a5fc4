"""Three Faster R-CNNs from the same parts: the paper's on VGG-16, one on a ResNet-50 with a pyramid, the course's small one."""

from minivision import ops
from minivision.backend import as_rng
from minivision.detection.anchors import shapes
from minivision.models.faster_rcnn import FasterRCNN, HeadSettings, RoIHeads, TwoLayers
from minivision.models.fpn import WithFPN
from minivision.models.resnet import Bottleneck, ResNetBody
from minivision.models.rpn import RPN, CornerRPN, ProposalSettings
from minivision.models.small_backbone import SmallBackbone
from minivision.models.vgg import VGG16Body
from minivision.nn import Dropout

RATIOS = (0.5, 1, 2)


def faster_rcnn_vgg16(classes=20, *, rng=0):
    """The paper's (Ren et al. 2015, §3; Fast R-CNN's head): conv5_3 of stride 16, nine anchors of 128, 256,
    512, RoI pooling 7×7, two fully-connected layers of 4096 with dropout. Anchors that stick out of the image
    are not left out of training, as the paper has it; those whose centre is in padding are.

    Further departures: background RoIs are drawn from all with an IoU below 0.5 (Fast R-CNN, §2.3: from 0.1 to 0.5); the last
    layers begin at zero (§3.1.3: N(0, 0.01)), so that the first loss is known; proposals are dropped below one pixel a side (the
    authors' code: 16)."""
    rng = as_rng(rng)
    backbone = VGG16Body(rng=rng)
    rpn = RPN(512, [shapes((128, 256, 512), RATIOS)], backbone.strides, ProposalSettings(after=(2000, 300)), rng=rng)
    head = TwoLayers(512 * 7 * 7, 4096, dropout=Dropout(0.5, rng=rng), rng=rng)
    settings = HeadSettings(sample=128, beta=1.0)
    return FasterRCNN(backbone, rpn, RoIHeads(head, 4096, classes, backbone.strides, ops.roi_pool, settings=settings, rng=rng))


def faster_rcnn_resnet50_fpn(classes=90, *, rng=0):
    """With a feature pyramid (Lin et al., CVPR 2017, §4; C2: document 000, §4.2): anchors of 32 … 512 on five
    maps, RoI Align 7×7 from four, two fully-connected layers of 1024. Parts, sizes, names, anchors and thresholds are
    torchvision's, so that its weights find here what they were trained with; batch norm learns: 41 808 406 parameters with 90
    classes."""
    rng = as_rng(rng)
    backbone = WithFPN(ResNetBody((3, 4, 6, 3), Bottleneck, rng=rng), extra=True, rng=rng)
    rpn = CornerRPN(256, [shapes((size,), RATIOS) for size in (32, 64, 128, 256, 512)], backbone.strides,
                    ProposalSettings(least=1e-3), rng=rng)
    head = TwoLayers(256 * 7 * 7, 1024, rng=rng)
    model = FasterRCNN(backbone, rpn, RoIHeads(head, 1024, classes, backbone.strides[:4], options={"aligned": False}, rng=rng))
    model.stride, model.candidates = 32, 1000
    return model


def small_faster_rcnn(classes, size=(128, 128), *, least=0.08, most=0.7, width=96, hidden=256, rng=0):
    """The course's: `SmallBackbone`, a pyramid of `width` channels on its three maps, anchors of `least` …
    `most` of the shorter side of the images (H,W) that it will mostly see, RoI Align 7×7, two fully-connected
    layers of `hidden`. Both box losses have β = 1, as in equation 1 of Fast R-CNN: from nothing it learns sooner than with 1/9."""
    rng, side = as_rng(rng), min(size)
    backbone = WithFPN(SmallBackbone(rng=rng), width, rng=rng)
    growth = (most / least) ** 0.5
    scales = [side * least * growth ** k for k in range(3)]
    settings = ProposalSettings(sample=128, before=(300, 300), after=(300, 150), beta=1.0)
    rpn = RPN(width, [shapes((s, s * growth ** 0.5), RATIOS) for s in scales], backbone.strides, settings, rng=rng)
    heads = RoIHeads(TwoLayers(width * 7 * 7, hidden, rng=rng), hidden, classes, backbone.strides,
                     settings=HeadSettings(sample=128, beta=1.0, canonical=(side * 0.4, 16)), rng=rng)
    model = FasterRCNN(backbone, rpn, heads)
    model.least, model.most = 0.01, 200             # as the other two, so that they are scored on equal terms
    return model
