"""What `export_onnx` writes gives in onnxruntime what the network gives here."""

import sys
from itertools import cycle

import numpy as np
import pytest

from minivision import arithmetic, models, ops
from minivision.models.faster_rcnn import RoIHeads, TwoLayers
from minivision.nn import BatchNorm2d, BatchNormReLU, Conv2d, Dropout, Module, Sequential
from minivision.onnx_export import export_onnx
from minivision.onnx_export.export import OPSETS, as_bytes
from minivision.onnx_export.table import ONLY_IN_TRAINING, TABLE
from minivision.onnx_export.trace import Part, translated
from minivision.ops.roi import roi_align
from minivision.tensor import Tensor, no_grad, op
from tests.cases import BOXES, CASES, IMAGE, Case

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def session(file):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file if isinstance(file, bytes) else str(file), options, providers=["CPUExecutionProvider"])


def near(found, expected, tolerance=1e-4):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * max(1e-3, np.abs(expected).max())
    assert expected.size == 1 or np.ptp(expected) > 0        # not all the same number, which any graph could give


def shaken(model, rng):
    """Statistics, scales and last layers as after training: none at the 0 or 1 that they begin with."""
    for path, x in [*model.named_parameters(), *model.named_buffers()]:
        x = x.data if isinstance(x, Tensor) else x
        if "var" in path:
            x[...] = rng.uniform(0.5, 1.5, x.shape)
        elif np.ptp(x) == 0:
            x[...] = x + rng.normal(0, 0.1, x.shape)
    return model


PRIORS = [(10, 12), (20, 16), (30, 40), (50, 44), (64, 90), (100, 90)]
NETWORKS = {
    "SmallCNN": (lambda: models.SmallCNN(), (3, 32, 32)),
    "ThreeConvCNN": (lambda: models.ThreeConvCNN(size=46, hidden=32), (3, 46, 46)),
    "LinearClassifier": (lambda: models.LinearClassifier(), (1, 8, 8)),
    "MNIST7": (lambda: models.MNIST7(), (1, 28, 28)),
    "resnet18": (lambda: models.resnet18(20), (3, 64, 64)),
    "resnet9": (lambda: models.resnet9(), (3, 32, 32)), "resnet20": (lambda: models.resnet20(), (3, 32, 32)),
    "small_ssd": (lambda: models.small_ssd(3), (3, 96, 128)),
    "small_yolo": (lambda: models.small_yolo(3, PRIORS), (3, 96, 128)),
    "small_yolo_v1": (lambda: models.small_yolo_v1(3), (3, 64, 96)),
}
NAMES = {"small_ssd": ["scores", "offsets"], "small_yolo": ["t"], "small_yolo_v1": ["grid"]}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_answers_the_same(name, rng, tmp_path):
    make, shape = NETWORKS[name]
    model = shaken(make(), rng)
    assert export_onnx(model, tmp_path / "deep" / "net.onnx", (1, *shape)) == [tmp_path / "deep" / "net.onnx"]
    file = session(tmp_path / "deep" / "net.onnx")
    assert file.get_inputs()[0].shape == ["N", *shape]
    assert [y.name for y in file.get_outputs()] == NAMES.get(name, ["scores"])
    assert all(y.shape[0] == "N" for y in file.get_outputs())
    for N in (1, 3):
        x = rng.standard_normal((N, *shape), dtype=np.float32)
        with model.evaluating(), no_grad():
            expected = model(Tensor(x))
        expected = [y for y in (expected if isinstance(expected, tuple) else [expected]) if isinstance(y, Tensor)]
        found = file.run(None, {"x": x})
        assert len(found) == len(expected)
        for y, z in zip(found, expected):
            near(y, z.data)
    assert model.training


