"""The three detectors: their losses against paper and differences, what is a constant for the gradient, images of all kinds, the ladder,
and the sizes of the published ones."""

import math

import numpy as np
import pytest

from minivision import data, failure_lab, ladder, models, nn, ops
from minivision.data.detection_batches import DetectionBatches, working_size
from minivision.detection import Detections, Target, matching
from minivision.detection.boxes import from_centre, iou, to_centre
from minivision.detection.default_boxes import SSD300
from minivision.detection.frame import Frame
from minivision.detection.selection import select
from minivision.models.detector import assigned
from minivision.models.faster_rcnn import HeadSettings, RoIHeads, TwoLayers
from minivision.models.fpn import FPN
from minivision.models.rpn import ProposalSettings
from minivision.tensor import Tensor, no_grad

PRIORS = [(9, 9), (14, 14), (22, 20), (30, 30), (28, 44), (44, 30)]
SMALL = {"ssd": lambda K: models.small_ssd(K, (64, 96)), "yolo": lambda K: models.small_yolo(K, PRIORS),
         "yolo-v1": lambda K: models.small_yolo_v1(K), "faster-rcnn": lambda K: models.small_faster_rcnn(K, (64, 96))}
TERMS = {"ssd": {"class", "box"}, "yolo": {"centre", "shape", "objectness", "class"},
         "yolo-v1": {"centre", "shape", "object", "no_object", "class"},
         "faster-rcnn": {"rpn_objectness", "rpn_box", "head_class", "head_box"}}
every = pytest.mark.parametrize("name", SMALL)


def pictures(rng, dtype=np.float32):
    """Two images of different sizes, neither of which fills the frame, and their objects; one object is difficult."""
    images = [rng.standard_normal(size).astype(dtype) for size in ((3, 60, 90), (3, 64, 50))]
    return images, [Target(np.array([[5, 5, 30, 40.0], [40, 10, 80, 60], [50, 2, 58, 9]]), [0, 2, 2]),
                    Target(np.array([[10, 20, 40, 60.0], [2, 3, 14, 18], [30, 40, 48, 62]]), [1, 1, 0], difficult=[False, True, False])]


def total(losses):
    return sum(losses.values(), start=0)


# ------------------------------------------------------------------------------------------ gradients

@every
def test_the_derivative_of_the_whole_loss_along_a_direction(name, rng):
    """With targets, matches and proposals held fixed, ⟨∇loss, d⟩ = (loss(p + εd) − loss(p − εd)) / 2ε."""
    model = SMALL[name](3)
    before = model.state()
    assert ladder.derivative(model, *pictures(rng), rng) <= 1e-5
    assert all((before[path] == x).all() for path, x in model.state().items() if "running" not in path)


@every
def test_every_parameter_learns(name, rng):
    model, (images, targets) = SMALL[name](3), pictures(rng)
    for p in model.parameters():
        p.data = p.data + 0.02 * rng.standard_normal(p.shape).astype(np.float32)
    total(model.loss(images, targets)).backward()
    assert [path for path, p in model.named_parameters() if p.grad is None or not np.any(p.grad)] == []


@every
def test_a_loss_that_forgets_a_path_would_be_seen(name, rng, monkeypatch):
    """The test above, with one term's gradient halved, must fail: it is not vacuous."""
    real = ops.box_loss if name in ("ssd", "faster-rcnn") else ops.squared_loss

    def halved(x, **options):
        y = real(x, **options)
        if y.backward_of_op:
            backward = y.backward_of_op
            y.backward_of_op = lambda dy: tuple(0.5 * dx for dx in backward(dy))
        return y

    monkeypatch.setattr(ops, real.__name__, halved)
    assert ladder.derivative(SMALL[name](3), *pictures(rng), rng) > 1e-3


@every
def test_what_the_joints_return_are_arrays(name, rng):
    model, (images, targets) = SMALL[name](3), pictures(rng)
    with ladder.frozen(model) as plans:
        model.loss(images, targets)
    assert set(plans) == {joint for _, joint in model.joints()}
    for plan in plans.values():
        assert all(isinstance(x, np.ndarray) for x in plan)


def test_targets_that_are_tensors_are_refused():
    """No gradient can enter a target by mistake: the terms take them as options, and options are arrays."""
    x = Tensor(np.ones((2, 4)), requires_grad=True)
    with pytest.raises(ValueError, match="option target is a Tensor"):
        ops.box_loss(x, target=x, positive=np.ones(2, bool), divisor=1)
    with pytest.raises(ValueError, match="option target is a Tensor"):
        ops.squared_loss(x, target=x, weight=np.ones((2, 4)), divisor=1)


def test_the_second_stage_sends_no_gradient_through_where_proposals_lie(rng):
    """Ren et al. 2015, §3.2: the boxes of the RoIs are constants. The head's losses reach the backbone, not the RPN's answers."""
    model, (images, targets) = SMALL["faster-rcnn"](3), pictures(rng)
    for layer in (model.roi_heads.box_predictor.cls_score, model.roi_heads.box_predictor.bbox_pred):
        layer.weight.data = layer.weight.data + 0.01
    losses = model.loss(images, targets)
    (losses["head_class"] + losses["head_box"]).backward()
    assert all(p.grad is None for p in model.rpn.parameters())
    assert all(p.grad is not None and np.any(p.grad) for p in model.backbone.body.parameters() if p.ndim == 4)


