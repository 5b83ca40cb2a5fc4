"""The course's three detectors as PyTorch's users would write them: the same layers, shapes and samples, autograd, torchvision's
`box_iou` for SSD and YOLO, and torchvision's own RPN, RoI Align and RoI heads for Faster R-CNN
(whose smooth L1 has β = 1/9, ours 1: the same work)."""

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, box_convert, box_iou

STRIDES = (8, 16, 32)


def block(inputs, outputs, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Backbone(nn.Module):
    channels = (128, 192, 192)

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(block(3, 16, 2), block(16, 32), nn.MaxPool2d(2), block(32, 64), block(64, 64), nn.MaxPool2d(2))
        self.stage8 = nn.Sequential(block(64, 128), block(128, 128))
        self.stage16 = nn.Sequential(nn.MaxPool2d(2), block(128, 192), block(192, 192))
        self.stage32 = block(192, 192, 2)

    def forward(self, x):
        fine = self.stage8(self.stem(x))
        middle = self.stage16(fine)
        return [fine, middle, self.stage32(middle)]


def rows(y, n):
    return y.permute(0, 2, 3, 1).reshape(len(y), -1, n)


def grid(shapes, size, stride):
    """(H·W·A,4), centres and sizes."""
    y, x = torch.meshgrid(*((torch.arange(n) + 0.5) * stride for n in size), indexing="ij")
    centre = torch.stack([x, y], -1)[:, :, None].expand(-1, -1, len(shapes), -1)
    return torch.cat([centre, shapes.expand(*size, -1, -1)], -1).reshape(-1, 4)


class SSD(nn.Module):
    def __init__(self, shapes, classes):
        super().__init__()
        self.backbone, self.shapes, self.classes = Backbone(), [torch.tensor(s, dtype=torch.float32) for s in shapes], classes
        pairs = list(zip(Backbone.channels, self.shapes))
        self.class_heads = nn.ModuleList(nn.Conv2d(C, len(s) * (classes + 1), 3, padding=1) for C, s in pairs)
        self.box_heads = nn.ModuleList(nn.Conv2d(C, len(s) * 4, 3, padding=1) for C, s in pairs)

    def forward(self, images, targets):
        maps = self.backbone(images)
        scores = torch.cat([rows(h(m), self.classes + 1) for h, m in zip(self.class_heads, maps)], 1)
        offsets = torch.cat([rows(h(m), 4) for h, m in zip(self.box_heads, maps)], 1)
        anchors = torch.cat([grid(s, m.shape[2:], k) for s, m, k in zip(self.shapes, maps, STRIDES)]).to(images.device)
        labels, wanted = zip(*(self.match(anchors, t) for t in targets))
        labels, wanted = torch.stack(labels), torch.stack(wanted)
        positive = labels > 0
        N = positive.sum().clamp(min=1)
        box = F.smooth_l1_loss(offsets[positive], wanted[positive], reduction="sum")
        losses = F.cross_entropy(scores.reshape(-1, self.classes + 1), labels.reshape(-1), reduction="none").reshape(labels.shape)
        negative = torch.where(positive, torch.full_like(losses, -1), losses.detach())
        rank = negative.argsort(1, descending=True).argsort(1)
        hard = rank < 3 * positive.sum(1, keepdim=True)
        return (losses[positive].sum() + losses[hard].sum()) / N + box / N

    def match(self, anchors, target):
        overlap = box_iou(box_convert(anchors, "cxcywh", "xyxy"), target["boxes"])
        best, which = overlap.max(1)
        for g in range(len(target["boxes"])):
            a = overlap[:, g].argmax()
            best[a], which[a] = 2, g
        boxes = box_convert(target["boxes"][which], "xyxy", "cxcywh")
        t = torch.cat([(boxes[:, :2] - anchors[:, :2]) / anchors[:, 2:] / 0.1, (boxes[:, 2:] / anchors[:, 2:]).log() / 0.2], 1)
        return torch.where(best > 0.5, target["labels"][which] + 1, 0), t


class YOLO(nn.Module):
    def __init__(self, priors, classes):
        super().__init__()
        self.backbone, self.priors, self.classes = Backbone(), [torch.tensor(p, dtype=torch.float32) for p in priors], classes
        self.heads = nn.ModuleList(nn.Sequential(block(C, C), nn.Conv2d(C, len(p) * (5 + classes), 1))
                                   for C, p in zip(Backbone.channels, self.priors))

    def forward(self, images, targets):
        maps = self.backbone(images)
        t = torch.cat([rows(h(m), 5 + self.classes) for h, m in zip(self.heads, maps)], 1)
        anchors = [grid(p, m.shape[2:], k) for p, m, k in zip(self.priors, maps, STRIDES)]
        stride = torch.cat([torch.full((len(a), 1), float(k)) for a, k in zip(anchors, STRIDES)]).to(images.device)
        anchors, sizes = torch.cat(anchors).to(images.device), [m.shape[2:] for m in maps]
        positive, weight = torch.zeros_like(t[..., 4], dtype=torch.bool), torch.ones_like(t[..., 4])
        answers, truth = [], []
        for n, target in enumerate(targets):
            with torch.no_grad():
                said = t[n].detach()
                boxes = torch.cat([anchors[:, :2] + (said[:, :2].sigmoid() - 0.5) * stride,
                                   anchors[:, 2:] * said[:, 2:4].clamp(-4, 4).exp()], 1)
                weight[n][box_iou(box_convert(boxes, "cxcywh", "xyxy"), target["boxes"]).max(1).values > 0.6] = 0
                r, g = self.responsible(target, sizes)
                positive[n, r], weight[n, r] = True, 1
                truth.append((box_convert(target["boxes"], "xyxy", "cxcywh")[g], target["labels"][g], anchors[r], stride[r]))
            answers.append(t[n, r])
        answers, (boxes, labels, anchors, stride) = torch.cat(answers), (torch.cat(x) for x in zip(*truth))
        N = max(1, len(labels))
        inside = ((boxes[:, :2] - anchors[:, :2]) / stride + 0.5).clamp(0, 1)
        centre = F.binary_cross_entropy_with_logits(answers[:, :2], inside, reduction="sum")
        shape = ((answers[:, 2:4] - (boxes[:, 2:] / anchors[:, 2:]).log()) ** 2).sum()
        objectness = F.binary_cross_entropy_with_logits(t[..., 4], positive.float(), weight, reduction="sum")
        return (centre + shape + objectness + F.cross_entropy(answers[:, 5:], labels, reduction="sum")) / N

    def responsible(self, target, sizes):
        boxes, places, start = box_convert(target["boxes"], "xyxy", "cxcywh"), [], 0
        for p, (H, W), k in zip(self.priors, sizes, STRIDES):
            cell = (boxes[:, :2] // k).long()
            places.append(start + ((cell[:, 1] * W + cell[:, 0]) * len(p))[:, None] + torch.arange(len(p), device=boxes.device))
            start += H * W * len(p)
        priors = torch.cat(self.priors).to(boxes.device)
        shared = torch.minimum(boxes[:, None, 2:], priors).prod(2)
        fit = shared / (boxes[:, 2:].prod(1)[:, None] + priors.prod(1) - shared)
        g, a = torch.nonzero((fit > 0.5) | (fit == fit.max(1, keepdim=True).values), as_tuple=True)
        owner = {int(row): int(object) for row, object in zip(torch.cat(places, 1)[g, a], g)}
        return torch.tensor(list(owner)), torch.tensor(list(owner.values()))


class FasterRCNN(nn.Module):
    def __init__(self, scales, classes, canonical, width=96, hidden=256):
        super().__init__()
        self.backbone, self.fpn = Backbone(), FeaturePyramidNetwork(list(Backbone.channels), width)
        anchors = AnchorGenerator(tuple(tuple(s) for s in scales), ((0.5, 1.0, 2.0),) * 3)
        self.rpn = RegionProposalNetwork(anchors, RPNHead(width, 6), 0.7, 0.3, 128, 0.5, {"training": 300, "testing": 300},
                                         {"training": 300, "testing": 150}, 0.7)
        pool = MultiScaleRoIAlign(["0", "1", "2"], 7, 2, canonical_scale=canonical, canonical_level=4)
        head, predictor = TwoMLPHead(width * 49, hidden), FastRCNNPredictor(hidden, classes + 1)
        self.heads = RoIHeads(pool, head, predictor, 0.5, 0.5, 128, 0.25, None, 0.01, 0.5, 200)

    def forward(self, images, targets):
        targets = [{"boxes": t["boxes"], "labels": t["labels"] + 1} for t in targets]
        maps = self.fpn({str(k): m for k, m in enumerate(self.backbone(images))})
        sizes = [tuple(images.shape[2:])] * len(images)
        proposals, first = self.rpn(ImageList(images, sizes), maps, targets)
        _, second = self.heads(maps, proposals, sizes, targets)
        return sum(first.values()) + sum(second.values())