@pytest.mark.parametrize("cut", [ops.roi_align, ops.roi_pool])
def test_both_stages_of_a_faster_rcnn(cut, rng, tmp_path):
    model = models.small_faster_rcnn(3)
    if cut is ops.roi_pool:
        model.roi_heads = RoIHeads(TwoLayers(96 * 49, 8, rng=0), 8, 3, model.backbone.strides, ops.roi_pool, rng=0)
    model = shaken(model, rng)
    paths = export_onnx(model, tmp_path / "net.onnx", (1, 3, 64, 96))
    assert [path.name for path in paths] == ["net.proposals.onnx", "net.heads.onnx"]
    first, second = map(session, paths)
    x = rng.standard_normal((2, 3, 64, 96), dtype=np.float32)
    heads = model.roi_heads
    corners = rng.uniform(0, 50, (9, 2))
    some = np.concatenate([corners, corners + rng.uniform(4, 60, (9, 2))], axis=1).astype(np.float32)
    for boxes in (some, some[heads.level(some) != 1]):                      # also a map from which no RoI is cut
        boxes, image = heads.sorted_by_level(boxes, rng.integers(0, 2, len(boxes)))
        with model.evaluating(), no_grad():
            maps = model.backbone(Tensor(x))
            scores, offsets, *_ = model.rpn(maps)
            answers = heads(maps, boxes, image)
        *found_maps, found_scores, found_offsets = first.run(None, {"x": x})
        for y, z in zip([*found_maps, found_scores, found_offsets], [*maps, scores, offsets]):
            near(y, z.data)
        level, given = heads.level(boxes), {}
        for k, m in enumerate(found_maps):
            given |= {f"map_{k}": m, f"boxes_{k}": boxes[level == k], f"images_{k}": image[level == k]}
        for y, z in zip(second.run(None, given), answers):
            near(y, z.data)


@pytest.mark.parametrize("H, W, size, scale", [(9, 13, (3, 2), 0.5), (57, 7, 7, 1 / 16), (38, 50, 7, 1 / 16), (4, 4, 9, 1.0), (1, 64, (1, 5), 0.7)])
def test_roi_pooling_has_exact_bins(H, W, size, scale, rng):
    """Boxes of any size, beyond the map, of less than a pixel; ends on ½; more bins than pixels."""
    boxes = np.concatenate([rng.uniform(-0.3, 0.9, (60, 2)), rng.uniform(-0.1, 1.4, (60, 2))], axis=1) * np.tile([W, H], 2) / scale
    boxes = np.sort(boxes.reshape(60, 2, 2), axis=1).reshape(60, 4)
    boxes[:20] = np.round(boxes[:20] * scale * 2) / 2 / scale
    boxes[20:24] = [0, 0, W / scale, H / scale]
    case = Case(ops.roi_pool, ((2, 3, H, W),), {"boxes": boxes.astype(np.float32), "image": rng.integers(0, 2, 60), "size": size, "scale": scale}, None)
    x = Tensor(rng.standard_normal((2, 3, H, W), dtype=np.float32))
    found, = session(exported(case, [x])).run(None, {"x0": x.data})
    np.testing.assert_array_equal(found, ops.roi_pool(x, **case.options).data)


