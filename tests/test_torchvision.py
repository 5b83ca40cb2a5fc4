"""The published detectors against torchvision's, with the same weights: `python -m pytest -m torchvision` where it is installed
(`make bench` does; it brings some gigabytes, so ordinary test runs leave these out)."""

import numpy as np
import pytest

from minivision import models
from minivision.detection import Target
from minivision.tensor import Tensor, no_grad

pytestmark = pytest.mark.torchvision
NO_CHANGE = {"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}


def image(H, W):
    return np.random.default_rng(0).standard_normal((1, 3, H, W)).astype(np.float32)


def near(ours, theirs, tolerance=1e-4):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.fixture(scope="module")
def pair():
    """(ours, theirs): Faster R-CNN with a ResNet-50 and a pyramid, 6 classes, one set of weights, last layers that say something."""
    torch, detection = pytest.importorskip("torch"), pytest.importorskip("torchvision.models.detection")
    torch.manual_seed(0)
    theirs = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=7, trainable_backbone_layers=5,
                                               min_size=128, max_size=192, **NO_CHANGE).eval()
    with torch.no_grad():
        for layer, size in ((theirs.rpn.head.cls_logits, 1e-3), (theirs.rpn.head.bbox_pred, 5e-4),
                            (theirs.roi_heads.box_predictor.cls_score, 3e-3), (theirs.roi_heads.box_predictor.bbox_pred, 3e-3)):
            layer.weight.normal_(0, size)
    ours = models.faster_rcnn_resnet50_fpn(6).eval()
    ours.load_state({name: x.numpy() for name, x in theirs.state_dict().items() if "num_batches" not in name})
    return ours, theirs


def test_every_weight_has_its_place(pair):
    ours, theirs = pair
    for name, x in theirs.state_dict().items():
        if "num_batches" not in name:
            np.testing.assert_array_equal(ours.state()[name], x.numpy())


def test_faster_rcnn_stage_by_stage(pair):
    """Pyramid, RPN, proposals, RoI features, head and detections; the anchors are given, since ours are centred in their cells and
    torchvision's on the cells' corners."""
    import torch
    from torchvision.models.detection.image_list import ImageList
    ours, theirs = pair
    x = image(128, 192)
    frame = ours.framed(list(x))
    with torch.no_grad(), no_grad():
        maps, same = theirs.backbone(torch.tensor(x)), ours.backbone(Tensor(x))
        for a, b in zip(same, maps.values()):
            near(a.data, b)
        shape = ImageList(torch.tensor(x), [(128, 192)])
        anchors = theirs.rpn.anchor_generator(shape, list(maps.values()))[0].numpy()
        scores, offsets, own, counts = ours.rpn(same)
        logits, deltas = theirs.rpn.head(list(maps.values()))
        near(scores.data, torch.cat([y.permute(0, 2, 3, 1).reshape(1, -1) for y in logits], 1))
        near(offsets.data, torch.cat([y.permute(0, 2, 3, 1).reshape(1, -1, 4) for y in deltas], 1))
        assert own.shape == anchors.shape
        starts = np.cumsum([0, *counts[:-1]])
        np.testing.assert_allclose((own - anchors)[starts].mean(axis=1), [2, 4, 8, 16, 32], atol=0.51)       # half a cell, and their rounding
        proposals = theirs.rpn(shape, maps)[0][0].numpy()
        found = ours.rpn.propose(scores.data, offsets.data, anchors, counts, frame)[0]
        assert len(found) == len(proposals)
        np.testing.assert_allclose(found, proposals, atol=1e-2)
        boxes, which, order = ours.roi_heads.sorted_by_level(proposals, np.zeros(len(proposals), int), np.arange(len(proposals)))
        said, moved = ours.roi_heads(same, boxes, which)
        cut = theirs.roi_heads.box_roi_pool(maps, [torch.tensor(proposals)], [(128, 192)])
        classes, deltas = theirs.roi_heads.box_predictor(theirs.roi_heads.box_head(cut))
        near(said.data, classes[order])
        near(moved.data, deltas[order].reshape(len(order), -1, 4))
        expected = theirs.roi_heads(maps, [torch.tensor(proposals)], [(128, 192)])[0][0]
        answers = ours.answers(said.data, moved.data, boxes, which, frame)[0]
        assert len(answers) == len(expected["boxes"]) > 0
        np.testing.assert_allclose(answers.scores, expected["scores"].numpy(), atol=1e-4)
        np.testing.assert_array_equal(answers.labels, expected["labels"].numpy() - 1)
        np.testing.assert_allclose(answers.boxes, expected["boxes"].numpy(), atol=1e-2)