@pytest.mark.parametrize("op, options, words", [
    (ops.class_loss, {"labels": np.array([0, 9]), "divisor": 1}, "label 9"), (ops.class_loss, {"labels": np.zeros(2, int), "divisor": 0}, "divisor is 0"),
    (ops.box_loss, {"target": np.zeros((2, 4)), "positive": np.ones(3, bool), "divisor": 1}, r"positive \(3,\)"),
    (ops.objectness_loss, {"target": np.full((2, 4), 2.0), "weight": np.ones((2, 4)), "divisor": 1}, "expected probabilities"),
    (ops.squared_loss, {"target": np.zeros((2, 3)), "weight": np.ones((2, 4)), "divisor": 1}, "entry by entry"),
])
def test_terms_refuse_what_does_not_fit(op, options, words):
    with pytest.raises(ValueError, match=words):
        op(np.zeros((2, 4)), **options)


# ------------------------------------------------------------------------------------------ images and targets of all kinds

@every
def test_images_of_any_size_in_a_batch_of_any_size(name, rng):
    model, (images, targets) = SMALL[name](3), pictures(rng)
    for chosen in ([0], [1], [0, 1], [1, 0, 1]):
        losses = model.loss([images[i] for i in chosen], [targets[i] for i in chosen])
        assert set(losses) == TERMS[name]
        assert all(np.isfinite(loss.item()) and loss.dtype == np.float32 and loss.shape == () for loss in losses.values())
        found = model.detect([images[i] for i in chosen])
        assert [type(d) for d in found] == [Detections] * len(chosen)
    same = rng.standard_normal((2, 3, 64, 96)).astype(np.float32)
    for p in model.parameters():
        p.data = p.data + 0.02 * rng.standard_normal(p.shape).astype(np.float32)
    for alone, together in zip((model.detect(same[:1])[0], model.detect(same[1:])[0]), model.detect(same)):
        assert len(alone) == len(together) > 0
        np.testing.assert_allclose(alone.scores, together.scores, atol=1e-4)


@every
def test_detections_lie_in_their_own_image(name, rng):
    """Also where it is the smaller one of the batch, and the network says nonsense."""
    model, (images, _) = SMALL[name](3), pictures(rng)
    for p in model.parameters():
        p.data = p.data + 0.03 * rng.standard_normal(p.shape).astype(np.float32)
    model.least = 0.0
    for image, d in zip(images, model.detect(images)):
        H, W = image.shape[1:]
        assert len(d)
        assert (d.boxes >= 0).all()
        assert (d.boxes <= [W, H, W, H]).all()
        assert (d.boxes[:, 2:] > d.boxes[:, :2]).all()
        assert (np.diff(d.scores) <= 0).all()
        assert d.labels.max() < 3


@every
def test_images_without_objects_teach_background(name, rng):
    """But for SSD, whose background boxes come in proportion to the matched ones: none, so exactly nothing is learned."""
    model, (images, targets) = SMALL[name](3), pictures(rng)
    for p in model.parameters():
        p.data = p.data + 0.02 * rng.standard_normal(p.shape).astype(np.float32)
    nothing = Target(np.zeros((0, 4)), np.zeros(0, int))
    total(model.loss(images, [nothing, nothing])).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(np.isfinite(g).all() for g in grads)
    assert any(np.any(g) for g in grads) == (name != "ssd")
    both, one = model.loss(images, [targets[0], nothing]), model.loss(images[:1], targets[:1])
    assert all(np.isfinite(x.item()) for x in (*both.values(), *one.values()))


@every
def test_one_class_and_many(name, rng):
    images, targets = pictures(rng)
    for K in (1, 40):
        model = SMALL[name](K)
        relabelled = [Target(t.boxes, np.minimum(t.labels, K - 1), difficult=t.difficult) for t in targets]
        assert np.isfinite(total(model.loss(images, relabelled)).item())
        model.detect(images)


@every
@pytest.mark.parametrize("spoil, words", [
    (lambda images, targets: (images, targets[:1]), "2 images and 1 targets"),
    (lambda images, targets: ([], []), "no image in the batch"),
    (lambda images, targets: ([images[0], images[1][0]], targets), r"image 1 has the shape \(64, 50\)"),
    (lambda images, targets: ([images[0], images[1][:2]], targets), r"image 1 has the shape \(2, 64, 50\)"),
    (lambda images, targets: ([images[0], (images[1] * 9).astype(np.uint8)], targets), "image_1 is uint8"),
    (lambda images, targets: (images[0], targets), r"images have the shape \(3, 60, 90\)"),
    (lambda images, targets: (images, [targets[0], targets[1].boxes]), "target 1 is a ndarray"),
    (lambda images, targets: (images, [targets[0], Target(np.array([[0, 0, 9, 9.0]]), [3])]), "target 1: label 3 is not in 0 … 2"),
])
def test_bad_input_is_named(name, spoil, words, rng):
    with pytest.raises(ValueError, match=words):
        SMALL[name](3).loss(*spoil(*pictures(rng)))