OURS = [
    Case(ops.conv2d, ((2, 4, 9, 7), (6, 2, 3, 2), (6,)), {"groups": 2, "stride": (2, 1), "padding": ((0, 2), (1, 3)), "dilation": (2, 3)}, None),
    Case(ops.conv2d_relu, ((1, 3, 6, 5), (4, 3, 3, 3), (4,)), {"padding": ((2, 0), (0, 1)), "stride": 2}, None),
    Case(ops.conv2d_relu, ((1, 3, 6, 5), (4, 3, 3, 3), (4,)), {"most": 2}, None),
    Case(ops.conv2d_pool_relu, ((2, 4, 9, 11), (4, 1, 3, 3), (4,)), {"groups": 4, "padding": ((1, 2), (0, 1))}, None),
    Case(ops.max_pool2d, ((2, 3, 7, 9),), {"size": (3, 2), "stride": (2, 3), "padding": ((1, 2), (0, 1)), "ceil": True}, None),
    Case(ops.max_pool2d, ((1, 2, 9, 9),), {"size": 2, "stride": 3, "ceil": True}, None),
    Case(ops.max_pool2d, ((1, 2, 5, 5),), {"size": 2, "stride": 2, "padding": 1, "ceil": True}, None),
    Case(ops.avg_pool2d, ((2, 3, 7, 9),), {"size": (3, 2), "stride": (2, 3), "padding": ((1, 2), (0, 1)), "ceil": True}, None),
    Case(ops.avg_pool2d, ((2, 3, 7, 9),), {"size": 3, "stride": 2, "padding": ((0, 2), (1, 0)), "count_padding": True}, None),
    Case(ops.avg_pool2d, ((2, 3, 8, 9),), {"size": 3, "stride": 2, "padding": ((0, 1), (1, 2)), "count_padding": True, "ceil": True}, None),
    Case(ops.avg_pool2d, ((2, 3, 8, 9),), {"size": 2, "stride": 3, "count_padding": True, "ceil": True}, None),
    Case(ops.adaptive_avg_pool2d, ((2, 3, 7, 5),), {"size": (3, 7)}, None),
    Case(ops.relu6, (lambda rng: 5 * rng.standard_normal((3, 4)),), {}, None),
    Case(ops.instance_norm2d, ((2, 3, 5, 7), (3,), (3,)), {"eps": 0.1}, None),
    Case(ops.upsample_bilinear, ((2, 3, 5, 7),), {"size": (13, 4)}, None),
    Case(ops.upsample_bilinear, ((2, 3, 5, 7),), {"size": (13, 4), "corners": True}, None),
    Case(ops.upsample_bilinear, ((2, 3, 5, 7),), {"size": 1}, None),
    Case(roi_align, ((2, 3, 9, 8),), {"boxes": 1.7 * BOXES, "image": IMAGE, "size": (3, 2), "scale": 0.7, "samples": 3}, None),
    Case(roi_align, ((2, 3, 9, 8),), {"boxes": BOXES, "image": IMAGE, "size": 4, "samples": 1, "aligned": False}, None),
    Case(arithmetic.power, ((3, 4),), {"exponent": 2}, None),
    Case(arithmetic.matmul, ((2, 1, 3, 4), (5, 4, 2)), {}, None),
    Case(arithmetic.reduce_sum, ((2, 3, 4),), {}, None),
    Case(arithmetic.reduce_sum, ((2, 3, 4),), {"axis": ()}, None),
    Case(arithmetic.reduce_mean, ((2, 3, 4),), {"axis": (0, -1), "keepdims": True}, None),
    Case(arithmetic.reduce_max, ((2, 3, 4),), {}, None),
    Case(arithmetic.reduce_max, ((2, 3, 4),), {"axis": (1, 2), "keepdims": True}, None),
    Case(arithmetic.transpose, ((2, 3, 4),), {"axes": [-1, 0, 1]}, None),
    *(Case(arithmetic.getitem, ((5, 6, 7),), {"index": index}, None) for index in (
        2, -1, slice(1, 4), (slice(None), slice(4, 1, -1)), (slice(None, None, -1), 3), (..., slice(None, None, 3)), (..., -2),
        (slice(-4, -1), 0, slice(5, None, -2)), (1, ..., 2), (slice(None), slice(0, 100)), (np.int64(2), slice(np.int64(1), None)), (1, 2, 3))),
    Case(arithmetic.getitem, ((5, 4),), {"index": slice(None)}, None),
]
TRAINING = {"batch_norm2d", "batch_norm2d_relu"}            # without statistics
EXPORTED = OURS + [case for case in CASES if case.op.__name__ in TABLE.keys() - {"getitem"}
                   and (case.options or case.op.__name__ not in TRAINING)]


def exported(case, arrays, opset=17):
    part = Part(lambda *xs: case.op(*xs, **case.options), lambda rng, more: {f"x{i}": x for i, x in enumerate(arrays)}, {}, ("y",))
    with no_grad():
        return as_bytes(onnx, translated(Module(), part, opset), opset)


