"""The check itself: that it finds mistakes, and that nothing talks it out of them."""

from copy import deepcopy

import numpy as np
import pytest

from minivision import nn, op, ops
from minivision.gradcheck import GradientError, check, numerical_gradient
from minivision.ops.activation import stable_softmax
from minivision.tensor import vjp


def softmax_times(factor):
    """Softmax with its backward multiplied by a factor: wrong unless the factor is 1."""
    @op
    def softmax(x):
        y = stable_softmax(x, 1)
        return y, lambda dy: (factor * y * (dy - (dy * y).sum(axis=1, keepdims=True)),)
    return softmax


@pytest.mark.parametrize("factor", [37.0, 0.0, -1.0])
def test_a_check_with_ones_is_fooled_and_ours_is_not(factor, rng):
    """With a cotangent of ones a softmax's gradient is 0 (its outputs sum to 1), so 37 × it is right as well (E36, E45)."""
    x, broken = rng.standard_normal((4, 5)), softmax_times(factor)
    ones = np.ones((4, 5))
    claimed = vjp(broken, x)[1](ones)[0]
    np.testing.assert_allclose(claimed, numerical_gradient(broken, x, dy=ones)[0], atol=1e-9)      # fooled
    with pytest.raises(GradientError, match=r"softmax: at argument 0\[\d+, \d+\] the backward says"):
        check(broken, x)
    assert check(softmax_times(1.0), x).error < 1e-6


def test_kinks_are_recognised_and_counted():
    x = np.array([[0.0, 1.0, -1.0, 0.00005, 2.0]])          # the fourth is near one: a smaller step decides
    report = check(ops.relu, x)
    assert (report.skipped, report.checked) == (1, 4)
    assert "1 at a kink skipped" in str(report)


def test_pooling_ties_are_recognised_and_a_slope_at_a_smooth_point_is_not():
    tied = np.array([[[[1.0, 1.0], [0.0, -1.0]]]])
    report = check(ops.max_pool2d, tied, size=2)
    assert (report.skipped, report.checked) == (2, 2)
    curved = np.linspace(-3, 3, 20).reshape(4, 5)
    assert check(lambda x: ((x * x) ** 2 * x).sum(), curved).skipped == 0


def test_a_function_checked_only_at_kinks_is_refused():
    with pytest.raises(GradientError, match="4 of 4 probes lie at kinks, hardly anything was checked"):
        check(ops.relu, np.zeros((2, 2)))


def test_the_worst_entry_is_named():
    def cube(x):
        def backward(dy):
            dx = 3 * x * x * dy
            dx[1, 2] *= 1.001
            return (dx,)
        return x ** 3, backward

    with pytest.raises(GradientError, match=r"cube: at argument 0\[1, 2\] the backward says .* the central difference"):
        check(cube, np.arange(1.0, 7).reshape(2, 3))


@pytest.mark.parametrize("backward, words", [
    (lambda dy, x: (dy[0],), r"has shape \(3,\), the argument \(2, 3\)"),
    (lambda dy, x: (dy * np.nan,), r"is nan at \(0, 0\)"),
    (lambda dy, x: (None,), "no gradient of argument 0 was returned"),
])
def test_gradients_that_cannot_be_right(backward, words):
    with pytest.raises(GradientError, match=words):
        check(lambda x: (x * 1, lambda dy: backward(dy, x)), np.ones((2, 3)))


def test_writing_into_the_inputs_is_found():
    def greedy(x):
        def backward(dy):
            x[0] = 7
            return (dy,)
        return x * 1, backward

    with pytest.raises(GradientError, match="greedy wrote into argument 0"):
        check(greedy, np.ones(3))


def test_a_mistake_in_one_entry_of_a_large_array_is_found_along_a_direction(rng):
    """Of 10 000 entries 200 are probed one by one; the random direction sees all of them."""
    def nearly(x):
        def backward(dy):
            dx = dy.copy()
            dx.flat[1234] = 0
            return (dx,)
        return x * 1, backward

    with pytest.raises(GradientError):
        check(nearly, rng.standard_normal((100, 100)))


def test_layers_are_checked_with_their_parameters_and_left_as_they_were(rng):
    x = rng.standard_normal((3, 2, 4, 4))
    layer = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, rng=0), nn.BatchNorm2d(3), nn.LeakyReLU(0.1), nn.Dropout(0.3, rng=1))
    before, generator = layer.state(), deepcopy(layer[3].rng.bit_generator.state)
    report = check(layer, x)
    assert report.name == "Sequential"
    assert report.checked > x.size
    after = layer.state()
    assert all(np.array_equal(before[k], after[k]) for k in before)
    assert layer[3].rng.bit_generator.state == generator


