"""Mistakes that people make, put into the library one at a time: each must be caught.

Every entry replaces a piece of the source, which must be there exactly once, and runs the table's gradient checks, its
formulas and the kernel comparisons on the mutant. A mutant that survives fails this test.
"""

import importlib
import importlib.util
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

import minivision
from minivision.gradcheck import GradientError, check
from minivision.kernels import Kernel, Window, specification
from minivision.kernels import activation as activation_kernels
from minivision.kernels import convolution as kernels
from minivision.kernels import normalization as normalization_kernels
from minivision.kernels import pooling as pooling_kernels
from minivision.tensor import Tensor
from tests.cases import CASES

HOME = Path(minivision.__file__).parent

MUTATIONS = {
    "cross-entropy: the gradient misses its 1/N":
        ("ops/loss.py", "slope * (dloss / n)", "slope * dloss"),
    "cross-entropy: smoothing is left out of the gradient":
        ("kernels/loss.py", "weight * e / total - target", "weight * e / total - (target == target.max(axis=1, keepdims=True))"),
    "softmax: the gradient forgets what the outputs have in common":
        ("ops/activation.py", "y * (dy - (dy * y).sum(axis=axis, keepdims=True))", "y * (1 - y) * dy"),
    "convolution: the weight gradient is flipped":
        ("ops/convolution.py", "return (lambda: kernels.correlate_input_gradient(dy, w, window, groups),\n                lambda: kernels.correlate_weight_gradient(dy, x, window, groups)",
         "return (lambda: kernels.correlate_input_gradient(dy, w, window, groups),\n                lambda: kernels.correlate_weight_gradient(dy, x, window, groups)[..., ::-1, ::-1]"),
    "convolution: the bias gradient forgets the batch":
        ("ops/convolution.py", "None if b is None else dy.sum(axis=(0, 2, 3))", "None if b is None else dy[0].sum(axis=(1, 2))"),
    "convolution: the taps of the input gradient ignore the stride":
        ("kernels/convolution.py", "dx[window.seen_by(k, l)] += (filters", "dx[..., k:k + window.P, l:l + window.Q] += (filters"),
    "convolution: the groups of the input gradient are mixed up":
        ("kernels/convolution.py", "filters[..., k, l].swapaxes(-1, -2) @ dy", "filters[::-1, ..., k, l].swapaxes(-1, -2) @ dy"),
    "pooling: every tap before the winner is paid as well":
        ("kernels/pooling.py", "dx[window.seen_by(k, l)] += dy * (winner == k * window.L + l)", "dx[window.seen_by(k, l)] += dy * (winner >= k * window.L + l)"),
    "pooling: overlapping windows overwrite each other":
        ("kernels/pooling.py", "dx[window.seen_by(k, l)] += dy\n", "dx[window.seen_by(k, l)] = dy\n"),
    "pooling: padding is counted in the mean's gradient":
        ("ops/pooling.py", "kernels.sum_pool_gradient(dy / m, window)", "kernels.sum_pool_gradient(dy / (window.K * window.L), window)"),
    "batch norm: mean and variance are taken for constants":
        ("kernels/normalization.py", "* (dy - spread(dbeta / m) - x_hat * spread(dgamma / m))", "* dy"),
    "batch norm and ReLU: what was cut off flows back":
        ("kernels/normalization.py", "dz = activation.relu_gradient(dy, y)", "dz = dy"),
    "convolution and ReLU: what was cut off flows back":
        ("ops/convolution.py", "dz = activation.relu_gradient(dy, y)", "dz = dy"),
    "convolution, pooling and ReLU: a window that was cut off adds to the bias gradient":
        ("ops/convolution.py", "dy * (winner < 4)", "dy"),
    "class loss: the sum is not divided in the gradient":
        ("ops/detector_loss.py", "dscores[asked] = slope * (dloss / divisor)", "dscores[asked] = slope * dloss"),
    "class loss: rows that are not asked learn as well":
        ("ops/detector_loss.py", "dscores = xp.zeros_like(scores)", "dscores = stable_sigmoid(scores)"),
    "objectness: the weights are left out of the gradient":
        ("ops/detector_loss.py", "slope = weight * (stable_sigmoid(scores) - target)", "slope = stable_sigmoid(scores) - target"),
    "box loss: background rows learn offsets":
        ("ops/detector_loss.py", "xp.clip(d / beta, -1, 1) * (dloss", "xp.clip((offsets - target) / beta, -1, 1) * (dloss"),
    "box loss: the slope beyond beta grows on":
        ("ops/detector_loss.py", "xp.clip(d / beta, -1, 1) * (dloss / divisor)", "d / beta * (dloss / divisor)"),
    "squared loss: the 2 is forgotten":
        ("ops/detector_loss.py", "slope * (2 * dloss / divisor)", "slope * (dloss / divisor)"),
    "L2 norm: the length is taken for a constant":
        ("ops/normalization.py", "(dx_hat - x_hat * (dx_hat * x_hat).sum(axis=1, keepdims=True)) / length", "dx_hat / length"),
    "RoI Align: the gradient forgets which map":
        ("kernels/roi.py", "xp.add.at(dx, image, A", "xp.add.at(dx, image * 0, A"),
    "RoI pooling: a shared winner is paid once":
        ("kernels/roi.py", "xp.add.at(dx, (image[:, None, None, None], xp.arange(C)[:, None, None], winner), dy)",
         "dx[image[:, None, None, None], xp.arange(C)[:, None, None], winner] = dy"),
    "bilinear: the axes change places backwards":
        ("kernels/resample.py", "return A.T @ dy @ B", "return (B.T @ dy.swapaxes(-1, -2) @ A).reshape(*dy.shape[:2], *image)"),
    "instance norm: the correlation with x̂ is added instead of taken away":
        ("ops/normalization.py", "- x_hat * (dx_hat * x_hat).mean", "+ x_hat * (dx_hat * x_hat).mean"),
    "dropout: the gradient is not scaled":
        ("ops/dropout.py", "(dy * scale,)", "(dy * (scale > 0),)"),
    "sigmoid: 1 − y² instead of y·(1 − y)":
        ("ops/activation.py", "(dy * y * (1 - y),)", "(dy * (1 - y * y),)"),
    "leaky ReLU: the slope is forgotten backwards":
        ("ops/activation.py", "kernels.bend_gradient(dy, y, slope, inf)", "kernels.bend_gradient(dy, y, 0, inf)"),
    "smooth L1: the linear part grows":
        ("ops/loss.py", "xp.clip(d / beta, -1, 1)", "d / beta"),
    "linear: dw is transposed onto the wrong axis":
        ("ops/linear.py", "product(dy.T, x),", "product(x.T, dy).reshape(w.shape),"),
    "concat: the slices go back in the wrong order":
        ("ops/shape.py", "cuts = np.cumsum([x.shape[axis] for x in xs])", "cuts = np.cumsum([x.shape[axis] for x in xs[::-1]])"),
    "broadcasting: a stretched axis is not summed":
        ("arithmetic.py", "dz.sum(axis=stretched, keepdims=True)", "dz.mean(axis=stretched, keepdims=True)"),
    "indexing: an entry taken twice gets one gradient":
        ("arithmetic.py", "xp.add.at(dx, index, dy)", "dx[index] = dy"),
    "maximum: a tie is counted twice":
        ("arithmetic.py", "spread(dy, x, axis, keepdims) * largest / largest.sum(axis=axis, keepdims=True, dtype=x.dtype)", "spread(dy, x, axis, keepdims) * largest"),
    "upsampling: the mean instead of the sum":
        ("ops/resample.py", ".sum(axis=(3, 5))", ".mean(axis=(3, 5))"),
}


