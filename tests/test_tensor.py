"""The tape: what is recorded, what is freed, what is refused."""

import gc
import weakref

import numpy as np
import pytest

from minivision import Tensor, no_grad, op, ops, to_device, vjp
from minivision.arithmetic import exp
from minivision.tensor import ancestry


def leaf(*values):
    return Tensor(np.array(values, float), requires_grad=True)


def test_chain_rule_by_hand():
    """z = (x·y + x)², x = 3, y = 2: z = 81, dz/dx = 2·9·(y + 1) = 54, dz/dy = 2·9·x = 54 — F14c."""
    x, y = leaf(3.0), leaf(2.0)
    z = (x * y + x) ** 2
    z.backward()
    assert z.item() == 81
    assert x.grad.item() == 54
    assert y.grad.item() == 54


def test_a_diamond_adds_both_paths_and_backward_adds_to_grad():
    x = leaf(1.0, 2.0)
    a = x * 3
    ((a + a * a).sum()).backward()
    np.testing.assert_allclose(x.grad, 3 + 18 * x.data)
    (x * 1).sum().backward()
    np.testing.assert_allclose(x.grad, 4 + 18 * x.data)


def test_arithmetic_with_numbers_and_arrays_on_either_side():
    x, a = leaf(1.0, 2.0, 4.0), np.array([3.0, 5.0, 7.0])
    y = (2 - x) / 4 + a * x - x / a + (1 / x) + (-x) * a + (a - x)
    expected = (2 - x.data) / 4 - x.data / a + 1 / x.data + a - x.data
    np.testing.assert_allclose(y.data, expected)
    m = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose((m @ x.reshape(3, 1)).data, m @ x.data[:, None])


def test_depth_100_000_needs_no_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 0.5
    y.backward()
    assert x.grad.item() == 1
    del y


def test_a_graph_is_freed_by_reference_counting_alone():
    """No op's closure refers to its own output or to a Tensor: with the collector off, nothing but leaves survives."""
    rng = np.random.default_rng(0)
    w = Tensor(rng.standard_normal((4, 2, 3, 3)), requires_grad=True)
    gamma, beta = leaf(*[1.0] * 4), leaf(*[0.0] * 4)
    gc.collect()
    gc.disable()
    try:
        x = ops.relu(ops.batch_norm2d(ops.conv2d(rng.standard_normal((2, 2, 6, 6)), w, padding=1), gamma, beta))
        x = ops.flatten(ops.max_pool2d(ops.concat(x, x), size=2)) * 2
        loss = ops.softmax_cross_entropy(x, np.array([1, 0]))
        loss.backward()
        alive = [weakref.ref(t) for t in ancestry(loss) if t.parents]
        assert len(alive) == 8
        del x, loss
        assert [ref() for ref in alive] == [None] * len(alive)
    finally:
        gc.enable()
    assert w.grad is not None


def test_no_gradient_is_kept_on_intermediates():
    x = leaf(1.0)
    y = x * 2
    (y * 3).sum().backward()
    assert y.grad is None


def test_no_grad_records_nothing_and_ends_with_its_block():
    x = leaf(1.0)
    with no_grad():
        y = x * 2
        with pytest.raises(RuntimeError), no_grad():
            raise RuntimeError
        assert not (x * 2).requires_grad
    assert not y.requires_grad
    assert (x * 2).requires_grad


def test_gradients_that_nobody_wants_are_not_computed():
    called = []

    @op
    def double(x, y):
        return x + y, lambda dz: (lambda: called.append("x") or dz, lambda: called.append("y") or dz)

    x = leaf(1.0)
    double(x, np.array([1.0])).sum().backward()
    assert called == ["x"]


def test_tensors_by_keyword_take_their_place():
    rng = np.random.default_rng(0)
    x, w, b = (Tensor(rng.standard_normal(s), requires_grad=True) for s in ((2, 3), (4, 3), (4,)))
    ops.linear(x, b=b, w=w).sum().backward()
    np.testing.assert_allclose(b.grad, [2, 2, 2, 2])


def test_vjp_of_an_op_a_plain_function_and_a_tensor_function():
    x = np.array([0.5, 1.0])

    def plain(x):
        return x * x, lambda dy: (2 * x * dy,)

    for f in (plain, lambda t: t * t, op(plain)):
        y, backward = vjp(f, x)
        np.testing.assert_allclose(y, x * x)
        np.testing.assert_allclose(backward(np.array([1.0, 3.0]))[0], 2 * x * [1, 3])
    assert vjp(exp, x)[1](x)[0].shape == (2,)
    unused = vjp(lambda a, b: a * 2, x, x)[1](x)
    np.testing.assert_array_equal(unused[1], 0)


@pytest.mark.parametrize("make, words", [
    (lambda: Tensor(np.arange(3), requires_grad=True), "only float arrays have gradients"),
    (lambda: Tensor(["a"]), "holds numbers"),
    (lambda: Tensor(Tensor([1.0])), "already"),
    (lambda: (leaf(1.0, 2.0) * 2).backward(), "single number"),
    (lambda: (leaf(1.0, 2.0) * 2).backward(np.ones(3)), r"dy has shape \(3,\)"),
    (lambda: Tensor([1.0]).backward(), "nothing here requires a gradient"),
    (lambda: ops.softmax(leaf(1.0), axis=leaf(1.0)), "option axis is a Tensor"),
    (lambda: leaf(1.0) @ leaf(1.0), "matmul takes matrices"),
    (lambda: vjp(lambda x: 3, np.ones(2)), r"expected \(y, backward\) or a Tensor"),
    (lambda: to_device(np.ones(2), "tpu"), "expected 'cpu' or 'gpu'"),
])
def test_misuse_is_told_in_one_sentence(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_backward_of_the_wrong_shape_names_its_op():
    @op
    def broken(x):
        return x * 2, lambda dy: (dy[:1],)

    @op
    def forgetful(x):
        return x * 2, lambda dy: (None,)

    with pytest.raises(ValueError, match=r"broken: backward returned \(1,\) for an argument of shape \(2,\)"):
        broken(leaf(1.0, 2.0)).sum().backward()
    with pytest.raises(ValueError, match="forgetful: backward returned None"):
        forgetful(leaf(1.0, 2.0)).sum().backward()


def test_a_tensor_is_not_an_array():
    with pytest.raises(TypeError, match="take its .data"):
        np.asarray(leaf(1.0))
    assert "made by multiply" in repr(leaf(1.0) * 2)
    assert len(leaf(1.0, 2.0)) == 2


def test_a_slope_of_another_shape_is_refused(rng):
    """Compiled loops would read behind its end."""
    x = rng.standard_normal((2, 3, 4, 4))
    with pytest.raises(ValueError, match=r"batch_norm2d: dy has shape \(1, 3, 1, 1\), the value \(2, 3, 4, 4\)"):
        vjp(ops.batch_norm2d, x, np.ones(3), np.ones(3))[1](np.ones((1, 3, 1, 1)))
