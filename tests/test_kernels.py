"""Every fast kernel equals its specification over random shapes, its CUDA version in the emulator; linear ones also by
adjointness ⟨A x, y⟩ = ⟨x, Aᵀ y⟩."""

import importlib
import os
import pkgutil
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minivision.kernels
from minivision.kernels import (
    Kernel,
    Window,
    activation,
    convolution,
    emulated_gpu,
    linear,
    loss,
    nms,
    normalization,
    overlap,
    pairing,
    pooling,
    resample,
    roi,
    specification,
    update,
)
from minivision.kernels.cpu.threads import split

TESTED = {convolution.correlate, convolution.correlate_weight_gradient, convolution.correlate_input_gradient,
          convolution.correlate_relu, convolution.correlate_pool_relu,
          normalization.normalize, normalization.normalize_relu, normalization.batch_norm, normalization.batch_norm_relu,
          normalization.batch_norm_gradient, normalization.batch_norm_relu_gradient,
          roi.roi_align, roi.roi_align_gradient, roi.roi_pool, roi.roi_pool_gradient, nms.survivors, overlap.iou_matrix, pairing.pair,
          pooling.max_pool, pooling.max_pool_gradient, pooling.sum_pool, pooling.sum_pool_gradient,
          activation.relu, activation.relu_gradient, activation.bend, activation.bend_gradient, linear.product, update.sgd, update.adam, loss.cross_entropy_rows,
          resample.upsample_bilinear, resample.upsample_bilinear_gradient}


def test_every_kernel_is_tested_here():
    modules = [importlib.import_module(f"minivision.kernels.{m.name}") for m in pkgutil.iter_modules(minivision.kernels.__path__)
               if not m.ispkg]
    assert {k for m in modules for k in vars(m).values() if isinstance(k, Kernel)} == TESTED


def test_fast_versions_exist_and_are_what_is_called():
    slow = {k.__name__ for k in TESTED if k.version("cpu") is k.specification}
    assert slow == {"sum_pool", "sum_pool_gradient", "cross_entropy_rows"}          # NumPy's exp uses vectors, Numba's does not
    without_cuda = {k.__name__ for k in TESTED if k.version("gpu") is k.specification}
    # cuBLAS; two kernels one after the other; evaluation runs on the CPU
    assert without_cuda == {"product", "correlate_relu", "correlate_pool_relu", "pair"}


small = st.integers(1, 3)


@st.composite
def convolutions(draw):
    """x, w, b, dy, window, groups of random shapes: odd sizes, stride beyond the window, one pixel, no images."""
    groups, size, stride, dilation = draw(small), (draw(small), draw(small)), (draw(st.integers(1, 4)), draw(small)), (draw(small), draw(small))
    padding = ((draw(st.integers(0, 2)), draw(st.integers(0, 3))), (draw(st.integers(0, 2)), draw(st.integers(0, 3))))
    least = [max(1, d * (k - 1) + 1 - sum(p)) for d, k, p in zip(dilation, size, padding)]
    H, W = (draw(st.integers(low, low + 7)) for low in least)
    N, C, O = draw(st.integers(0, 4)), groups * draw(small), groups * draw(small)
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    window = Window.of((H, W), size, stride, padding, dilation)
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    make = lambda *shape: rng.standard_normal(shape).astype(dtype)
    x = make(N, C, W, H).swapaxes(2, 3) if draw(st.booleans()) else make(N, C, H, W)        # or not contiguous
    return x, make(O, C // groups, *size), make(O), make(N, O, window.P, window.Q), window, groups


def agree(kernel, *args):
    """What the CPU version returns, after comparing it, and the CUDA version in the emulator, with the specification."""
    fast = kernel(*args)
    with specification():
        slow = kernel(*args)
    with emulated_gpu():
        emulated = kernel(*args)
    for found in (fast, emulated):
        for a, b in zip(found, slow, strict=True) if isinstance(found, tuple) else [(found, slow)]:
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-4 if a.dtype == np.float32 else 1e-11, atol=1e-4 if a.dtype == np.float32 else 1e-12)
    return fast


