"""Answers that we did not write: onnxruntime, published weights, PyTorch."""

import numpy as np
import pytest

from minivision import data, models, nn, no_grad, ops, optim, vjp
from minivision.kernels import Window, convolution
from minivision.models.resnet_cifar import prepare
from minivision.tensor import Tensor
from minivision.weights import load


@pytest.fixture(scope="module")
def onnx(shared):
    return np.load(shared / "references" / "onnxruntime_ops.npz", allow_pickle=False)


def value(op, *arrays, **options):
    return vjp(op, *arrays, **options)[0]


@pytest.mark.parametrize("name, options", [
    ("conv3x3_p1", {"padding": 1}),
    ("conv3x3_s2_p1", {"padding": 1, "stride": 2}),
    ("conv5x3_asym", {"padding": ((2, 1), (0, 2)), "stride": (2, 1)}),
    ("conv3x3_d2", {"padding": 2, "dilation": 2}),
    ("conv_depthwise", {"padding": 1, "groups": 6}),
    ("conv_depthwise_mult2_s2", {"padding": 2, "stride": 2, "groups": 6}),
    ("conv_group3", {"padding": 1, "groups": 3}),
    ("conv1x1", {}),
])
def test_convolution(onnx, name, options):
    y = value(ops.conv2d, onnx["x"], onnx[f"{name}_w"], onnx[f"{name}_b"], **options)
    np.testing.assert_allclose(y, onnx[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, op, options", [
    ("maxpool2_s2", ops.max_pool2d, {"size": 2}),
    ("maxpool3_s2_p1", ops.max_pool2d, {"size": 3, "stride": 2, "padding": 1}),
    ("maxpool3_s2_ceil", ops.max_pool2d, {"size": 3, "stride": 2, "ceil": True}),
    ("maxpool5_s1_p2", ops.max_pool2d, {"size": 5, "stride": 1, "padding": 2}),
    ("avgpool3_s2_p1_exclude", ops.avg_pool2d, {"size": 3, "stride": 2, "padding": 1}),
    ("avgpool3_s2_p1_include", ops.avg_pool2d, {"size": 3, "stride": 2, "padding": 1, "count_padding": True}),
    ("resize_nearest_x2", ops.upsample, {"factor": 2}),
    ("resize_bilinear_x2_half_pixel", ops.upsample_bilinear, {"size": (22, 26)}),
    ("resize_bilinear_x2_align_corners", ops.upsample_bilinear, {"size": (22, 26), "corners": True}),
    ("softmax_axis1", ops.softmax, {}),
    ("leakyrelu_0.1", ops.leaky_relu, {"slope": 0.1}),
])
def test_single_operators(onnx, name, op, options):
    np.testing.assert_allclose(value(op, onnx["x"], **options), onnx[name], rtol=1e-4, atol=1e-6)


def test_batch_norm(onnx):
    y = value(ops.batch_norm2d, onnx["x"], onnx["bn_gamma"], onnx["bn_beta"], mean=onnx["bn_mean"], variance=onnx["bn_var"])
    np.testing.assert_allclose(y, onnx["batchnorm_eps1e-5"], rtol=1e-4, atol=1e-5)


def test_the_input_gradient_is_a_transposed_convolution(onnx):
    """ConvTranspose with stride 2, padding 1, output padding 1 is dx of a 3×3 convolution from 22×26 to 11×13."""
    window = Window.of((22, 26), 3, stride=2, padding=1)
    assert (window.P, window.Q) == (11, 13)
    y = convolution.correlate_input_gradient(onnx["x"], onnx["convtranspose_w"], window)
    np.testing.assert_allclose(y, onnx["convtranspose_s2_p1_op1"], rtol=1e-4, atol=1e-5)