def test_ssd300_answers_as_torchvisions():
    """The same convolutions in the same order: weights are carried over by their place."""
    torch, detection = pytest.importorskip("torch"), pytest.importorskip("torchvision.models.detection")
    torch.manual_seed(0)
    theirs = detection.ssd300_vgg16(weights=None, weights_backbone=None, num_classes=7, **NO_CHANGE).eval()
    ours = models.ssd300_vgg16(6).eval()
    there = [(name, p) for name, p in theirs.named_parameters() if name != "backbone.scale_weight"]
    order = {"classification": 1, "regression": 2}
    there.sort(key=lambda item: next((k for word, k in order.items() if word in item[0]), 0))
    here = [name for name, _ in ours.named_parameters() if name != "features.scale"]
    state = dict(zip(here, (p.detach().numpy() for _, p in there), strict=True))
    ours.load_state(state | {"features.scale": theirs.backbone.scale_weight.detach().numpy()})
    x = image(300, 300)
    with torch.no_grad(), no_grad():
        answer = theirs.head(list(theirs.backbone(torch.tensor(x)).values()))
        scores, offsets, _ = ours(Tensor(x))
    near(scores.data, answer["cls_logits"])
    near(offsets.data, answer["bbox_regression"])


@pytest.mark.parametrize("name", ["SSD", "YOLO"])
def test_loss_and_gradient_of_the_benchmarks_peer(name):
    """The course-sized detectors against the same written for PyTorch's autograd, in float64 and with the same weights: matching,
    hard negatives and priors that nobody asks included. (Not Faster R-CNN: the two draw other samples.)"""
    pytest.importorskip("torchvision")
    import torch

    from benchmarks import torch_detectors as peers
    from benchmarks.workloads import PRIORS, crowd
    if name == "SSD":
        ours = models.small_ssd(3, (256, 320))
        theirs = peers.SSD(ours.shapes, 3)
    else:
        ours, theirs = models.small_yolo(3, PRIORS), peers.YOLO(np.array_split(np.array(PRIORS), 3), 3)
    rng, theirs = np.random.default_rng(0), theirs.double().train()
    pairs = list(zip(ours.named_parameters(), theirs.parameters(), strict=True))
    for (_, p), q in pairs:
        assert p.shape == tuple(q.shape)
        p.data = p.data.astype(np.float64) + 0.02 * rng.standard_normal(p.shape)
        q.data = torch.tensor(p.data)
    x, objects = rng.standard_normal((2, 3, 256, 320)), [[o[:5] for o in crowd(n)] for n in range(2)]
    loss = sum(ours.loss(list(x), [Target(*o) for o in objects]).values(), start=0)
    loss.backward()
    if name == "SSD":
        theirs.shapes = [s.double() for s in theirs.shapes]
    same = theirs(torch.tensor(x), [{"boxes": torch.tensor(b), "labels": torch.tensor(l)} for b, l in objects])
    same.backward()
    assert loss.item() == pytest.approx(same.item(), rel=1e-6)
    for (path, p), q in pairs:
        assert np.abs(p.grad - q.grad.numpy()).max() <= 1e-5 * np.abs(q.grad.numpy()).max() + 1e-12, path
