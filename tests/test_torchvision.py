"""The published detectors against torchvision's, with the same weights: `python -m pytest -m torchvision` where it is installed
(`make bench` does; it brings some gigabytes, so ordinary test runs leave these out)."""

import re

import numpy as np
import pytest

from minivision import models, nn, pretrained, weights, zoo
from minivision.data import Preparation
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
    """Pyramid, RPN, anchors, proposals, RoI features, head and detections."""
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
        np.testing.assert_array_equal(own, anchors)
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


def unsettled(net):
    """Batch norms that have seen something."""
    for m in net.modules():
        if hasattr(m, "running_mean"):
            m.running_mean.normal_(0, 0.2)
            m.running_var.uniform_(0.5, 1.5)
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_(0, 0.1)
    return net


def arrays(net):
    return {name: x.detach().numpy() for name, x in net.state_dict().items()}


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "vgg16", "googlenet", "resnet18", "resnet34", "resnet50", "densenet121",
                                  "squeezenet1_1", "mobilenet_v2"])
def test_classifiers_answer_as_torchvisions(name, tmp_path):
    """Their state dict, saved by PyTorch in both its formats, in our network: the same scores for two images that are not square."""
    torch, theirs = pytest.importorskip("torch"), pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    options = {"aux_logits": True, "init_weights": False} if name == "googlenet" else {}
    theirs = unsettled(getattr(theirs, name)(weights=None, **options)).eval()
    ours, x = zoo.PUBLISHED[name]["imagenet"].build().eval(), np.random.default_rng(0).standard_normal((2, 3, 160, 193)).astype(np.float32)
    for zipped in (True, False) if name == "resnet18" else (True,):
        torch.save(theirs.state_dict(), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        weights.load(ours, tmp_path / "a.pth", name)
        with torch.no_grad(), no_grad():
            near(ours(Tensor(x)).data, theirs(torch.tensor(x)))
    folded = nn.fold(ours, lambda m: m(Tensor(x)))
    with torch.no_grad(), no_grad():
        near(folded(Tensor(x)).data, theirs(torch.tensor(x)))


def test_googlenets_preparation_is_torchvisions():
    """Its published weights change ImageNet's statistics back to halves inside the network (transform_input); ours are prepared so."""
    torch, theirs = pytest.importorskip("torch"), pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    theirs = unsettled(theirs.googlenet(weights=None, aux_logits=True, transform_input=True, init_weights=False)).eval()
    entry = zoo.PUBLISHED["googlenet"]["imagenet"]
    ours, photo = entry.build().eval(), photos()[0]
    ours.load_state(weights.translated(arrays(theirs), entry.rules))
    with torch.no_grad(), no_grad():
        near(ours(Tensor(entry.prepare(photo)[None])).data, theirs(torch.tensor(zoo.PHOTO(photo)[None])))


def test_the_old_names_of_densenet(tmp_path):
    """Published before a module's name could not hold a dot: norm.1 for norm1."""
    torch, theirs = pytest.importorskip("torch"), pytest.importorskip("torchvision.models").densenet121(weights=None)
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", k): v for k, v in theirs.state_dict().items()}
    assert any("norm.1" in k for k in old)
    torch.save(old, tmp_path / "a.pth")
    ours = models.densenet121()
    weights.load(ours, tmp_path / "a.pth", "densenet121")
    np.testing.assert_array_equal(ours.features.denseblock1[0].norm1.weight.data, theirs.features.denseblock1.denselayer1.norm1.weight.detach())


def photos():
    return [np.random.default_rng(k).integers(0, 256, (3, 370, 530), dtype=np.uint8) for k in (1, 2)]


def same_detections(ours, theirs):
    """As many answers, and for each of theirs one of ours of its class within 0.1 pixel, with its score."""
    for found, expected in zip(ours, theirs, strict=True):
        boxes, labels, scores = (expected[key].numpy() for key in ("boxes", "labels", "scores"))
        assert len(found) == len(boxes) > 10
        for box, label, score in zip(boxes, labels, scores):
            here = (found.labels == label - 1) & (np.abs(found.boxes - box).max(axis=1) <= 0.1)
            assert here.any(), (box, label, score)
            assert np.abs(found.scores[here] - score).min() <= 1e-3


def test_ssd300_detects_as_torchvisions(tmp_path):
    """From photographs on, each with its own preparation: state dict, default boxes, offsets, suppression."""
    torch, detection = pytest.importorskip("torch"), pytest.importorskip("torchvision.models.detection")
    torch.manual_seed(0)
    theirs = detection.ssd300_vgg16(weights=None, weights_backbone=None).eval()
    for head in (theirs.head.classification_head, theirs.head.regression_head):
        for layer in head.module_list:
            layer.weight.data.normal_(0, 0.01)
    entry = zoo.PUBLISHED["ssd300_vgg16"]["coco"]
    ours = entry.build()
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    weights.load(ours, tmp_path / "a.pth", entry.rules)
    network = pretrained.Network(ours.eval(), entry.prepare, entry.classes)
    with torch.no_grad():
        expected = theirs([torch.tensor(x).float() / 255 for x in photos()])
    same_detections([network.detect(x) for x in photos()], expected)


def test_faster_rcnn_detects_as_torchvisions():
    """Two photographs in one batch, from their pixels on: anchors on the cells' corners, also in the padding."""
    torch, detection = pytest.importorskip("torch"), pytest.importorskip("torchvision.models.detection")
    torch.manual_seed(0)
    theirs = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, min_size=400, max_size=667).eval()
    for m in theirs.backbone.modules():
        if hasattr(m, "running_mean"):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.8, 1.2)
    with torch.no_grad():
        for layer, size in ((theirs.rpn.head.cls_logits, 1e-3), (theirs.rpn.head.bbox_pred, 5e-4),
                            (theirs.roi_heads.box_predictor.cls_score, 3e-3), (theirs.roi_heads.box_predictor.bbox_pred, 3e-3)):
            layer.weight.normal_(0, size)
    ours = models.faster_rcnn_resnet50_fpn(90).eval()
    ours.load_state(weights.translated(arrays(theirs), "fasterrcnn_resnet50_fpn"))
    look = Preparation(shorter=400, longest=667, smooth=False)
    with torch.no_grad():
        expected = theirs([torch.tensor(x).float() / 255 for x in photos()])
    found = ours.detect(np.stack([look(x) for x in photos()]))
    same_detections([look.back(d, (370, 530)) for d in found], expected)


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