def test_mnist7(shared):
    """The zoo's digit network on the first 1000 test images, to 1e-4, and its accuracy on all 10 000: 98.90 %."""
    model = models.MNIST7.from_file(shared / "weights" / "mnist-cnn" / "mnist-7.safetensors")
    reference = np.load(shared / "references" / "onnx_mnist-7_t10k.npz", allow_pickle=False)
    test = data.load(shared / "mnist")[1]
    with no_grad():
        y = model(Tensor(test.images.astype(np.float32) / 255)).data
    np.testing.assert_allclose(y[:1000], reference["logits_scaled_0_1"], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(y.argmax(axis=1), reference["pred_all_10000"])
    assert (y.argmax(axis=1) == test.labels).mean() == pytest.approx(0.9890)
    assert model.size() == 5994


def resnet_scores(shared, name):
    """Scores of a published ResNet for the 2000 stored test images, and their labels."""
    model = vars(models)[name]()
    load(model, shared / "weights" / "resnet-cifar10" / f"{name}.safetensors")
    test = data.load(shared / "cifar10")[1]
    model.eval()
    with no_grad():
        y = np.concatenate([model(Tensor(prepare(test.images[i:i + 250]))).data for i in range(0, 2000, 250)])
    return model, y, test.labels


def test_resnet20(shared):
    """The published ResNet-20: logits to 1e-4, and the stated error of 8.55 %."""
    model, y, labels = resnet_scores(shared, "resnet20")
    reference = np.load(shared / "references" / "onnx_resnet20_cifar10_test.npz", allow_pickle=False)
    np.testing.assert_allclose(y, reference["logits"], rtol=0, atol=1e-4)
    assert (y.argmax(axis=1) != labels).mean() == pytest.approx(0.0855)
    assert model.size() == 269_722


@pytest.mark.slow
def test_resnet56(shared):
    """The published ResNet-56: the stated error of 8.10 % on the same images."""
    model, y, labels = resnet_scores(shared, "resnet56")
    assert (y.argmax(axis=1) != labels).mean() == pytest.approx(0.0810)
    assert model.size() == 853_018


def torch_twin():
    """Sample C5 in PyTorch, as document 003 prints it, with its mistakes put right."""
    import torch
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(64 * 8 * 8, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)).double()


OURS = {"0": "conv1", "3": "conv2", "7": "fc1", "9": "fc2"}


@pytest.mark.parametrize("name, ours, theirs", [
    ("sgd", lambda p: optim.SGD(p, 0.05), lambda t, p: t.optim.SGD(p, 0.05)),
    ("momentum", lambda p: optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.01), lambda t, p: t.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.01)),
    ("nesterov", lambda p: optim.SGD(p, 0.05, momentum=0.9, nesterov=True), lambda t, p: t.optim.SGD(p, 0.05, momentum=0.9, nesterov=True)),
    ("adam", lambda p: optim.Adam(p, 0.01, weight_decay=0.1), lambda t, p: t.optim.Adam(p, 0.01, weight_decay=0.1)),
    ("adamw", lambda p: optim.AdamW(p, 0.01, weight_decay=0.1), lambda t, p: t.optim.AdamW(p, 0.01, weight_decay=0.1)),
])
def test_five_training_steps_of_c5_equal_pytorch(name, ours, theirs, rng):
    """The update rules (F14b) and the whole network: same first weights, same batches, float64; every loss and every weight of sample C5 agree."""
    torch = pytest.importorskip("torch")
    model, twin = models.SmallCNN(rng=3), torch_twin()
    for path, p in model.named_parameters():
        p.data = p.data.astype(np.float64)
    with torch.no_grad():
        for n, p in twin.named_parameters():
            index, kind = n.split(".")
            p.copy_(torch.tensor(getattr(getattr(model, OURS[index]), kind).data))
    optimiser, twin_optimiser = ours(model.parameters()), theirs(torch, twin.parameters())
    for _ in range(5):
        x, t = rng.standard_normal((6, 3, 32, 32)), rng.integers(0, 10, 6)
        optimiser.zero_grad()
        loss = model.loss(x, t)["cross_entropy"]
        loss.backward()
        optimiser.step()
        twin_optimiser.zero_grad()
        twin_loss = torch.nn.functional.cross_entropy(twin(torch.tensor(x)), torch.tensor(t))
        twin_loss.backward()
        twin_optimiser.step()
        assert loss.item() == pytest.approx(twin_loss.item(), rel=1e-7)
    for n, p in twin.named_parameters():
        index, kind = n.split(".")
        np.testing.assert_allclose(getattr(getattr(model, OURS[index]), kind).data, p.detach().numpy(), rtol=1e-6, atol=1e-8)