@pytest.mark.parametrize("opset", [17, 18])                # 18 moved the axes of reductions
@pytest.mark.parametrize("case", EXPORTED, ids=str)
def test_an_op_answers_the_same(case, opset, rng):
    tensors = [Tensor(x.astype(np.float32)) for x in case.arrays(rng)]
    expected = case.op(*tensors, **case.options).data
    found, = session(exported(case, tensors, opset)).run(None, {f"x{i}": x.data for i, x in enumerate(tensors)})
    near(found, expected)


def test_no_op_is_forgotten():
    ours = {*ops.__all__, *(name for name, f in vars(arithmetic).items() if getattr(f, "is_op", False) and name in f.__name__)}
    assert set(TABLE) | set(ONLY_IN_TRAINING) == ours
    assert {case.op.__name__ for case in EXPORTED} == set(TABLE)
    assert not set(TABLE) & set(ONLY_IN_TRAINING)


class Net(Module):
    """A function as a network, with a parameter."""

    def __init__(self, f):
        self.f, self.w = f, Tensor(np.float32([[[0.5]], [[2.0]], [[-1.0]]]), requires_grad=True)

    def forward(self, x):
        return self.f(x, self.w)


OF_THE_BATCH = {
    "a reshape": lambda x, w: (x * w).reshape(x.shape[0], 3, 20),
    "rows": lambda x, w: x.transpose(0, 2, 3, 1).reshape(x.shape[0] * 20, 3),
    "zeros beside it": lambda x, w: ops.concat(np.zeros((len(x), 2, 4, 5)), x * w),
    "an image less": lambda x, w: (x * w)[-1:],
    "a sum over images": lambda x, w: (x - x.mean(axis=0, keepdims=True)) ** 2,
    "numbers on the left": lambda x, w: 1 / (3 - w) - 2 * x,
    "an enlarged map": lambda x, w: ops.upsample_bilinear(x, size=(6, 7)) * w,
    "a number": lambda x, w: (x * w).sum() * 2 + 1,
    "the input itself": lambda x, w: x,
    "an array": lambda x, w: x * np.arange(5.0),
}


@pytest.mark.parametrize("name", OF_THE_BATCH)
def test_any_number_of_images(name, rng, tmp_path):
    model = Net(OF_THE_BATCH[name])
    export_onnx(model, tmp_path / "net.onnx", (1, 3, 4, 5))
    for N in (1, 2, 7):
        x = rng.standard_normal((N, 3, 4, 5), dtype=np.float32)
        found, = session(tmp_path / "net.onnx").run(None, {"x": x})
        if name == "a sum over images" and N == 1:
            assert not found.any()
        else:
            near(found, model(Tensor(x)).data)


def test_where_the_network_fixes_the_number_of_images_the_file_does(rng, tmp_path):
    weights = rng.standard_normal((4, 1, 1, 1)).astype(np.float32)          # one number an image
    model = Net(lambda x, w: x * weights[:len(x)] * w)
    export_onnx(model, tmp_path / "net.onnx", (2, 3, 4, 5))
    file = session(tmp_path / "net.onnx")
    assert file.get_inputs()[0].shape == [2, 3, 4, 5]
    x = rng.standard_normal((2, 3, 4, 5), dtype=np.float32)
    near(file.run(None, {"x": x})[0], model(Tensor(x)).data)


def test_parameters_and_averages_keep_their_names_and_the_bytes_are_the_same(tmp_path):
    model = Sequential(Conv2d(3, 4, 3, rng=0), BatchNorm2d(4), Sequential(BatchNormReLU(4)), Dropout(rng=0))
    for name in ("a.onnx", "b.onnx"):
        export_onnx(model, tmp_path / name, (1, 3, 8, 8))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    graph = onnx.load(tmp_path / "a.onnx").graph
    assert {x.name: onnx.numpy_helper.to_array(x).shape for x in graph.initializer} == {k: x.shape for k, x in model.state().items()}