@every
def test_an_object_at_the_lower_border_can_be_found(name):
    """240 = 7·32 + 16: the last cell of stride 32 has its centre on the border, and is not padding."""
    image, target = np.zeros((3, 240, 320), np.float32), Target(np.array([[100, 214, 160, 240.0], [300, 10, 320, 60]]), [0, 1])
    wide = {"yolo": lambda: models.small_yolo(3, [(20, 20), (24, 24), (30, 30), (40, 40), (60, 30), (20, 50)]),
            "ssd": lambda: models.small_ssd(3, (240, 320)), "faster-rcnn": lambda: models.small_faster_rcnn(3, (240, 320))}
    assert ladder.targets(wide.get(name, lambda: SMALL[name](3))(), [image], [target]).holds


@every
def test_crowds_are_neither_objects_nor_background(name):
    """One crowd over the whole image: nobody knows what is right there, and nobody is told "nothing"."""
    model, image = SMALL[name](3), np.zeros((3, 64, 96), np.float32)
    crowd = Target(np.array([[0, 0, 96, 64.0]]), [1], crowd=[True])
    with ladder.frozen(model) as plans:
        losses = model.loss([image], [crowd])
    asked = {"ssd": lambda labels, *_: labels >= 0, "yolo": lambda *plan: plan[4] > 0, "yolo-v1": lambda *plan: plan[2] > 0,
             "faster-rcnn": lambda asked, *_: asked}[name](*plans["assign"])
    assert asked.mean() < 0.01                  # what sticks out of the image by more than half has little of the crowd
    assert all(np.isfinite(loss.item()) for loss in losses.values())