def test_an_argument_without_a_gradient_must_be_declared(rng):
    class Careless(nn.Linear):
        def forward(self, x):
            return ops.linear(x, self.weight)

    with pytest.raises(GradientError, match="no gradient of bias was returned"):
        check(Careless(3, 2, rng=0), rng.standard_normal((4, 3)))

    def scaled(x, w):
        return x * w, lambda dy: (dy * w, None)

    x, w = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    with pytest.raises(GradientError, match="no gradient of argument 1"):
        check(scaled, x, w)
    assert check(scaled, x, w, constant=(1,)).checked == 6


def test_shared_parameters_are_checked_once(rng):
    class Twice(nn.Module):
        def __init__(self):
            self.a = nn.Linear(3, 3, rng=0)
            self.b = self.a

        def forward(self, x):
            return self.b(ops.sigmoid(self.a(x)))

    assert check(Twice(), rng.standard_normal((2, 3))).checked == 6 + 9 + 3


def test_rectified_inputs_are_checked_beside_the_kinks():
    """10 000 rectified numbers, half of them exactly 0. 200 are probed one by one; a mistake in one of the others shows
    along a direction, a little beside the kinks."""
    x = np.maximum(np.random.default_rng(0).standard_normal((100, 100)), 0)
    report = check(ops.relu, x)
    assert report.checked + report.skipped == 200
    assert report.directional <= 1e-6

    def nearly(x):
        def backward(dy):
            dx = dy * (x > 0)
            dx[x > 0] *= np.where(np.arange((x > 0).sum()) == 7, 37, 1)
            return (dx,)
        return np.maximum(x, 0), backward

    with pytest.raises(GradientError):
        check(nearly, x)


@pytest.mark.parametrize("scale", [1e-11, 1e-3, 1.0, 1e6])
def test_small_and_large_functions_are_checked_to_the_same_precision(scale, rng):
    x = rng.standard_normal(20)
    right = lambda x: (scale * x ** 3, lambda dy: (3 * scale * x ** 2 * dy,))
    wrong = lambda x: (scale * x ** 3, lambda dy: (-3 * scale * x ** 2 * dy,))
    slightly = lambda x: (scale * x ** 3, lambda dy: (3.003 * scale * x ** 2 * dy,))
    assert check(right, x).checked == 20
    for f in (wrong, slightly):
        with pytest.raises(GradientError):
            check(f, x)


def test_a_steep_smooth_function_is_no_kink():
    x = np.linspace(1e-3, 3e-3, 6)
    assert check(lambda x: (np.log(x), lambda dy: (dy / x,)), x).skipped == 0
    with pytest.raises(GradientError):
        check(lambda x: (np.log(x), lambda dy: (37 * dy / x,)), x)


@pytest.mark.parametrize("seed", range(4))
def test_large_arrays_with_kinks_here_and_there_raise_no_alarm(seed):
    rng = np.random.default_rng(seed)
    assert check(ops.relu, rng.standard_normal((8, 16, 28, 28)), rng=seed).directional <= 1e-6
    small = 1e-3 * rng.standard_normal((2, 2, 3, 3))
    assert check(ops.batch_norm2d, small, np.ones(2), np.zeros(2), rng=seed).error <= 1e-6


def test_a_backward_that_scribbles_or_changes_its_mind_is_refused():
    def scribbler(x):
        def backward(dy):
            dy *= 3
            return (dy / 3,)
        return x * 1, backward

    def moody(x):
        calls = []

        def backward(dy):
            calls.append(1)
            return (dy * len(calls),)
        return x * 1, backward

    with pytest.raises(GradientError, match="scribbler wrote into dy"):
        check(scribbler, np.ones(3))
    with pytest.raises(GradientError, match="moody: asked twice"):
        check(moody, np.ones(3))


def test_tuples_that_are_none_or_too_short_are_told():
    with pytest.raises(ValueError, match="returned a ndarray; expected a tuple with one entry for each of 1"):
        check(lambda x: (x * 2, lambda dy: dy * 2), np.ones(3))
    with pytest.raises(ValueError, match="returned 1 entries"):
        check(lambda x, y: (x * y, lambda dy: (dy * y,)), np.ones(3), np.ones(3))


def test_a_broken_layer_names_the_parameter(rng):
    class Scale(nn.Module):
        def __init__(self):
            self.factor = nn.layers.parameter(np.ones(4))

        def forward(self, x):
            return wrong_product(x, self.factor)

    @op
    def wrong_product(x, w):
        return x * w, lambda dy: (dy * w, dy.sum(axis=0))       # forgot · x

    with pytest.raises(GradientError, match=r"Scale: at factor\[\d\]"):
        check(Scale(), rng.standard_normal((3, 4)))


def test_same_seed_same_report(rng):
    x = rng.standard_normal((30, 30))
    assert check(ops.sigmoid, x, rng=3) == check(ops.sigmoid, x, rng=3)
    assert check(ops.dropout, x, rate=0.5, rng=np.random.default_rng(1)).checked == 200
    assert check(ops.dropout, x, rate=0.5).checked == 200