@given(convolutions())
@settings(max_examples=120, deadline=None)
def test_convolution(case):
    x, w, b, dy, window, groups = case
    y = agree(convolution.correlate, x, w, b, window, groups)
    dw = agree(convolution.correlate_weight_gradient, dy, x, window, groups)
    dx = agree(convolution.correlate_input_gradient, dy, w, window, groups)
    if x.dtype == np.float64:
        y = y - b[:, None, None]
        np.testing.assert_allclose((y * dy).sum(), (x * dx).sum(), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose((y * dy).sum(), (w * dw).sum(), rtol=1e-9, atol=1e-9)


@given(convolutions())
@settings(max_examples=60, deadline=None)
def test_convolution_with_an_ending(case):
    x, w, b, _, window, groups = case
    agree(convolution.correlate_relu, x, w, b, window, groups)
    agree(convolution.correlate_relu, 4 * x, w, b, window, groups, 6)
    agree(convolution.correlate_relu, x, w, b, window, groups, 1.5)
    if min(window.P, window.Q) > 1:
        y, winner = agree(convolution.correlate_pool_relu, x, w, b, window, groups)
        assert ((winner == 4) == (y == 0)).all()


@pytest.mark.parametrize("N, C, O, groups, size, stride, padding, dilation", [
    (1, 20, 19, 1, (3, 3), (2, 2), ((1, 1), (0, 2)), (1, 1)), (2, 5, 70, 1, (5, 2), (1, 1), ((2, 0), (1, 1)), (1, 2)),
    (40, 9, 9, 1, (3, 3), (1, 2), ((1, 1), (1, 1)), (1, 1)), (3, 8, 10, 2, (2, 3), (1, 1), ((0, 0), (0, 0)), (2, 1)),
    (1, 130, 150, 1, (3, 3), (3, 3), ((1, 1), (1, 1)), (1, 1))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_convolutions_large_enough_to_be_shared_out(N, C, O, groups, size, stride, padding, dilation, dtype, rng):
    """What the small ones above do in one piece is cut here: bands of rows and of images, blocks of filters, sums of parts."""
    window = Window.of((53, 41), size, stride, padding, dilation)
    make = lambda *shape: rng.standard_normal(shape).astype(dtype)
    x, w, b, dy = make(N, groups * C, 53, 41), make(groups * O, C, *size), make(groups * O), make(N, groups * O, window.P, window.Q)
    six = partial(convolution.correlate_relu, most=6)
    for kernel, args in ((convolution.correlate, (x, w, b)), (convolution.correlate_relu, (x, w, b)), (six, (x, w, b)),
                         (convolution.correlate_input_gradient, (dy, w)), (convolution.correlate_weight_gradient, (dy, x))):
        found = kernel(*args, window, groups)
        with specification():
            expected = kernel(*args, window, groups)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=(1e-6 if dtype == np.float32 else 1e-13) * np.abs(expected).max() * 10)


@st.composite
def poolings(draw):
    size, stride = (draw(small), draw(small)), (draw(st.integers(1, 4)), draw(small))
    padding = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in size)
    H, W = (draw(st.integers(max(1, k - sum(p)), k + 6)) for k, p in zip(size, padding))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    window = Window.of((H, W), size, stride, padding, ceil=draw(st.booleans()))
    x = rng.integers(-2, 3, (draw(st.integers(0, 3)), 2, H, W)).astype(draw(st.sampled_from([np.float64, np.float32])))
    if draw(st.booleans()):
        x[rng.random(x.shape) < 0.2] = np.nan
    if draw(st.booleans()):
        x[rng.random(x.shape) < 0.4] = -np.inf
    return x, rng.standard_normal((len(x), 2, window.P, window.Q)).astype(x.dtype), window


@given(poolings())
@settings(max_examples=150, deadline=None)
def test_pooling(case):
    """Whole numbers −2 … 2 (many ties) and NaN: fast and slow name the same winner."""
    x, dy, window = case
    y, winner = agree(pooling.max_pool, x, window)
    agree(pooling.max_pool_gradient, dy, winner, window)
    x = np.nan_to_num(x, neginf=0)
    y = agree(pooling.sum_pool, x, window)
    dx = agree(pooling.sum_pool_gradient, dy, window)
    np.testing.assert_allclose((y * dy).sum(), (x * dx).sum(), rtol=1e-4, atol=1e-4)


def test_a_window_of_minus_infinity_has_a_pixel_for_its_winner():
    """Padding never wins, not even against −∞: the winner of every window lies in the image."""
    x, window = np.full((1, 1, 4, 4), -np.inf), Window.of((4, 4), 3, stride=2, padding=1)
    y, winner = agree(pooling.max_pool, x, window)
    dx = agree(pooling.max_pool_gradient, np.ones_like(y), winner, window)
    assert dx.sum() == y.size


def test_sums_have_the_same_bits_whoever_else_computes(rng):
    dy, x = (rng.standard_normal((256, 8, 10, 10)).astype(np.float32) for _ in range(2))
    window, found = Window.of((10, 10), 3, padding=1), []
    alone = convolution.correlate_weight_gradient(dy, x, window)
    threads = [threading.Thread(target=lambda: found.extend(convolution.correlate_weight_gradient(dy, x, window) for _ in range(10)))
               for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 30
    assert all(np.array_equal(alone, dw) for dw in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_kernels_work_in_a_forked_process(rng):
    dy, x = (rng.standard_normal((256, 8, 10, 10)) for _ in range(2))
    window = Window.of((10, 10), 3, padding=1)
    convolution.correlate_weight_gradient(dy, x, window)
    child = os.fork()
    if child == 0:
        convolution.correlate_weight_gradient(dy, x, window)
        os._exit(0)
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert status == 0


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (5, 7), (300, 1001)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu(shape, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    if x.size > 4:
        x.flat[:4] = 0, np.nan, np.inf, -np.inf
    y = agree(activation.relu, x)
    agree(activation.relu_gradient, rng.standard_normal(shape).astype(dtype), np.nan_to_num(y))
    for slope, most in ((0.1, np.inf), (0.0, 6.0), (0.5, 0.3)):
        y = agree(activation.bend, x, slope, most)
        agree(activation.bend_gradient, rng.standard_normal(shape).astype(dtype), np.nan_to_num(y), slope, most)
    assert np.isnan(y).sum() == np.isnan(x).sum()


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 7, 2), (4, 70, 30, 31), (0, 3, 2, 2), (2, 0, 3, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalization(shape, dtype, rng):
    make = lambda *shape: (rng.standard_normal(shape) + 3).astype(dtype)
    x, dy, r, gamma, beta = make(*shape).swapaxes(0, 1).copy().swapaxes(0, 1), make(*shape), make(*shape) - 6, make(shape[1]), make(shape[1])
    mean, inverse = make(shape[1]), make(shape[1])
    agree(normalization.normalize, x, mean, inverse, gamma, beta)
    agree(normalization.normalize_relu, x, mean, inverse, gamma, beta)
    agree(normalization.normalize_relu, x, mean, inverse, gamma, beta, r)
    if x.size:
        agree(normalization.batch_norm, x, gamma, beta, 0.1)
        agree(normalization.batch_norm_relu, x, gamma, beta, 0.1)
        y, mean, _, inverse = agree(normalization.batch_norm_relu, x, gamma, beta, 0.1, r)
        agree(normalization.batch_norm_gradient, dy / x.size, x, gamma, mean, inverse)
        agree(normalization.batch_norm_relu_gradient, dy / x.size, y, x, gamma, mean, inverse)
        agree(lambda *args: normalization.batch_norm_relu_gradient(*args, keep=False)[:3], dy / x.size, y, x, gamma, mean, inverse)


@st.composite
def regions(draw):
    """A map, and boxes on it: inside, across its border, beyond it, without an area, none at all."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    N, C, H, W = draw(small), draw(st.sampled_from([1, 3, 70])), draw(st.integers(1, 12)), draw(st.integers(1, 12))
    R, size = draw(st.integers(0, 9)), (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    corner = rng.uniform(-4, 14, (R, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 9, (R, 2)) * (rng.random((R, 1)) < 0.8)], axis=1)
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    return rng.standard_normal((N, C, H, W)).astype(dtype), boxes, rng.integers(0, N, R), size, rng, dtype


@given(regions(), small)
@settings(max_examples=60, deadline=None)
def test_roi_align(case, samples):
    x, boxes, image, size, rng, dtype = case
    y = agree(roi.roi_align, x, boxes, image, size, samples)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dx = agree(roi.roi_align_gradient, dy, boxes, image, x.shape, samples)
    np.testing.assert_allclose((y * dy).sum(), (x * dx).sum(), rtol=1e-3, atol=1e-3)


@given(regions())
@settings(max_examples=60, deadline=None)
def test_roi_pool(case):
    x, boxes, image, size, rng, dtype = case
    x = np.round(x)                                             # many ties
    y, winner = agree(roi.roi_pool, x, np.floor(boxes).astype(int), image, size)
    agree(roi.roi_pool_gradient, rng.standard_normal(y.shape).astype(dtype), winner, image, x.shape)


@pytest.mark.parametrize("R", [0, 1, 50, 400])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_suppression(R, dtype, rng):
    """Boxes on whole numbers: many equal ones, some without area, and thresholds that some pairs meet exactly."""
    corner = rng.integers(0, 12, (R, 2))
    boxes = np.concatenate([corner, corner + rng.integers(0, 8, (R, 2))], axis=1).astype(dtype)
    for threshold in (0.0, 1 / 3, 0.5, 0.99, 1.0):
        with np.errstate(all="ignore"):
            stands = agree(nms.survivors, boxes, threshold)
        assert stands[:1].all()


@pytest.mark.parametrize("R, S", [(0, 3), (3, 0), (1, 1), (7, 33), (260, 301)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_iou_matrix(R, S, dtype, rng):
    """Boxes on whole numbers, some without area: the CPU's is the specification's to the last bit."""
    a, b = ((lambda corner: np.concatenate([corner, corner + rng.integers(0, 8, corner.shape)], axis=1).astype(dtype))(
        rng.integers(0, 12, (n, 2))) for n in (R, S))
    found = agree(overlap.iou_matrix, a, b)
    with specification():
        np.testing.assert_array_equal(found, overlap.iou_matrix(a, b))
    agree(overlap.iou_matrix, np.asfortranarray(a), b[::-1])


@given(st.integers(0, 10 ** 6))
@settings(max_examples=80)
def test_pairing(seed):
    """Few different overlaps, so that equal ones meet; crowds; objects that are ignored in one way of counting and not in another."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 5, (rng.integers(0, 6), 2))                    # objects and detections of each
    first_of = np.concatenate([[0], groups[:, 0].cumsum()])
    G, first = int(first_of[-1]), np.repeat(first_of[:-1], groups[:, 1])
    count = np.repeat(groups[:, 0], groups[:, 1])
    start = np.concatenate([[0], count.cumsum()])
    shared, crowd, ignored = rng.integers(0, 8, start[-1]) / 7, rng.random(G) < 0.3, rng.random((2, G)) < 0.4
    found = agree(pairing.pair, shared, start, first, crowd, ignored | crowd, np.array([0.1, 3 / 7, 0.9]))
    for a, t in np.ndindex(2, 3):
        taken = found[a, t][found[a, t] >= 0]
        once = taken[~crowd[taken]]
        assert len(set(once.tolist())) == len(once)                         # only a crowd is found twice


@pytest.mark.parametrize("shape", [(0, 3, 4), (1, 1, 1), (5, 0, 3), (300, 7, 20), (20, 7, 1000), (129, 64, 128)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_product(shape, dtype, rng):
    M, K, N = shape
    a, b = rng.standard_normal((K, M)).astype(dtype).T, rng.standard_normal((K, N)).astype(dtype)
    agree(linear.product, a, b)
    agree(linear.product, np.ascontiguousarray(a), b[:, ::-1])


def update_agrees(kernel, arrays, options, tolerance):
    """Three parameters of different sizes, one of them a single number; what is written in place is compared."""
    results = []
    for context in (nullcontext, specification, emulated_gpu):
        copies = [None if xs is None else [x.copy() for x in xs] for xs in arrays]
        with context():
            kernel(*copies, *options)
        results.append([x for xs in copies if xs is not None for x in xs])
    for found in (results[0], results[2]):
        for a, b in zip(found, results[1], strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def parameters(rng, dtype, make=None):
    return [(make or rng.standard_normal)(shape).astype(dtype) for shape in ((300, 401), (), (3, 2, 5))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("momentum, nesterov, decay", [(0.0, False, 0.0), (0.9, False, 0.0), (0.9, True, 0.01), (0.5, False, 0.1), (0, False, 0.1)])
def test_sgd(dtype, momentum, nesterov, decay, rng):
    w, g, v = (parameters(rng, dtype) for _ in range(3))
    update_agrees(update.sgd, (w, g, v if momentum else None), (0.1, momentum, nesterov, decay), 1e-5)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("t", [1, 7])
def test_adam(decoupled, t, rng):
    arrays = [parameters(rng, np.float64) for _ in range(3)] + [parameters(rng, np.float64, rng.random)]
    update_agrees(update.adam, arrays, (0.01, 0.9, 0.999, 1e-8, 0.1, decoupled, t), 1e-9)


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (5, 7), (3, 1000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_rows(shape, dtype, rng):
    scores, target = rng.standard_normal(shape).astype(dtype) * 20, rng.random(shape).astype(dtype)
    target[1:2] = 0                                             # a row that is ignored may hold anything
    scores[1:2] = np.inf
    scores[:1, 1:2], target[:1, 1:2] = -np.inf, 0               # and a class may be masked
    with np.errstate(all="ignore"):
        agree(loss.cross_entropy_rows, scores, target)


@pytest.mark.parametrize("image, size", [((3, 4), (7, 9)), ((5, 6), (2, 3)), ((1, 4), (6, 1)), ((4, 4), (4, 4)), ((2, 9), (13, 2))])
@pytest.mark.parametrize("corners", [False, True])
def test_upsampling(image, size, corners, rng):
    x, dy = rng.standard_normal((2, 3, *image)), rng.standard_normal((2, 3, *size))
    y, dx = agree(resample.upsample_bilinear, x, size, corners), agree(resample.upsample_bilinear_gradient, dy, image, corners)
    np.testing.assert_allclose((y * dy).sum(), (x * dx).sum(), rtol=1e-10)


def test_split_covers_everything_once_and_works_from_several_threads():
    def count(n):
        seen = np.zeros(n, int)

        def work(lo, hi):
            seen[lo:hi] += 1
            return hi - lo

        assert sum(split(n, work)) == n
        assert (seen == 1).all()

    threads = [threading.Thread(target=lambda: [count(n) for n in (0, 1, 2, 3, 1000)]) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    with pytest.raises(ZeroDivisionError):
        split(10, lambda lo, hi: 1 / 0)
    count(10)                                   # the pool and the lock survive an error


@pytest.mark.parametrize("options, words", [
    ({"size": 0}, "size is 0"), ({"size": 2.5}, "size is"), ({"size": 2, "stride": 0}, "stride is 0"),
    ({"size": 3, "padding": -1}, "padding is"), ({"size": 7}, "does not fit"), ({"size": (1, 2, 3)}, "size is"),
    ({"size": 3, "dilation": 3}, "does not fit"), ({"size": 1, "padding": (1, 2, 3)}, "padding is"),
])
def test_windows_that_make_no_sense(options, words):
    with pytest.raises(ValueError, match=words):
        Window.of((5, 6), **options)


def test_compiled_loops_are_forgotten_when_any_file_beside_them_changes(tmp_path, monkeypatch):
    """A loop contains what it calls from other files; Numba alone would go on with the old one."""
    from minivision.kernels.cpu import compiled
    monkeypatch.setattr(compiled, "HERE", tmp_path)
    kept = tmp_path / "__pycache__"
    kept.mkdir()
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "b.py").write_text("2")

    def survives():
        (kept / "a.f-1.py311.nbi").touch()
        compiled.forget_stale_kernels()
        return (kept / "a.f-1.py311.nbi").exists()

    assert not survives()               # never seen before
    assert survives()
    (tmp_path / "b.py").write_text("3")
    assert not survives()
    assert survives()


OTHER_PROCESSORS = """
import numpy as np
import minivision.kernels.cpu.vector as vector
vector.VECTOR_BYTES, vector.REGISTERS = {bytes}, {registers}
from minivision.kernels import Window, convolution, exact_convolution, specification
rng = np.random.default_rng(0)
for dtype, tolerance in ((np.float32, 1e-4), (np.float64, 1e-11)):
    for C, O, size, stride, H in ((3, 5, 3, 1, 9), (4, 11, 3, 2, 12), (17, 19, 3, 1, 30)):
        window = Window.of((H, H + 1), size, stride, 1)
        x, w = rng.standard_normal((2, C, H, H + 1)).astype(dtype), rng.standard_normal((O, C, size, size)).astype(dtype)
        dy = rng.standard_normal((2, O, window.P, window.Q)).astype(dtype)
        for kernel, args in ((convolution.correlate, (x, w, None)), (convolution.correlate_input_gradient, (dy, w)),
                             (convolution.correlate_weight_gradient, (dy, x))):
            found = kernel(*args, window)
            with specification():
                expected = kernel(*args, window)
            assert abs(found - expected).max() < tolerance * abs(expected).max(), (kernel.__name__, dtype, C)
print("they agree")
"""


@pytest.mark.slow
@pytest.mark.parametrize("vector_bytes, registers", [(16, 16), (16, 32), (32, 16), (64, 32)])
def test_convolution_with_the_vectors_of_other_processors(vector_bytes, registers, tmp_path):
    """SSE, ARM, AVX and AVX-512: LLVM makes of any vector what the processor has, so all can be tried here."""
    code = OTHER_PROCESSORS.format(bytes=vector_bytes, registers=registers)
    result = subprocess.run([sys.executable, "-c", code], env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True)
    assert "they agree" in result.stdout, result.stderr[-2000:]


def test_arrays_of_two_types_are_computed_in_the_type_of_the_first(rng):
    """As NumPy would: float64 images in a float32 network, and a float64 slope from further up."""
    window = Window.of((9, 9), 3, padding=1)
    x, w, b, dy = (rng.standard_normal(shape) for shape in ((2, 3, 9, 9), (4, 3, 3, 3), (4,), (2, 4, 9, 9)))
    single = [a.astype(np.float32) for a in (x, w, b, dy)]
    for a, c in ((x, single[1]), (single[0], w)):
        y = convolution.correlate(a, c, b, window)
        assert y.dtype == a.dtype
        np.testing.assert_allclose(y, convolution.correlate.specification(x, w, b, window), atol=1e-4)
    for a, c in ((dy, single[0]), (single[3], x)):
        dw = convolution.correlate_weight_gradient(a, c, window)
        assert dw.dtype == c.dtype
        np.testing.assert_allclose(dw, convolution.correlate_weight_gradient.specification(dy, x, window), atol=1e-3)
    dx = convolution.correlate_input_gradient(single[3], w, window)
    np.testing.assert_allclose(dx, convolution.correlate_input_gradient.specification(dy, w, window), atol=1e-4)


def test_roi_align_on_the_border_to_the_last_bit(rng):
    """Corners on whole numbers put points exactly on −1 and n, where a point counts or does not."""
    x, corner = rng.standard_normal((1, 2, 6, 7)), rng.integers(-5, 8, (300, 2))
    boxes = np.concatenate([corner, corner + rng.integers(0, 12, (300, 2))], axis=1).astype(float)
    for size, samples in (((7, 7), 1), ((2, 3), 2), ((3, 3), 3)):
        agree(roi.roi_align, x, boxes, np.zeros(300, int), size, samples)


def test_suppression_of_boxes_on_whole_numbers():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 4]])
    np.testing.assert_array_equal(agree(nms.survivors, boxes, 0.5), [True, False, True])