def test_a_parameter_may_have_any_name_and_two_owners(rng, tmp_path):
    model = Net(lambda x, w: x * w + model.y0)
    model.x = model.y0 = model.w
    export_onnx(model, tmp_path / "net.onnx", (1, 3, 4, 5))
    x = rng.standard_normal((2, 3, 4, 5), dtype=np.float32)
    file = session(tmp_path / "net.onnx")
    near(file.run(None, {file.get_inputs()[0].name: x})[0], model(Tensor(x)).data)


@op
def relu(x):
    """Not ours, but for the name."""
    return x * 2, lambda dy: (dy * 2,)


another = cycle([ops.relu, ops.sigmoid, ops.relu6])
REFUSED_NETWORKS = [
    (lambda x, w: ops.dropout(x, rate=0.5, rng=0), "op dropout belongs to training"),
    (lambda x, w: ops.mse(x, x.data), "op mse belongs to training"),
    (lambda x, w: ops.batch_norm2d(x, np.ones(3), np.ones(3)), "without mean and variance"),
    (lambda x, w: relu(x), r"op relu of tests.test_onnx is not one of minivision's"),
    (lambda x, w: x[:, [0, 2]], "getitem with a list"),
    (lambda x, w: x[:, np.array([0, 2])], "getitem with an array"),
    (lambda x, w: x[None], "getitem with a new axis"),
    (lambda x, w: x[:, True], "getitem with a bool"),
    (lambda x, w: Tensor(np.abs(x.data)) * w, r"op multiply \(call 1\): an array of shape \(2, 3, 4, 5\) depends on the images"),
    (lambda x, w: w * np.abs(x.data), "depends on the images, and no op made it"),
    (lambda x, w: ops.leaky_relu(x, slope=float(x.data.max())), "op leaky_relu .*, option slope: it is"),
    (lambda x, w: next(another)(x), "calls other ops for other images"),
    (lambda x, w: Tensor(x.data * 2), "output: an array of shape"),
    (lambda x, w: x.data, "returns no Tensor"),
    (lambda x, w: {"y": x}, "output 0 is a dict"),
    (lambda x, w: ops.linear(x, w), "expected NI OI"),
]


@pytest.mark.parametrize("f, message", REFUSED_NETWORKS, ids=[message for _, message in REFUSED_NETWORKS])
def test_what_cannot_be_exported_is_refused(f, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_onnx(Net(f), tmp_path / "net.onnx", (2, 3, 4, 5))
    assert not list(tmp_path.iterdir())


def test_bad_arguments(tmp_path, monkeypatch):
    model, path = models.SmallCNN(), tmp_path / "net.onnx"
    for shape in ((3, 32, 32), (0, 3, 32, 32), (1, 3, 32, 32.0)):
        with pytest.raises(ValueError, match=r"expected \(N,C,H,W\)"):
            export_onnx(model, path, shape)
    with pytest.raises(ValueError, match=r"has C = 4 channels"):
        export_onnx(model, path, (1, 4, 32, 32))
    with pytest.raises(ValueError, match=r"opset is 9; expected 16 … 21"):
        export_onnx(model, path, (1, 3, 32, 32), opset=9)
    with pytest.raises(ValueError, match="a function is not a network"):
        export_onnx(lambda x: x, path, (1, 3, 32, 32))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=r"pip install 'minivision\[onnx\]'"):
        export_onnx(model, path, (1, 3, 32, 32))
    assert not list(tmp_path.iterdir())
    assert model.training


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset(opset, rng, tmp_path):
    model = shaken(models.small_ssd(3), rng)
    export_onnx(model, tmp_path / "net.onnx", (1, 3, 64, 64), opset=opset)
    x = rng.standard_normal((1, 3, 64, 64), dtype=np.float32)
    with model.evaluating(), no_grad():
        scores, offsets, _ = model(Tensor(x))
    for y, z in zip(session(tmp_path / "net.onnx").run(None, {"x": x}), (scores, offsets)):
        near(y, z.data)