def mutant(file, old, new):
    """The module of `file` with one piece replaced, loaded beside the real one.

    arithmetic.py attaches its ops to Tensor when it is loaded; the real ones come back, or every later test would run on the mutant.
    """
    source = (HOME / file).read_text(encoding="utf-8")
    assert source.count(old) == 1, f"{file} has {source.count(old)} × {old!r}"
    name = "minivision." + file[:-3].replace("/", ".")
    spec = importlib.util.spec_from_file_location(name, HOME / file)
    module, attached = importlib.util.module_from_spec(spec), dict(vars(Tensor))
    try:
        exec(compile(source.replace(old, new), f"mutant of {file}", "exec"), module.__dict__)
    finally:
        for attribute in [name for name, value in vars(Tensor).items() if value is not attached.get(name)]:
            setattr(Tensor, attribute, attached[attribute])
    return module


def test_a_mutant_leaves_the_real_tensor_alone():
    before = dict(vars(Tensor))
    mutant("arithmetic.py", "xp.add.at(dx, index, dy)", "dx[index] = dy")
    assert dict(vars(Tensor)) == before


def survives(module, rng):
    """Run the table's checks on the ops of a mutated module; True if none notices."""
    for case in CASES:
        f = vars(module).get(case.op.__name__)
        if getattr(f, "is_op", False) and case.op.__module__ == module.__name__:
            options = deepcopy(case.options)
            try:
                check(f, *case.arrays(rng), rng=options.pop("rng", None), **options)
            except GradientError:
                return False
    return pays_once(vars(module).get("reduce_max"), {"axis": 1}) and pays_once(vars(module).get("max_pool2d"), {"size": 2})


def pays_once(f, options):
    """With ties everywhere, the gradient handed down sums to the one that came in (a check by differences skips ties)."""
    if f is None:
        return True
    x = np.random.default_rng(0).integers(0, 2, (2, 3, 4, 4)).astype(float)
    y, backward = minivision.vjp(f, x, **options)
    return np.isclose(backward(np.ones_like(y))[0].sum(), y.size)


@pytest.mark.parametrize("mistake", [m for m in MUTATIONS if not MUTATIONS[m][0].startswith("kernels")])
def test_a_broken_backward_is_caught(mistake, rng):
    file, old, new = MUTATIONS[mistake]
    assert survives(mutant(file, old, old), rng), "the unchanged module must pass"
    assert not survives(mutant(file, old, new), rng)


