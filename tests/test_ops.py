"""Every op of the table: gradient, formula, dtype, inputs left alone, awkward memory layouts, GPU."""

import importlib
import pkgutil
from copy import deepcopy

import numpy as np
import pytest

import minivision.ops
from minivision import arithmetic
from minivision.gradcheck import check
from minivision.kernels import specification
from minivision.tensor import Tensor, vjp
from tests.cases import CASES

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def run(case, arrays):
    return vjp(case.op, *arrays, **deepcopy(case.options))


def test_every_op_is_in_the_table():
    modules = [arithmetic] + [importlib.import_module(f"minivision.ops.{m.name}")
                              for m in pkgutil.iter_modules(minivision.ops.__path__)]
    ops = {f for m in modules for f in vars(m).values() if getattr(f, "is_op", False)}
    assert len(ops) >= 33
    assert ops == {case.op for case in CASES}


@every_case
def test_gradient(case, rng):
    options = deepcopy(case.options)
    report = check(case.op, *case.arrays(rng), rng=options.pop("rng", None), **options)
    assert report.checked > 0
    assert report.skipped == 0          # random numbers lie at no kink
    assert report.error <= 1e-6
    assert report.directional <= 1e-6


@every_case
def test_gradient_of_the_specification(case, rng):
    with specification():
        test_gradient(case, rng)


@every_case
def test_value_is_the_formula(case, rng):
    arrays = case.arrays(rng)
    y, _ = run(case, arrays)
    expected = case.formula(*[x for x in arrays if x is not None], **deepcopy(case.options))
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
    assert np.shape(y) == np.shape(expected)


@every_case
def test_float32_stays_float32_and_is_near(case, rng):
    arrays = case.arrays(rng)
    singles = [x.astype(np.float32) if getattr(x, "dtype", None) == np.float64 else x for x in arrays]
    y, backward = run(case, singles)
    exact, exact_backward = run(case, arrays)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, exact, rtol=2e-4, atol=2e-5)
    dy = rng.standard_normal(np.shape(y))
    for x, dx, exact_dx in zip(singles, backward(np.asarray(dy, np.float32)), exact_backward(dy)):
        if dx is not None:
            assert dx.dtype == np.float32
            assert dx.shape == x.shape
            np.testing.assert_allclose(dx, exact_dx, rtol=2e-3, atol=2e-4)


@every_case
def test_inputs_are_left_alone_and_strides_do_not_matter(case, rng):
    arrays = case.arrays(rng)
    before = deepcopy(arrays)
    y, backward = run(case, arrays)
    dy = rng.standard_normal(np.shape(y))
    gradients = backward(dy.copy())

    def strided(x):         # the same numbers, every second element of a wider, reversed buffer
        if getattr(x, "ndim", 0) == 0 or x.dtype.kind != "f":
            return x
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::-2]
        wide[...] = x
        return wide

    y2, backward2 = run(case, [strided(x) for x in arrays])
    np.testing.assert_allclose(y2, y, rtol=1e-12, atol=1e-14)
    for dx, dx2 in zip(gradients, backward2(strided(dy))):
        if dx is not None:
            np.testing.assert_allclose(dx2, dx, rtol=1e-10, atol=1e-13)
    for x, x_before in zip(arrays, before):
        if x is not None:
            np.testing.assert_array_equal(x, x_before)


@every_case
def test_a_gradient_that_nobody_wants_is_not_computed(case, rng):
    """Only the first argument is a leaf: the tape must give it the same gradient as if all were."""
    arrays = case.arrays(rng)
    leaf = Tensor(arrays[0], requires_grad=True)
    y = case.op(leaf, *arrays[1:], **deepcopy(case.options))
    dy = rng.standard_normal(y.shape)
    y.backward(dy)
    np.testing.assert_allclose(leaf.grad, run(case, arrays)[1](dy)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.gpu
@every_case
def test_gpu_equals_cpu(case, rng):
    import cupy
    arrays = case.arrays(rng)
    y, backward = run(case, arrays)
    dy = rng.standard_normal(np.shape(y))
    options = {k: cupy.asarray(v) if isinstance(v, np.ndarray) else v for k, v in deepcopy(case.options).items()}
    y_gpu, backward_gpu = vjp(case.op, *[None if x is None else cupy.asarray(x) for x in arrays], **options)
    np.testing.assert_allclose(cupy.asnumpy(y_gpu), y, rtol=1e-9, atol=1e-11)
    for dx, dx_gpu in zip(backward(dy), backward_gpu(cupy.asarray(dy))):
        if dx is not None:
            np.testing.assert_allclose(cupy.asnumpy(dx_gpu), dx, rtol=1e-9, atol=1e-11)
