"""Modules: finding what they hold, loading, switching; first losses; initialisers; optimisers' doors."""

from math import log

import numpy as np
import pytest

from minivision import models, nn, ops, optim
from minivision.nn.initialisers import fans, glorot_uniform, he_normal, he_uniform, small_normal, torch_bias
from minivision.tensor import Tensor


class Branches(nn.Module):
    def __init__(self, rng):
        self.stem = nn.Conv2d(1, 2, 3, padding=1, bias=False, rng=rng)
        self.heads = [nn.Linear(8, 2, rng=rng), {"box": nn.Linear(8, 4, rng=rng)}]
        self.norm = nn.BatchNorm2d(2)
        self.again = self.heads[0]
        self.note, self.number, self.nothing = "text", 3, None


def test_parameters_are_found_wherever_they_lie():
    net = Branches(np.random.default_rng(0))
    names = [name for name, _ in net.named_parameters()]
    assert names == ["stem.weight", "heads.0.weight", "heads.0.bias", "heads.1.box.weight", "heads.1.box.bias",
                     "norm.weight", "norm.bias", "again.weight", "again.bias"]
    assert [name for name, _ in net.named_buffers()] == ["norm.running_mean", "norm.running_var"]
    assert len(net.parameters()) == 7                   # `again` is heads[0], counted once
    assert net.size() == 18 + 18 + 36 + 4
    assert "heads.1.box Linear: weight (4, 8), bias (4,)" in repr(net)


def test_state_goes_round_and_shares_nothing():
    a, b = Branches(np.random.default_rng(0)), Branches(np.random.default_rng(1))
    state = a.state()
    b.load_state(state)
    state["stem.weight"][:] = 0
    assert np.array_equal(a.stem.weight.data, b.stem.weight.data)
    assert b.stem.weight.data.any()


def test_load_state_lists_all_that_does_not_fit_and_changes_nothing():
    net = nn.Sequential(nn.Linear(3, 2, rng=0), nn.Linear(2, 1, rng=0))
    before = net.state()
    bad = {"0.weight": np.ones((2, 3)), "0.bias": np.ones(3), "1.weight": np.ones((1, 2)), "extra": np.ones(1)}
    with pytest.raises(ValueError, match=r"missing: 1.bias; unexpected: extra; 0.bias has shape \(3,\), the network wants \(2,\)"):
        net.load_state(bad)
    assert all(np.array_equal(before[k], v) for k, v in net.state().items())


def test_train_and_eval_reach_everything_and_dropout_rests_in_evaluation():
    net = nn.Sequential(nn.Sequential(nn.Dropout(0.5, rng=0)), nn.Flatten())
    x = Tensor(np.ones((4, 100), np.float32))
    assert np.array_equal(net.eval()(x).data, x.data)
    y = net.train()(x).data
    assert set(np.unique(y)) == {0, 2}
    assert abs(y.mean() - 1) < 0.2


def test_predict_leaves_the_mode_of_every_layer():
    net = models.ThreeConvCNN(size=22, hidden=8)
    net.head.eval()
    net.predict(np.zeros((2, 3, 22, 22), np.float32))
    assert net.features.training
    assert not net.head[3].training


@pytest.mark.parametrize("make, classes, shape", [
    (lambda: models.SmallCNN(10, rng=1), 10, (16, 3, 32, 32)),
    (lambda: models.SmallCNN(7, 1, 8, rng=1), 7, (16, 1, 8, 8)),
    (lambda: models.LinearClassifier(10, 1, 28), 10, (16, 1, 28, 28)),
    (lambda: models.ThreeConvCNN(5, size=22, hidden=16), 5, (8, 3, 22, 22)),
    (lambda: models.resnet9(), 10, (4, 3, 32, 32)),
    (lambda: models.resnet20(), 10, (4, 3, 32, 32)),
])
def test_the_first_loss_is_chance(make, classes, shape, rng):
    """Sanity ladder, first rung: scores near 0 make every class equally likely, so the loss is ln K."""
    loss = make().loss(rng.standard_normal(shape).astype(np.float32), rng.integers(0, classes, shape[0]))
    assert loss["cross_entropy"].item() == pytest.approx(log(classes), rel=0.06)