@pytest.mark.parametrize("mistake", [m for m in MUTATIONS if MUTATIONS[m][0].startswith("kernels")])
def test_a_broken_specification_is_caught(mistake, rng, monkeypatch):
    """The gradient check of the ops that use it fails, and it no longer agrees with the fast version."""
    file, old, new = MUTATIONS[mistake]
    broken = mutant(file, old, new)
    real = importlib.import_module("minivision." + file[:-3].replace("/", "."))
    for name, kernel in vars(real).items():
        if isinstance(kernel, Kernel):
            monkeypatch.setattr(kernel, "specification", vars(broken)[name].specification)
    with specification(), pytest.raises(GradientError):
        for case in (c for c in CASES if c.op.__module__ == f"minivision.ops.{file[8:-3]}"):
            check(case.op, *case.arrays(rng), **deepcopy(case.options))


FAST = {
    "fast convolution: a block of filters is written to the channel of its first":
        ("convolution", "write_rows(strip[f], width, b[o + f], y[image + n, first + o + f]", "write_rows(strip[f], width, b[o + f], y[image + n, first + o]"),
    "fast convolution: the input gradient ignores the stride":
        ("convolution", "(at - starts[k]) // step for k", "at - starts[k] for k"),
    "fast convolution: the weight gradient keeps the last share of the film only":
        ("convolution", "dw = sum(split(len(bands), ", "dw = (lambda parts: parts[-1])(split(len(bands), "),
    "fast pooling: the lower two of four pixels change places":
        ("pooling", "lower[2 * q], lower[2 * q + 1])", "lower[2 * q + 1], lower[2 * q])"),
    "fast pooling: windows that share a winner overwrite each other":
        ("pooling", "+= dy[m, p, q]", "= dy[m, p, q]"),
    "fast ReLU: the gradient passes where the output is zero":
        ("activation", "if y[i] > zero else zero", "if y[i] >= zero else zero"),
    "fast batch norm: the sums of squares are taken about zero":
        ("normalization", "d = x[i] - centre\n        total", "d = x[i]\n        total"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", FAST)
def test_a_broken_fast_kernel_is_caught(mistake, rng):
    """Compiled anew, each mutant disagrees with its specification."""
    name, old, new = FAST[mistake]
    topic = importlib.import_module(f"minivision.kernels.{name}")
    originals = {k: k.version("cpu") for k in vars(topic).values() if isinstance(k, Kernel)}
    source = (HOME / "kernels" / "cpu" / f"{name}.py").read_text(encoding="utf-8")
    source = source.replace("from minivision.kernels.cpu.compiled import compiled", "from numba import njit as compiled")
    assert source.count(old) == 1
    try:
        for text, survives in ((source, True), (source.replace(old, new), False)):
            exec(compile(text, f"mutant of cpu/{name}.py", "exec"), {"__name__": "mutant"})
            assert all_agree(name, rng) == survives
    finally:
        for kernel, fast in originals.items():
            kernel.fast["cpu"] = fast


def all_agree(name, rng):
    """Fast and plain versions of a topic on a few awkward shapes."""
    def same(kernel, *args):
        fast = kernel(*args)
        with specification():
            slow = kernel(*args)
        return all(np.allclose(a, b) for a, b in zip(fast, slow)) if isinstance(fast, tuple) else np.allclose(fast, slow)

    if name == "activation":
        x = rng.integers(-1, 2, 50).astype(float)
        return same(activation_kernels.relu, x) and same(activation_kernels.relu_gradient, x + 0.5, np.maximum(x, 0))
    if name == "normalization":
        x, gamma = rng.standard_normal((3, 4, 5, 6)) + 2, rng.standard_normal(4)
        return same(normalization_kernels.batch_norm, x, gamma, gamma, 0.1)
    agreed, N = True, 1000 if name == "convolution" else 8          # enough of them to be shared out among threads
    for size, stride, padding, dilation in ((2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 1)) + (((2, 1, 1, 2),) if name == "convolution" else ()):
        window = Window.of((6, 7), size, stride, padding, dilation)
        x, dy = rng.standard_normal((N, 2, 6, 7)), rng.standard_normal((N, 9, window.P, window.Q))
        if name == "convolution":
            w = rng.standard_normal((9, 2, size, size))
            agreed &= same(kernels.correlate, x, w, None, window) and same(kernels.correlate_weight_gradient, dy, x, window)
            agreed &= same(kernels.correlate_input_gradient, dy, w, window)
        else:
            _, winner = pooling_kernels.max_pool(x, window)
            agreed &= same(pooling_kernels.max_pool, x, window) and same(pooling_kernels.max_pool_gradient, dy[:, :2], winner, window)
    return bool(agreed)


def test_the_ties_convention_is_pinned():
    """Of equal pixels the first in reading order receives the whole gradient (E23)."""
    from minivision import ops, vjp
    x = np.array([[[[1.0, 2.0], [2.0, 2.0]]]])
    _, backward = vjp(ops.max_pool2d, x, size=2)
    np.testing.assert_array_equal(backward(np.full((1, 1, 1, 1), 5.0))[0], [[[[0, 5], [0, 0]]]])