@every
def test_nothing_is_said_from_padding(name):
    """An image 40 wide beside one 200 wide: however sure the answers of cells beyond 40 are, none of them comes back."""
    model, images = SMALL[name](3), [np.zeros((3, 64, 40), np.float32), np.zeros((3, 64, 200), np.float32)]
    frame, model.most, model.least, model.suppression = model.framed(images), 10 ** 6, 0.2, 1.0
    if name == "faster-rcnn":
        scores, offsets, anchors, counts = model.rpn(model.backbone(Tensor(frame.x)))
        inside = (anchors[:, 0] + anchors[:, 2]) / 2 < 40
        first, second = model.rpn.propose(np.where(inside, 0.0, 9.0)[None].repeat(2, axis=0), offsets.data, anchors, counts, frame)
        assert len(second) > len(first) > 0
        assert (first[:, 0] < first[:, 2]).all()
        starts = first[:, 0].max()
        assert starts < 40 - 8 / 2              # an anchor centred beyond 40 and clipped would begin at its very edge
        return
    if name == "ssd":
        scores, offsets, boxes = model(Tensor(frame.x))
        answers = model.answers(0 * scores.data + np.array([0, 9, 0, 0]), offsets.data, boxes, frame)
        expected = [int(frame.has(boxes)[n].sum()) for n in range(2)]
    elif name == "yolo":
        t, priors, strides = model(Tensor(frame.x))
        answers = model.answers(0 * t.data + np.array([0, 0, 0, 0, 9, 9, 0, 0]), priors, strides, frame)
        expected = [sum(2 * 64 // s * -(-width // s) for s in (8, 16, 32)) for width in (40, 200)]
    else:
        answers = model.answers(np.full((2, 4, 14, 2, 5), 0.5), np.tile([1.0, 0, 0], (2, 4, 14, 1)), frame)
        expected = [2 * 4 * -(-width // 16) for width in (40, 200)]
    assert [len(a) for a in answers] == expected


def test_the_papers_numbers():
    """Constants that no ladder can check, since it takes them from the model: as the papers, or the code that the docstrings name, have
    them."""
    assert models.SSD.deviations == (0.1, 0.1, 0.2, 0.2)
    assert (models.SSD.overlap, models.SSD.ratio, models.SSD.least, models.SSD.suppression, models.SSD.most) == (0.5, 3, 0.01, 0.45, 200)
    assert (models.YOLOv1.coord, models.YOLOv1.noobj) == (5, 0.5)
    assert (models.YOLO.ignore, models.YOLO.shared, models.YOLO.pi) == (0.6, 0.5, 0.01)
    proposals, head = ProposalSettings(), HeadSettings()
    assert (proposals.sample, proposals.high, proposals.low, proposals.suppression, proposals.beta) == (256, 0.7, 0.3, 0.7, 1 / 9)
    assert (proposals.before, proposals.after) == ((2000, 1000), (2000, 1000))
    assert (head.sample, head.positive, head.overlap, head.deviations, head.beta) == (512, 0.25, 0.5, (0.1, 0.1, 0.2, 0.2), 1 / 9)
    assert (head.size, head.canonical) == ((7, 7), (224, 16))
    large = models.faster_rcnn_resnet50_fpn(90)
    assert large.roi_heads.options == {"aligned": False}
    assert [[round((w * h) ** 0.5) for w, h in level] for level in large.rpn.shapes] == [[s] * 3 for s in (32, 64, 128, 256, 512)]
    features = models.ssd300_vgg16(20).features
    assert (features.scale_weight.data == 20).all()
    assert features.extra[0][-1][1].options == {"stride": 1, "padding": 6, "dilation": 6, "groups": 1}


def test_proposals_keep_the_training_or_the_evaluation_number():
    model = SMALL["faster-rcnn"](3)
    model.rpn.settings = ProposalSettings(before=(40, 20), after=(9, 4))
    frame = model.framed([np.zeros((3, 64, 96), np.float32)])
    scores, offsets, *rest = model.rpn(model.backbone(Tensor(frame.x)))
    for training, most in ((True, 9), (False, 4)):
        model.rpn.training = training
        assert len(model.rpn.propose(scores.data, offsets.data, *rest, frame)[0]) == most


@every
def test_difficult_objects_are_not_learned(name, rng):
    """With the difficult object taken away nothing else is asked differently but for what lies on it."""
    model, image = SMALL[name](3), np.zeros((3, 64, 96), np.float32)
    boxes = np.array([[5, 5, 30, 40.0], [60, 20, 90, 50]])
    for difficult, most in (([False, True], 1), ([False, False], 2)):
        with ladder.frozen(model) as plans:
            model.loss([image], [Target(boxes, [0, 2], difficult=difficult)])
        labels = {"ssd": lambda p: set(p["assign"][0].ravel()) - {-1, 0}, "yolo": lambda p: set(p["assign"][0].ravel()) - {-1},
                  "yolo-v1": lambda p: set(np.nonzero(p["assign"][3])[3]), "faster-rcnn": lambda p: set(p["choose"][2]) - {0}}[name](plans)
        assert len(labels) == most


def test_targets_outside_their_image_are_refused(rng):
    images, _ = pictures(rng)
    for box in ([-40, -40, -20, -20.0], [200, 10, 230, 40], [10, 10, 20, 80]):
        with pytest.raises(ValueError, match=r"target 0: object 1 is .*outside its image of 90×60"):
            SMALL["ssd"](3).loss(images[:1], [Target(np.array([[1, 1, 9, 9.0], box]), [0, 1])])


def test_select_keeps_a_class_that_another_outnumbers():
    boxes = np.concatenate([np.tile([[0, 0, 40, 40.0]], (1200, 1)), [[60, 60, 90, 90]]])
    scores = np.zeros((1201, 2))
    scores[:1200, 0], scores[1200, 1] = np.linspace(0.5, 0.9, 1200), 0.49
    assert select(boxes, scores, (100, 100)).labels.tolist() == [0, 1]


def test_a_frame_pads_and_knows_what_is_padding():
    frame = Frame.of([np.ones((3, 5, 9), np.float32), np.ones((3, 8, 2), np.float32)], stride=4)
    assert frame.x.shape == (2, 3, 8, 12)
    assert [x.sum() for x in frame.x] == [3 * 45, 3 * 16]
    assert frame.has(np.array([[0, 0, 4, 4.0], [8, 4, 9, 5], [0, 5, 2, 7]])).tolist() == [[True, True, False], [False, False, True]]


def test_difficult_objects_and_padding_are_not_asked():
    anchors = np.array([[0, 0, 10, 10.0], [20, 0, 30, 10], [40, 0, 50, 10], [0, 40, 10, 50]])
    target = Target(np.array([[0, 0, 10, 10.0], [20, 0, 30, 10]]), [1, 0], difficult=[False, True])
    match, boxes, labels = assigned(matching.ssd, anchors, target, np.array([True, True, True, False]))
    assert match.tolist() == [0, matching.IGNORED, matching.BACKGROUND, matching.IGNORED]
    assert labels.tolist() == [1, -1, -1, -1]
    np.testing.assert_array_equal(boxes, anchors)           # the first takes its object's box, which is its own; the others keep theirs


def test_select_by_hand():
    boxes = np.array([[0, 0, 10, 10.0], [0, 0, 10, 9], [-5, -5, 3, 3], [200, 200, 210, 210]])
    scores = np.array([[0.9, 0.0], [0.8, 0.7], [0.0, 0.6], [0.99, 0.0]])
    found = select(boxes, scores, (50, 60), least=0.5, threshold=0.5)
    assert found.labels.tolist() == [0, 1, 1]                   # of class 0 the second is suppressed, the last lies outside
    assert found.scores.tolist() == [0.9, 0.7, 0.6]
    assert found.boxes.tolist() == [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 3, 3]]
    assert len(select(boxes, scores, (50, 60), least=0.5, threshold=0.5, most=1)) == 1
    assert len(select(boxes, scores, (50, 60), least=1.5)) == 0
    each = np.stack([boxes, boxes + 1], axis=1)
    assert select(each, scores, (50, 60), least=0.65, threshold=0.5).boxes.tolist() == [[0, 0, 10, 10], [1, 1, 11, 10]]


# ------------------------------------------------------------------------------------------ who answers for what, and the losses, by loops

def test_yolo_the_best_prior_of_the_cell_answers(rng):
    """F4, F5: where each object's centre lies, which prior has its shape, and what it is told, one object at a time."""
    model = models.small_yolo(4, PRIORS)
    target = Target(np.array([[3, 5, 13, 15.0], [40, 20, 70, 52], [50, 30, 92, 60]]), [3, 0, 1])
    frame = Frame.of([np.zeros((3, 64, 96), np.float32)])
    with no_grad():
        t, priors, strides = model(Tensor(frame.x))
    labels, centre, shape, objectness, weight = model.assign(t.data, priors, strides, frame, [target])
    for box, label in zip(target.boxes, target.labels):
        (x, y, w, h), level_of = to_centre(box[None])[0], [0, 0, 1, 1, 2, 2]
        fits = [min(w, p) * min(h, q) / (w * h + p * q - min(w, p) * min(h, q)) for p, q in PRIORS]
        k = int(np.argmax(fits))
        stride = (8, 16, 32)[level_of[k]]
        start = sum(2 * (64 // s) * (96 // s) for s in (8, 16, 32)[:level_of[k]])
        row = start + (int(y // stride) * (96 // stride) + int(x // stride)) * 2 + k % 2
        assert labels[0, row] == label
        assert objectness[0, row] == weight[0, row] == 1
        np.testing.assert_allclose(centre[0, row], [x / stride % 1, y / stride % 1], rtol=1e-6)
        np.testing.assert_allclose(shape[0, row], np.log([w / PRIORS[k][0], h / PRIORS[k][1]]), rtol=1e-5)
    assert ((labels >= 0) == (objectness == 1)).all()


def test_two_objects_that_want_one_prior_share_out():
    model = models.small_yolo(2, [(20, 20), (60, 60), (200, 200)])
    rows, objects = model.responsible(np.array([[20, 20, 21, 21.0], [21, 21, 19, 12]]), (64, 64))
    assert objects.tolist() == [0]
    assert len(rows) == 1


def test_yolo_does_not_ask_predictions_that_overlap_an_object(rng):
    model = models.small_yolo(2, [(20, 20), (60, 60), (200, 200)])
    model.ignore = 0.3
    frame = Frame.of([np.zeros((3, 64, 64), np.float32)])
    with no_grad():
        t, priors, strides = model(Tensor(frame.x))
    target = Target(np.array([[4, 4, 22, 22.0]]), [1])
    labels, *_, weight = model.assign(t.data, priors, strides, frame, [target])
    near = iou(priors.astype(float), target.boxes)[:, 0] > model.ignore
    assert near.sum() > (labels >= 0).sum() >= 1
    np.testing.assert_array_equal(weight[0] == 0, near & (labels[0] < 0))


def test_yolo_v1_is_equation_3(rng):
    """The five sums of the paper, written as it prints them: cell by cell, box by box."""
    model, size = models.small_yolo_v1(3), (64, 64)
    y = rng.random((1, 4, 4, 13)).astype(np.float64)
    model.network = lambda x: Tensor(y.transpose(0, 3, 1, 2), requires_grad=True)
    target = Target(np.array([[3, 5, 23, 35.0], [40, 10, 60, 20], [4, 6, 20, 30]]), [2, 0, 1])       # the third shares a cell with the first
    losses = {k: v.item() for k, v in model.losses(frame_of(size), [target]).items()}
    holds = {}
    for (x, c, w, h), label in zip(to_centre(target.boxes), target.labels):
        holds.setdefault((int(c // 16), int(x // 16)), (x / 16 % 1, c / 16 % 1, w, h, label))
    centre = shape = thing = nothing = kind = 0.0
    for i in range(4):
        for j in range(4):
            said = y[0, i, j, :10].reshape(2, 5)
            best = -1
            if (i, j) in holds:
                x, c, w, h, label = holds[i, j]
                truth = from_centre(np.array([[(j + x) * 16, (i + c) * 16, w, h]]))
                boxes = from_centre(np.array([[(j + b[0]) * 16, (i + b[1]) * 16, b[2] ** 2 * 64, b[3] ** 2 * 64] for b in said]))
                overlaps = iou(boxes, truth)[:, 0]
                best = int(overlaps.argmax())
                b = said[best]
                centre += 5 * ((b[0] - x) ** 2 + (b[1] - c) ** 2)
                shape += 5 * ((b[2] - math.sqrt(w / 64)) ** 2 + (b[3] - math.sqrt(h / 64)) ** 2)
                thing += (b[4] - overlaps[best]) ** 2
                kind += sum((y[0, i, j, 10 + k] - (k == label)) ** 2 for k in range(3))
            nothing += sum(0.5 * said[b][4] ** 2 for b in range(2) if b != best)
    expected = {"centre": centre, "shape": shape, "object": thing, "no_object": nothing, "class": kind}
    assert losses == pytest.approx(expected, rel=1e-6)


def frame_of(size):
    return Frame(np.zeros((1, 3, *size)), [size])


def test_ssd_looks_at_the_matched_boxes_and_the_three_hardest_others_each(rng):
    """F15's L = (L_conf + L_loc)/N, by loops over default boxes."""
    model, (images, targets) = SMALL["ssd"](3), pictures(rng)
    frame = model.framed(images)
    for p in model.parameters():
        p.data = p.data + 0.02 * rng.standard_normal(p.shape).astype(np.float32)
    scores, offsets, boxes = model(Tensor(frame.x))
    labels, wanted, positive = model.assign(scores.data, boxes, frame, targets)
    conf = loc = 0.0
    for n in range(2):
        p = np.exp(scores.data[n]) / np.exp(scores.data[n]).sum(axis=1, keepdims=True)
        asked = labels[n] == 0
        assert asked.sum() == 3 * positive[n].sum() > 0
        could = (labels[n] <= 0) & frame.has(boxes)[n]
        easier = could & ~asked & (p[:, 0] < p[asked, 0].max() - 1e-6)
        hidden = iou(boxes.astype(float), targets[n].boxes[targets[n].difficult]).max(axis=1, initial=0) > 0 if n == 1 else np.zeros(len(boxes), bool)
        assert not (easier & ~hidden).any()          # every easier box was left out, every harder one taken
        for r in np.flatnonzero(labels[n] >= 0):
            conf -= math.log(p[r, labels[n, r]])
        for r in np.flatnonzero(positive[n]):
            loc += sum(d * d / 2 if abs(d) < 1 else abs(d) - 0.5 for d in offsets.data[n, r].astype(float) - wanted[n, r])
    N = positive.sum()
    losses = model.losses(frame, targets)
    assert losses["class"].item() == pytest.approx(conf / N, rel=1e-4)
    assert losses["box"].item() == pytest.approx(loc / N, rel=1e-4)


def test_faster_rcnn_samples_rois_by_the_rules(rng):
    """F2, F3: a quarter with an object at most, each told its class + 1 and linear offsets; the objects are among the RoIs."""
    head = RoIHeads(TwoLayers(4, 8, rng=rng), 8, 3, (8, 16), settings=HeadSettings(sample=16), rng=0)
    objects = Target(np.array([[10, 10, 30, 30.0], [50, 50, 60, 90]]), [2, 0])
    proposals = np.concatenate([objects.boxes[[0] * 9] + rng.uniform(-2, 2, (9, 4)), rng.uniform(0, 40, (30, 2)).repeat(2, axis=1)[:, [0, 2, 1, 3]] + [0, 0, 9, 9]])
    boxes, image, labels, wanted = head.choose([proposals, proposals], [objects, Target(np.zeros((0, 4)), np.zeros(0, int))])
    for n, most in ((0, 4), (1, 0)):
        mine = image == n
        assert mine.sum() == 16
        assert (labels[mine] > 0).sum() == most
        overlap = iou(boxes[mine], objects.boxes)
        if n == 0:
            assert ((overlap.max(axis=1) >= 0.5) == (labels[mine] > 0)).all()
            assert (labels[mine][labels[mine] > 0] == objects.labels[overlap[labels[mine] > 0].argmax(axis=1)] + 1).all()
    assert (wanted[labels == 0] == 0).all()


def test_rois_are_cut_from_the_level_of_their_size():
    """Lin et al. 2017, equation 1: 224² from stride 16; half, a level finer; clamped at both ends."""
    head = RoIHeads(None, 8, 3, (4, 8, 16, 32), rng=0)
    sides = np.array([10, 56, 111, 112, 223, 224, 447, 448, 2000.0])
    assert head.level(np.stack([0 * sides, 0 * sides, sides, sides], axis=1)).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]


def test_roi_features_are_those_of_their_own_box_and_image(rng):
    """Two images and two levels, constants everywhere: each RoI must see its own number, in the order it was given."""
    seen = []

    class Look(nn.Module):
        def forward(self, x):
            seen.append(x.data.mean(axis=(1, 2, 3)))
            return ops.flatten(x)[:, :8]

    head = RoIHeads(Look(), 8, 2, (8, 16), settings=HeadSettings(canonical=(40, 16)), rng=0)
    maps = [Tensor(np.full((2, 1, 16, 16), v, np.float32) * np.array([1, 10], np.float32).reshape(2, 1, 1, 1)) for v in (1, 2)]
    boxes, image = head.sorted_by_level(np.array([[0, 0, 60, 60.0], [0, 0, 10, 10], [9, 9, 80, 70], [5, 5, 12, 12]]), np.array([0, 1, 1, 0]))
    head(maps, boxes, image)
    sizes = (boxes[:, 2] - boxes[:, 0]) > 40
    np.testing.assert_allclose(seen[0], np.where(sizes, 2, 1) * np.where(image == 1, 10, 1), rtol=1e-6)


def test_a_pyramid_of_odd_maps(rng):
    """19 → 10 → 5: the upsampled map is one too long, and is cut (Lin et al. 2017, figure 3, by hand)."""
    fpn = FPN((2, 3, 4), 5, rng=0)
    maps = [Tensor(rng.standard_normal((1, C, s, s)).astype(np.float32)) for C, s in ((2, 19), (3, 10), (4, 5))]
    found = fpn(maps)
    assert [m.shape for m in found] == [(1, 5, 19, 19), (1, 5, 10, 10), (1, 5, 5, 5)]
    one = lambda block, x: np.einsum("oc,nchw->nohw", block[0].weight.data[:, :, 0, 0], x) + block[0].bias.data[:, None, None]
    top = one(fpn.inner_blocks[2], maps[2].data)
    middle = one(fpn.inner_blocks[1], maps[1].data) + top.repeat(2, axis=2).repeat(2, axis=3)
    fine = one(fpn.inner_blocks[0], maps[0].data) + middle.repeat(2, axis=2).repeat(2, axis=3)[:, :, :19, :19]
    np.testing.assert_allclose(found[0].data, fpn.layer_blocks[0](Tensor(fine)).data, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------ the ladder and the failure lab

def eight_scenes():
    batches = DetectionBatches(data.load_detection("scenes", "train").subset(range(8)), 8)
    return batches.prepare(np.arange(8), None)


LEARNERS = {"ssd": lambda: models.small_ssd(7), "yolo": lambda: models.small_yolo(7, [(10, 10), (20, 20), (30, 30), (40, 40), (56, 56), (80, 80)]),
            "yolo-v1": lambda: models.small_yolo_v1(7), "faster-rcnn": lambda: models.small_faster_rcnn(7)}


@pytest.mark.parametrize("name", LEARNERS)
def test_the_ladder_before_training(name):
    images, targets = eight_scenes()
    model = LEARNERS[name]()
    steps = [ladder.examples(), ladder.anchors(model, images, targets), ladder.chance(model, images, targets), ladder.targets(model, images, targets)]
    assert all(step.holds for step in steps), [str(step) for step in steps]
    if name != "yolo-v1":
        assert steps[1].counts.shape == (sum(map(len, targets)),)


def test_the_ladder_leaves_out_difficult_objects():
    scenes = data.load_detection("scenes", "train")
    chosen = [i for i, t in enumerate(scenes.targets) if t.difficult.any()][:8]
    images, targets = DetectionBatches(scenes.subset(chosen), 8).prepare(np.arange(8), None)
    for name in ("ssd", "yolo", "faster-rcnn"):
        model = LEARNERS[name]()
        step = ladder.anchors(model, images, targets)
        assert step.holds, str(step)
        assert len(step.counts) == sum(int((~t.difficult).sum()) for t in targets)
        assert ladder.targets(model, images, targets).holds


def test_useless_proposals_fail_the_step_targets(monkeypatch):
    images, targets = eight_scenes()
    model = LEARNERS["faster-rcnn"]()
    monkeypatch.setattr(type(model.rpn), "propose", lambda *_: [np.array([[0, 0, 2, 2]], np.float32)] * 8)
    assert not ladder.targets(model, images, targets).holds


def test_the_losses_at_chance_are_those_of_the_paper():
    """ln(K+1), 4·ln(K+1), ln 2: without the ladder's arithmetic."""
    images, targets = eight_scenes()
    assert models.small_ssd(7).loss(images, targets)["class"].item() == pytest.approx(4 * math.log(8), rel=1e-5)
    yolo = LEARNERS["yolo"]().loss(images, targets)
    assert (yolo["centre"].item(), yolo["class"].item()) == pytest.approx((2 * math.log(2), math.log(7)), rel=1e-5)
    stages = models.small_faster_rcnn(7).loss(images, targets)
    assert (stages["rpn_objectness"].item(), stages["head_class"].item()) == pytest.approx((math.log(2), math.log(8)), rel=1e-5)
    first = models.small_yolo_v1(7).loss(images, targets)
    assert first["no_object"].item() == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_eight_images_can_be_learned_by_heart(name):
    steps = 400 if name == "faster-rcnn" else 150              # two stages, of which the second learns from what the first proposes
    step = ladder.overfit(LEARNERS[name](), *eight_scenes(), steps=steps)
    assert step.holds, str(step)


EARLY = [name for name, bug in failure_lab.BUGS.items() if bug.step != "overfit"]
LATE = [name for name, bug in failure_lab.BUGS.items() if bug.step == "overfit"]


@pytest.mark.parametrize("name", EARLY)
def test_the_ladder_finds_the_bug(name):
    images, targets = eight_scenes()
    with failure_lab.injected(name) as bug:
        model = LEARNERS[bug.model]()
        steps = {"examples": ladder.examples, "anchors": lambda: ladder.anchors(model, images, targets),
                 "chance": lambda: ladder.chance(model, images, targets), "targets": lambda: ladder.targets(model, images, targets)}
        order = list(steps)
        for step in order[:order.index(bug.step)]:
            assert steps[step]().holds
        assert not steps[bug.step]().holds


@pytest.mark.slow
@pytest.mark.parametrize("name", LATE)
def test_only_learning_by_heart_finds_the_bug(name):
    images, targets = eight_scenes()
    with failure_lab.injected(name) as bug:
        model = LEARNERS[bug.model]()
        assert ladder.anchors(model, images, targets).holds
        assert ladder.chance(model, images, targets).holds
        assert ladder.targets(model, images, targets).holds
        assert not ladder.overfit(model, images, targets).holds             # the healthy ones hold after as many steps: above


def test_there_are_ten_bugs_and_none_stays():
    assert len(failure_lab.BUGS) == 10
    before = {name: vars(bug.owner)[bug.name] for name, bug in failure_lab.BUGS.items()}
    for name, bug in failure_lab.BUGS.items():
        with pytest.raises(KeyError), failure_lab.injected(name):
            assert vars(bug.owner)[bug.name] is not before[name]
            raise KeyError
        assert vars(bug.owner)[bug.name] is before[name]
    with pytest.raises(ValueError, match="no bug 'typo'"), failure_lab.injected("typo"):
        pass


# ------------------------------------------------------------------------------------------ the published networks

def test_ssd300_has_the_papers_maps_boxes_and_parameters():
    model = models.ssd300_vgg16(90)
    assert model.size() == 35_641_826                                   # torchvision.models.detection.ssd300_vgg16
    with no_grad():
        maps = model.features(Tensor(np.zeros((1, 3, 300, 300), np.float32)))
    assert [m.shape[1:] for m in maps] == [(512, 38, 38), (1024, 19, 19), (512, 10, 10), (256, 5, 5), (256, 3, 3), (256, 1, 1)]
    assert sum(len(level) * m.shape[2] * m.shape[3] for level, m in zip(model.shapes, maps)) == 8732
    assert [size for size, *_ in SSD300] == [m.shape[2:] for m in maps]


def test_faster_rcnn_resnet50_fpn_has_torchvisions_parameters():
    model = models.faster_rcnn_resnet50_fpn(90)
    assert model.size() == 41_808_406
    names = {name for name, _ in model.named_parameters()}
    assert {"backbone.body.layer4.2.conv3.weight", "backbone.fpn.inner_blocks.0.0.weight", "rpn.head.conv.0.0.weight", "rpn.head.bbox_pred.bias",
            "roi_heads.box_head.fc6.weight", "roi_heads.box_predictor.cls_score.bias"} <= names
    assert models.resnet50().size() == 25_557_032


@pytest.mark.slow
def test_faster_rcnn_vgg16_and_yolo_v1_as_in_the_papers(rng):
    """VGG16: conv 14 714 688; RPN 512·512·9+512, 9·(1+4) of 512; fc6, fc7; 21 classes and 84 offsets."""
    model = models.faster_rcnn_vgg16(20)
    rpn = 512 * 512 * 9 + 512 + 45 * 513
    assert model.size() == 14_714_688 + rpn + (25088 + 1) * 4096 + 4097 * 4096 + 4097 * 105
    images = [rng.standard_normal((3, 100, 150)).astype(np.float32)]
    losses = model.loss(images, [Target(np.array([[10, 10, 90, 80.0]]), [3])])
    assert losses["head_class"].item() == pytest.approx(math.log(21), rel=1e-4)
    del model
    model = models.yolo_v1(20)
    with no_grad():
        assert model(Tensor(np.zeros((1, 3, 448, 448), np.float32))).shape == (1, 7, 7, 30)
    with pytest.raises(ValueError, match="takes 448×448 alone"):
        model.network(Tensor(np.zeros((1, 3, 896, 448), np.float32)))


# ------------------------------------------------------------------------------------------ batches

def test_batches_scale_boxes_with_images_and_answers_back():
    scenes = data.load_detection("scenes", "test").subset(range(5))
    batches = DetectionBatches(scenes, 2, side=96)
    got = list(batches)
    assert [len(images) for images, _ in got] == [2, 2, 1]
    images, targets = [x for b in got for x in b[0]], [t for b in got for t in b[1]]
    assert images[0].shape == (3, 96, 96)
    assert images[0].dtype == np.float32
    np.testing.assert_allclose(targets[3].boxes, scenes.targets[3].boxes * 0.75)
    found = batches.restored([Detections(t.boxes, t.labels, np.ones(len(t))) for t in targets])
    for d, t in zip(found, scenes.targets):
        np.testing.assert_allclose(d.boxes, t.boxes, atol=1e-9)
    with pytest.raises(ValueError, match="detections of 1 images for a data set of 5"):
        batches.restored(found[:1])


def test_augmented_batches_repeat_and_keep_their_frame():
    from minivision.data import box_transforms as change
    augment = [change.random_flip, change.random_turn, change.random_crop, change.random_expand, change.colour]
    scenes = data.load_detection("scenes", "train").subset(range(12))
    run = lambda seed, ahead: list(DetectionBatches(scenes, 5, augment=augment, ahead=ahead).epoch(seed))
    for (images, targets), (again, same) in zip(run(3, 2), run(3, 0)):
        assert all((a == b).all() for a, b in zip(images, again))
        assert all((a.boxes == b.boxes).all() for a, b in zip(targets, same))
        assert all(max(image.shape[1:]) == 128 for image in images)
        for image, target in zip(images, targets):
            assert (target.boxes >= -1e-6).all()
            assert (target.boxes <= np.tile(image.shape[:0:-1], 2) + 1e-6).all()
    assert not all((a == b).all() for (x, _), (y, _) in zip(run(3, 2), run(4, 2)) for a, b in zip(x, y) if a.shape == b.shape)


@pytest.mark.parametrize("size, side, expected", [((480, 640), 240, (240, 320)), ((480, 640), 0, (256, 341)), ((100, 90), 0, (100, 90)),
                                                  ((100, 900), 60, (13, 120)), ((1, 900), 60, (1, 120)), ((2000, 300), 0, (512, 77))])
def test_working_sizes(size, side, expected):
    assert working_size(size, side) == expected


def test_quarter_turns_move_boxes_with_pixels(rng):
    from minivision.data.box_transforms import turn
    image = np.zeros((3, 20, 30), np.uint8)
    image[:, 4:9, 11:26] = 255
    target = Target(np.array([[11, 4, 26, 9.0]]), [0])
    for quarters in range(5):
        turned, moved = turn(image, target, quarters)
        rows, columns = np.nonzero(turned[0])
        assert moved.boxes[0].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert turned.shape[1:] == ((20, 30) if quarters % 2 == 0 else (30, 20))
