"""Winograd's tiles: the same map as the direct sum, its transposes, and how much accuracy they cost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minivision.kernels import Window, convolution, exact_convolution, specification
from minivision.kernels.cpu import winograd
from minivision.kernels.cpu.convolution import axes_of
from minivision.kernels.cpu.strips import CLIPPED, PLAIN


@st.composite
def layers(draw):
    """Shapes that take the road of the tiles: at least 16 channels and filters, 48 tiles, any border."""
    C, O, N = draw(st.integers(16, 19)), draw(st.integers(16, 35)), draw(st.integers(1, 9))
    H, W = draw(st.integers(5, 30)), draw(st.integers(5, 30))
    window = Window.of((H, W), 3, 1, ((draw(st.integers(0, 2)), draw(st.integers(0, 3))), (draw(st.integers(0, 2)), draw(st.integers(0, 3)))))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    make = lambda *shape: rng.standard_normal(shape)
    return make(N, C, H, W), make(O, C, 3, 3), make(O), make(N, O, window.P, window.Q), window


def exactly(kernel, *args):
    with specification():
        return kernel(*args)


@given(layers())
@settings(max_examples=40, deadline=None)
def test_tiles_equal_the_direct_sum_and_its_transposes(case):
    x, w, b, dy, window = case
    y, dw, dx = np.empty_like(dy), winograd.weight_gradient_by_tiles(dy, 0, len(w), x, 0, w.shape[1], *axes_of(window)), None
    clipped, none = np.empty_like(dy), np.empty((0, 0, 0, 0), np.uint8)
    winograd.correlate_by_tiles(y, x, 0, w, b, *axes_of(window), PLAIN, none)
    winograd.correlate_by_tiles(clipped, x, 0, w, b, *axes_of(window), CLIPPED, none)
    dx = convolution.correlate_input_gradient(dy, w, window)
    np.testing.assert_allclose(y, exactly(convolution.correlate, x, w, b, window), atol=1e-10)
    np.testing.assert_allclose(clipped, exactly(convolution.correlate_relu, x, w, b, window, 1, 6), atol=1e-10)
    np.testing.assert_allclose(dw, exactly(convolution.correlate_weight_gradient, dy, x, window), atol=1e-9)
    np.testing.assert_allclose(dx, exactly(convolution.correlate_input_gradient, dy, w, window), atol=1e-10)
    inner = ((y - b[:, None, None]) * dy).sum()
    np.testing.assert_allclose([(x * dx).sum(), (w * dw).sum()], inner, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("C, O, H", [(64, 64, 28), (16, 32, 31), (256, 64, 14)])
def test_its_float32_error_is_what_the_docstring_says(C, O, H, rng):
    """1e-5 of the largest result at most three times over, where the direct sum stays within 3e-6; and it can be turned off."""
    x, w, b = (rng.standard_normal(shape) for shape in ((4, C, H, H), (O, C, 3, 3), (O,)))
    window = Window.of((H, H), 3, padding=1)
    dy = rng.standard_normal((4, O, H, H))
    errors = {}
    for name, turn_off in (("tiles", False), ("direct", True)):
        for kernel, args in ((convolution.correlate, (x, w, b)), (convolution.correlate_input_gradient, (dy, w)),
                             (convolution.correlate_weight_gradient, (dy, x))):
            expected = exactly(kernel, *args, window)
            single = [a.astype(np.float32) for a in args]
            if turn_off:
                with exact_convolution():
                    found = kernel(*single, window)
            else:
                found = kernel(*single, window)
            errors[name, kernel.__name__] = np.abs(found - expected).max() / np.abs(expected).max()
    for (name, kernel), error in errors.items():
        assert error < (3e-5 if name == "tiles" else 3e-6), (name, kernel, error)
    assert errors["tiles", "correlate"] > 2 * errors["direct", "correlate"]         # it did take the other road


def test_the_matrices_satisfy_the_identity_they_stand_for(rng):
    """y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A is the correlation of a 6×6 with a 3×3, exactly."""
    x, w = rng.standard_normal((6, 6)), rng.standard_normal((3, 3))
    u, v = winograd.G @ w @ winograd.G.T, winograd.B_T @ x @ winograd.B_T.T
    y = winograd.A_T @ (u * v) @ winograd.A_T.T
    np.testing.assert_allclose(y, [[(x[p:p + 3, q:q + 3] * w).sum() for q in range(4)] for p in range(4)], atol=1e-13)
