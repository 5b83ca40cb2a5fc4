"""Depthwise and 1×1 convolutions, which take roads of their own on the CPU: the same map as the specification, and its transposes."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivision.kernels import Window, convolution, specification
from minivision.kernels.cpu import depthwise, patches, pointwise
from minivision.kernels.cpu.convolution import axes_of

KERNELS = (convolution.correlate, convolution.correlate_relu, convolution.correlate_input_gradient, convolution.correlate_weight_gradient)


def layer(draw, N, G, C, O, size, stride, padding, dilation):
    """x, w, b, dy, window, groups, with images of any size from the smallest on that the window fits."""
    least = [max(1, d * (k - 1) + 1 - sum(p)) for d, k, p in zip(dilation, size, padding)]
    H, W = (draw(st.one_of(st.integers(low, low + 7), st.integers(low, low + 70))) for low in least)
    rng, dtype = np.random.default_rng(draw(st.integers(0, 999))), draw(st.sampled_from([np.float64, np.float32]))
    window = Window.of((H, W), size, stride, padding, dilation)
    make = lambda *shape: rng.standard_normal(shape).astype(dtype)
    x = make(N, G * C, W, H).swapaxes(2, 3) if draw(st.booleans()) else make(N, G * C, H, W)        # or not contiguous
    return x, make(G * O, C, *size), make(G * O), make(N, G * O, window.P, window.Q), window, G


@st.composite
def thin_groups(draw):
    """Many groups of one or two channels: 3×3 filters side by side half of the time, else any; no images; one pixel; wide borders."""
    usual, number = draw(st.booleans()), st.integers(1, 3)
    size = (3, 3) if usual else (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    stride = (draw(number),) * 2 if usual else (draw(st.integers(1, 6)), draw(number))
    padding = ((draw(st.integers(0, 2)), draw(st.integers(0, 3))), (draw(st.integers(0, 2)), draw(st.integers(0, 3))))
    dilation = (1, 1) if usual else (draw(number), draw(number))
    C, O = (1, draw(number)) if usual else (draw(st.integers(1, 2)), draw(number))
    return layer(draw, draw(st.integers(0, 3)), draw(st.integers(4, 40)), C, O, size, stride, padding, dilation)


@st.composite
def single_taps(draw):
    """1×1 filters in one or more groups, with a stride or without, on few images and on many."""
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 2)))
    no_padding = ((0, 0), (0, 0))
    return layer(draw, draw(st.integers(0, 6)), draw(st.integers(1, 3)), draw(st.integers(8, 40)), draw(st.integers(1, 40)), (1, 1),
                 stride, no_padding, (1, 1))


def same(found, expected, dtype):
    assert found.dtype == dtype
    assert found.shape == expected.shape
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def agree(case):
    """All kernels equal their specification, and the gradients are the transposes of the map."""
    x, w, b, dy, window, groups = case
    found = []
    for kernel, args in zip(KERNELS, ((x, w, b), (x, w, b), (dy, w), (dy, x))):
        found.append(kernel(*args, window, groups))
        with specification():
            same(found[-1], kernel(*args, window, groups), x.dtype)
    same(convolution.correlate(x, w, None, window, groups), found[0] - b[:, None, None], x.dtype)
    for bias in (b, None):
        y = convolution.correlate_relu(x, w, bias, window, groups, 6)
        with specification():
            same(y, convolution.correlate_relu(x, w, bias, window, groups, 6), x.dtype)
    if x.dtype == np.float64:
        inner = ((found[0] - b[:, None, None]) * dy).sum()
        np.testing.assert_allclose([(x * found[2]).sum(), (w * found[3]).sum()], inner, rtol=1e-9, atol=1e-9)
    if min(window.P, window.Q) > 1:
        y, winner = convolution.correlate_pool_relu(x, w, b, window, groups)
        with specification():
            same(y, convolution.correlate_pool_relu(x, w, b, window, groups)[0], x.dtype)
        assert ((winner == 4) == (y == 0)).all()


@given(thin_groups())
@settings(max_examples=150, deadline=None)
def test_depthwise(case):
    x, w, *_, groups = case
    assert depthwise.pays(groups, w.shape[1], len(w) // groups)
    agree(case)


@given(single_taps())
@settings(max_examples=80, deadline=None)
def test_pointwise(case):
    _, w, _, _, window, _ = case
    assert pointwise.pays(window, w.shape[1])
    agree(case)


@pytest.mark.parametrize("C, H, size, stride", [(32, 112, 3, 1), (96, 112, 3, 2), (960, 7, 3, 1), (576, 14, 3, 2), (136, 20, 5, 1)])
def test_layers_of_published_networks(C, H, size, stride, rng):
    """As large as in MobileNetV2 and YOLO-Fastest: shared out among threads, and some of them in bands of rows."""
    window = Window.of((H, H), size, stride, size // 2)
    make = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    agree((make(2, C, H, H), make(C, 1, size, size), make(C), make(2, C, window.P, window.Q), window, C))


def test_which_layers_are_walked_down():
    """3×3 filters side by side, stride 1 or 2: the usual ones; all others take the road for any taps."""
    step = lambda *options: depthwise.walking(*axes_of(Window.of((9, 9), *options)))[0]
    assert [step(3, 1, 1), step(3, 2, 1), step(3, 1, 0)] == [1, 2, 1]
    assert [step(3, 3, 1), step(3, (1, 2), 1), step(5, 1, 2), step(3, 1, 2, 2), step((3, 1), 1, 1)] == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_what_is_not_finite_stays_where_it_is_seen(stride):
    """NaN in one pixel: NaN in the results whose window holds it, rectified or not, and nowhere else."""
    x, w, window = np.ones((1, 4, 9, 9), np.float32), np.ones((4, 1, 3, 3), np.float32), Window.of((9, 9), 3, stride, 1)
    x[0, 1, 4, 4] = np.nan
    for kernel in (convolution.correlate, convolution.correlate_relu, partial(convolution.correlate_relu, most=6)):
        y = kernel(x, w, np.zeros(4, np.float32), window, 4)
        with specification():
            np.testing.assert_array_equal(y, kernel(x, w, np.zeros(4, np.float32), window, 4))


@pytest.mark.parametrize("C, O, size, options", [(512, 96, (9, 7), {"padding": 1}), (600, 70, (12, 11), {"padding": 6, "dilation": 6}),
                                                 (480, 130, (21, 13), {"stride": 2, "padding": ((0, 1), (2, 0))}), (300, 64, (30, 31), {})])
@pytest.mark.parametrize("kernel", [convolution.correlate, convolution.correlate_relu, partial(convolution.correlate_relu, most=6)])
def test_small_maps_with_many_channels_go_through_patches(C, O, size, options, kernel, rng, monkeypatch):
    """The same numbers as the specification, forwards and as dx, on the road that patches.py takes."""
    monkeypatch.setattr(patches, "LEAST", 0)
    window = Window.of(size, 3, **options)
    x, w, b = rng.standard_normal((2, C, *size)), rng.standard_normal((O, C, 3, 3)), rng.standard_normal(O)
    assert patches.pays(2, w, window, 1)
    taken = []
    road = patches.correlate
    monkeypatch.setattr(patches, "correlate", lambda *args: taken.append(1) or road(*args))
    for bias in (b, None):
        y = kernel(x, w, bias, window)
        with specification():
            np.testing.assert_allclose(y, kernel(x, w, bias, window), rtol=1e-9, atol=1e-9)
    assert len(taken) == 2