def test_batch_norm_layer_equals_pytorch(rng):
    """Training twice, then evaluation: outputs, gradients and running averages."""
    torch = pytest.importorskip("torch")
    layer, twin = nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    for _ in range(2):
        x = rng.standard_normal((4, 3, 5, 6)).astype(np.float32)
        ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, y_twin = layer(ours), twin(theirs)
        dy = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(dy)
        y_twin.backward(torch.tensor(dy))
        np.testing.assert_allclose(y.data, y_twin.detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), atol=1e-5)
    np.testing.assert_allclose(layer.running_mean, twin.running_mean.numpy(), rtol=1e-5)
    np.testing.assert_allclose(layer.running_var, twin.running_var.numpy(), rtol=1e-5)
    np.testing.assert_allclose(layer.eval()(Tensor(x)).data, twin.eval()(torch.tensor(x)).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("smoothing, ignore", [(0.0, None), (0.1, None), (0.2, 3)])
def test_cross_entropy_equals_pytorch(smoothing, ignore, rng):
    torch = pytest.importorskip("torch")
    scores, labels = 30 * rng.standard_normal((8, 5)), rng.integers(0, 5, 8)
    theirs = torch.tensor(scores, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(theirs, torch.tensor(labels), label_smoothing=smoothing,
                                             ignore_index=-100 if ignore is None else ignore)
    loss.backward()
    y, backward = vjp(ops.softmax_cross_entropy, scores, labels, smoothing=smoothing, ignore=ignore)
    assert y == pytest.approx(loss.item(), rel=1e-9)
    np.testing.assert_allclose(backward(1.0)[0], theirs.grad.numpy(), atol=1e-10)


@pytest.mark.parametrize("seed", range(60))
def test_pooling_of_random_shapes_equals_pytorch(seed):
    """Max and mean pooling with every mixture of size, stride, padding, ceil and counting: shapes, values, gradients."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    size, stride = rng.integers(1, 4, 2).tolist(), rng.integers(1, 4, 2).tolist()
    padding = [int(rng.integers(0, k // 2 + 1)) for k in size]
    x = rng.standard_normal((2, 2, *(int(k + rng.integers(0, 6)) for k in size)))
    ceil, count = bool(rng.integers(2)), bool(rng.integers(2))
    for ours, theirs, extra in ((ops.max_pool2d, torch.nn.functional.max_pool2d, {}),
                                (ops.avg_pool2d, torch.nn.functional.avg_pool2d, {"count_padding": count})):
        y, backward = vjp(ours, x, size=tuple(size), stride=tuple(stride), padding=tuple(padding), ceil=ceil, **extra)
        leaf = torch.tensor(x, requires_grad=True)
        expected = theirs(leaf, size, stride, padding, ceil_mode=ceil, **({"count_include_pad": count} if extra else {}))
        assert y.shape == tuple(expected.shape)
        np.testing.assert_allclose(y, expected.detach().numpy(), atol=1e-12)
        dy = rng.standard_normal(y.shape)
        expected.backward(torch.tensor(dy))
        np.testing.assert_allclose(backward(dy)[0], leaf.grad.numpy(), atol=1e-12)


def test_masked_scores_equal_pytorch():
    """A class masked with −∞ costs nothing; a NaN in an ignored row does no harm."""
    torch = pytest.importorskip("torch")
    scores, labels = np.array([[1.0, -np.inf, 2.0], [0.5, 1.0, -1.0]]), np.array([0, 2])
    loss = torch.nn.functional.cross_entropy(torch.tensor(scores), torch.tensor(labels)).item()
    y, backward = vjp(ops.softmax_cross_entropy, scores, labels)
    assert y == pytest.approx(loss)
    assert np.isfinite(backward(1.0)[0]).all()
    poisoned = np.concatenate([scores, [[np.nan] * 3]])
    y, backward = vjp(ops.softmax_cross_entropy, poisoned, np.array([0, 2, -1]), ignore=-1)
    assert y == pytest.approx(loss)
    assert (backward(1.0)[0][2] == 0).all()


def test_clipping_equals_pytorch(rng):
    torch = pytest.importorskip("torch")
    gradients = [rng.standard_normal(s) for s in ((3, 4), (5,))]
    ours, theirs = [Tensor(g * 0, requires_grad=True) for g in gradients], [torch.zeros(g.shape, dtype=torch.float64) for g in gradients]
    for a, b, g in zip(ours, theirs, gradients):
        a.grad, b.requires_grad = g, True
        b.grad = torch.tensor(g)
    norm = optim.clip_gradients(ours, 0.5)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, 0.5)))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=1e-5)
    assert optim.clip_gradients(ours, 10.0) == pytest.approx(0.5, rel=1e-5)