def test_overfitting_sixteen_images(rng):
    """Second rung: a network that cannot learn sixteen images by heart cannot learn."""
    model = models.SmallCNN(10, 1, 8, rng=0)
    x, t = rng.standard_normal((16, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 16)
    optimiser = optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        loss = model.loss(x, t)["cross_entropy"]
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.01
    assert (model.predict(x) == t).all()


def test_sample_c3_has_the_parameters_counted_on_paper():
    """C3, 224²: 896 + 18 496 + 73 856 + (26·26·128·512 + 512) + (512·10 + 10); E17: 99.8 % between Flatten and Dense."""
    model = models.ThreeConvCNN(10)
    assert model.size() == 896 + 18_496 + 73_856 + 26 * 26 * 128 * 512 + 512 + 5130 == 44_401_226
    dense = model.head[1].weight.size
    assert dense / model.size() == pytest.approx(0.998, abs=5e-4)


def test_sample_c3_learns_with_adam(rng):
    """C3 corrected: scores instead of softmax, whole-number labels, Adam as the document has it; on smaller images."""
    model = models.ThreeConvCNN(5, size=30, hidden=32)
    x, t = rng.standard_normal((32, 3, 30, 30)).astype(np.float32), rng.integers(0, 5, 32)
    optimiser = optim.Adam(model.parameters())
    assert model.evaluate([(x, t)])["loss"] == pytest.approx(log(5), rel=0.05)
    for _ in range(40):
        optimiser.zero_grad()
        model.loss(x, t)["cross_entropy"].backward()
        optimiser.step()
    assert model.evaluate([(x, t)])["loss"] < 0.5               # without dropout


def test_samples_c4_and_c5_have_64_8_8_inputs():
    """C4, C5 (E33): 32 → 16 → 8, so 64·8·8; C5 prints 64·6·6."""
    assert models.SmallCNN().fc1.weight.shape == (128, 64 * 8 * 8)


@pytest.mark.parametrize("make, words", [
    (lambda: models.SmallCNN(size=30), "multiple of 4"),
    (lambda: models.ThreeConvCNN(size=21), "22 is the smallest"),
    (lambda: nn.Dropout(1.0, rng=0), "0 ≤ rate < 1"),
    (lambda: nn.Conv2d(4, 6, 3, groups=3, rng=0), "cannot be cut into 3"),
    (lambda: nn.Linear(3, 2, rng=None), "rng is None"),
    (lambda: nn.Conv2d(3, 4, 3, rng=0)(Tensor(np.zeros((2, 5, 8, 8)))), r"C = 5 channels"),
    (lambda: nn.Linear(3, 2, rng=0)(Tensor(np.zeros((2, 5)))), "I is both 5 and 3: expected NI OI O"),
    (lambda: optim.SGD([], 0.1), "at least one Tensor"),
    (lambda: optim.SGD(nn.Linear(2, 2, rng=0).parameters(), -1), "lr is -1"),
    (lambda: optim.SGD(nn.Linear(2, 2, rng=0).parameters(), 0.1, momentum=1.0), "0 ≤ momentum < 1"),
    (lambda: optim.SGD(nn.Linear(2, 2, rng=0).parameters(), 0.1, nesterov=True), "needs momentum"),
    (lambda: optim.Adam(nn.Linear(2, 2, rng=0).parameters(), betas=(0.9, 1.0)), r"betas\[1\]"),
    (lambda: optim.cosine(0), "steps is 0"),
    (lambda: nn.Sequential(nn.ReLU(), ops.relu), "layer 1 is 'relu', not a Module"),
    (lambda: nn.Linear(0, 4, rng=0), "inputs is 0"),
    (lambda: nn.Conv2d(3, 4, 0, rng=0), "size is 0"),
    (lambda: nn.Conv2d(3, 4, 3, groups=0, rng=0), "groups is 0"),
    (lambda: nn.Linear(3, 4, rng=np.random.Generator(np.random.MT19937(0))), "default_rng"),
    (lambda: nn.Conv2d(3, 4, 3, rng=0)(Tensor(np.zeros((2, 3, 8, 8), np.uint8))), "x is uint8; networks compute in float32"),
    (lambda: ops.linear([[1.0]], np.ones((2, 1))), "x is list"),
    (lambda: ops.relu(np.ones(3, np.float16)), "x is float16"),
    (lambda: ops.softmax_cross_entropy(np.ones((2, 3)), [0, 1]), "labels are a list; expected an array"),
    (lambda: ops.softmax_cross_entropy(np.ones((2, 3)), np.array([0, 3])), "label 3 of image 1 is not in 0 … 2"),
    (lambda: ops.softmax_cross_entropy(np.ones((2, 3)), np.eye(3, dtype=int)[:2]), "not one-hot"),
    (lambda: ops.sigmoid_cross_entropy(np.ones((4, 5)), np.ones((4, 5)), np.ones(5)), "compares entry by entry"),
    (lambda: ops.concat(np.ones((2, 3)), np.ones((2, 3)), axis=5), "axis 5"),
    (lambda: ops.max_pool2d(np.ones((1, 1, 4, 4)), size=2, padding=2), "some windows would see no pixel"),
    (lambda: Tensor(np.ones(2), requires_grad=True).backward([1.0, 1.0, 1.0]), r"dy has shape \(3,\)"),
])
def test_misuse_is_told_in_one_sentence(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_module_without_forward_says_so():
    with pytest.raises(TypeError, match="Module has no forward"):
        nn.Module()(1)


def test_initialisers_have_the_variance_they_promise():
    rng, shape = np.random.default_rng(0), (64, 32, 3, 3)
    assert fans(shape) == (288, 576)
    assert he_normal(rng, shape).var() == pytest.approx(2 / 288, rel=0.03)
    assert he_uniform(rng, shape).var() == pytest.approx(2 / 288, rel=0.03)
    assert glorot_uniform(rng, shape).var() == pytest.approx(2 / (288 + 576), rel=0.03)
    assert small_normal(rng, shape).std() == pytest.approx(0.01, rel=0.03)
    assert np.abs(torch_bias(rng, (1000,), 25)).max() == pytest.approx(0.2, rel=0.01)
    assert he_normal(rng, shape).dtype == np.float32


def test_he_keeps_the_signal_through_thirty_layers(rng):
    """With variance 2/fan_in the size of the signal survives thirty ReLU layers; with a tenth of it nothing is left."""
    def last(factor):
        x = rng.standard_normal((64, 256))
        for _ in range(30):
            x = np.maximum(x @ (factor * he_normal(rng, (256, 256)).T), 0)
        return (x * x).mean()
    assert 0.02 < last(1.0) < 50
    assert last(0.316) < 1e-12


def test_schedules():
    assert [optim.step_decay(2)(s) for s in range(5)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    cosine = optim.cosine(100, warm_up=10)
    assert [cosine(s) for s in (0, 4, 9, 10, 55, 100, 200)] == pytest.approx([0.1, 0.5, 1, 1, 0.5, 0, 0], abs=0.01)
    assert optim.cosine(10, least=0.1)(10) == pytest.approx(0.1)
    assert optim.warm_up(4, optim.constant())(1) == 0.5


def test_optimiser_state_goes_round(rng):
    def train(optimiser, w, steps):
        for _ in range(steps):
            w.grad = np.sin(w.data)
            optimiser.step()

    for make in (lambda p: optim.SGD(p, 0.1, momentum=0.9), lambda p: optim.Adam(p, 0.1), lambda p: optim.SGD(p, 0.1)):
        a = Tensor(rng.standard_normal(5), requires_grad=True)
        first = make([a])
        train(first, a, 3)
        b = Tensor(a.data.copy(), requires_grad=True)
        second = make([b])
        second.load_state(first.state())
        train(first, a, 3)
        train(second, b, 3)
        np.testing.assert_array_equal(a.data, b.data)
    with pytest.raises(ValueError, match="not the state of SGD"):
        second.load_state({"steps": np.array(1), "mean.0": np.ones(5)})


def test_frozen_parameters_are_saved_and_left_alone(rng):
    net = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Linear(4, 2, rng=0))
    for p in net[0].parameters():
        p.requires_grad = False
    before = net.state()
    optimiser = optim.SGD(net.parameters(), 0.1)
    net(Tensor(rng.standard_normal((5, 3)).astype(np.float32))).sum().backward()
    optimiser.step()
    after = net.state()
    changed = {k for k in before if not np.array_equal(before[k], after[k])}
    assert changed == {"1.weight", "1.bias"}
    assert len(before) == 4


def test_clipping_refuses_nan():
    p = Tensor(np.ones(2), requires_grad=True)
    p.grad = np.array([1.0, np.nan])
    with pytest.raises(ValueError, match="norm is nan"):
        optim.clip_gradients([p], 1.0)


def test_the_mean_over_an_image_and_its_mirror_image(rng):
    """Of a symmetric image it is the plain answer; of any other the same as of its mirror image."""
    model = models.SmallCNN(4, 3, 8, rng=0)
    x = rng.standard_normal((3, 3, 8, 8)).astype(np.float32)
    both = model.probabilities(x, mirror=True)
    np.testing.assert_allclose(both, (model.probabilities(x) + model.probabilities(x[..., ::-1].copy())) / 2, rtol=1e-5)
    np.testing.assert_allclose(both, model.probabilities(x[..., ::-1].copy(), mirror=True), rtol=1e-5)
    same = x + x[..., ::-1]
    np.testing.assert_allclose(model.probabilities(same, mirror=True), model.probabilities(same), rtol=1e-4)
