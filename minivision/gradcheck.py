"""The gradient check: is this backward pass the derivative of that forward pass? (反向传播 checked, F14c)

    check(ops.conv2d, x, w, b, stride=2)          an op
    check(my_function, x)                         a function that returns (y, backward), or one from Tensors to a Tensor
    check(layer, x)                               a layer: its input and all its parameters

Two questions are asked, both in float64, both with a random cotangent u (with u all ones, a softmax backward multiplied
by 37 passes, since it is zero there):

    entry by entry      (⟨u, f(x + h·e_i)⟩ − ⟨u, f(x − h·e_i)⟩) / 2h  =  (Jᵀu)_i      (and again at 2h: error O(h⁴))
    along a direction   ⟨u, J·v⟩ = ⟨Jᵀu, v⟩   for a random v over all arguments at once

Where f has a kink within h of x (a ReLU at 0, a change of winner in a pooling window) its slopes from the left and
from the right differ, and no number is *the* derivative: such a probe is recognised by its two slopes, skipped, counted.
"""

import inspect
from copy import deepcopy
from dataclasses import dataclass
from math import isnan

import numpy as np

from minivision.backend import as_rng
from minivision.tensor import Tensor, vjp

__all__ = ["check", "numerical_gradient", "GradientError", "Report"]

STEP = 1e-4         # truncation h⁴·f⁽⁵⁾/30 and rounding 1e-16·|f|/h are both about 1e-12 here
TOLERANCE = 1e-6    # relative
KINK = 1e-6         # jump in slope, relative to the sizes summed, above which a probe is not compared


class GradientError(AssertionError):
    """The backward pass is not the derivative of the forward pass."""


@dataclass
class Report:
    """What a check found.

    error         the worst relative difference, at the entry `worst`
    checked       entries compared; `skipped` at a kink
    directional   |⟨u, J·v⟩ − ⟨Jᵀu, v⟩|, relative; NaN where no direction without a kink was found
    constants     float arguments for which the backward returns None: declared not differentiated, and not checked
    """

    name: str
    error: float
    worst: str
    checked: int
    skipped: int
    directional: float
    constants: tuple

    def __str__(self):
        kinks = f", {self.skipped} at a kink skipped" if self.skipped else ""
        direction = "kinks everywhere, not compared" if isnan(self.directional) else f"{self.directional:.1e}"
        constants = f"; not differentiated: {', '.join(self.constants)}" if self.constants else ""
        return (f"{self.name}: {self.checked} entries checked{kinks}; worst relative error {self.error:.1e} "
                f"at {self.worst}; along a direction {direction}{constants}")

    __repr__ = __str__


def check(f, *arrays, rng=None, **options):
    """Compare f's backward with differences of its forward; return a Report or raise GradientError.

    arrays: float arrays are differentiated (as float64), all others (labels, None) are passed on. At most 200 entries
    of each are probed, drawn with `rng` (a Generator or a seed, default 0). options: f's own; a random f, such as
    dropout, gets `rng` too, in the same state at every evaluation.
    Also refused: a backward that returns the wrong shape or a number that is not finite, that writes into its inputs,
    and an f all of whose probes lie at kinks, so that nothing was checked.
    """
    if rng is not None and takes_rng(f):
        options["rng"] = as_rng(rng)
    rng = deepcopy(as_rng(0 if rng is None else rng))
    name = getattr(f, "__name__", type(f).__name__)
    arrays = [np.array(x, np.float64) if is_float(x) else x for x in arrays]
    labels = [f"argument {i}" for i in range(len(arrays))]
    if hasattr(f, "named_parameters"):
        parameters = dict(f.named_parameters())
        f, labels = layer_as_function(f, len(arrays)), labels + list(parameters)
        arrays += [np.array(p.data, np.float64) for p in parameters.values()]

    def evaluate(*inputs):
        return vjp(f, *inputs, **deepcopy(options))     # a Generator among the options starts afresh every time

    before = deepcopy(arrays)
    y, backward = evaluate(*arrays)
    y = np.array(y, copy=True)
    u = rng.standard_normal(y.shape)
    gradients = backward(u.copy())
    for label, x, x_before in zip(labels, arrays, before):
        if is_float(x) and not np.array_equal(x, x_before, equal_nan=True):
            raise GradientError(f"{name} wrote into {label}; forward and backward must leave their inputs alone")
    floats = [i for i, x in enumerate(arrays) if is_float(x)]
    wanted = [i for i in floats if gradients[i] is not None]
    if not wanted:
        raise GradientError(f"{name}: no gradient was returned for any float argument, nothing was checked")

    checked = skipped = 0
    error, worst = 0.0, "no entry"
    noise = max(1.0, float(np.abs(y).max(initial=0)))
    v = {i: rng.standard_normal(arrays[i].shape) for i in wanted}
    for i in wanted:
        dx = gradients[i]
        validate(name, labels[i], arrays[i], dx)
        chosen = [np.unravel_index(j, dx.shape) for j in rng.permutation(dx.size)[:200]]
        probes = [probe(evaluate, arrays, i, at, u, y) for at in chosen]
        scale = max([abs(slope) for slope, _ in probes] + [float(np.abs(dx).max(initial=0))])
        for at, (slope, kink) in zip(chosen, probes):
            if kink:
                skipped += 1
                v[i][at] = 0
                continue
            checked += 1
            e = relative(dx[at], slope, scale, noise)
            if e >= error:
                error, worst = e, f"{labels[i]}[{', '.join(str(int(a)) for a in at)}]"
            if e > TOLERANCE:
                raise GradientError(f"{name}: at {worst} the backward says {dx[at]:.9g}, the central difference "
                                    f"{slope:.9g} (relative error {e:.1e}; tolerance {TOLERANCE:.0e})")
    if skipped and not checked:
        raise GradientError(f"{name}: all {skipped} probes lie at kinks, nothing was checked; try other inputs")
    directional = along_a_direction(evaluate, arrays, v, gradients, u, y, noise)
    if directional > TOLERANCE:
        raise GradientError(f"{name}: ⟨u, J·v⟩ and ⟨Jᵀu, v⟩ differ by {directional:.1e} (relative) along a random "
                            f"direction; tolerance {TOLERANCE:.0e}")
    constants = tuple(labels[i] for i in floats if gradients[i] is None)
    return Report(name, error, worst, checked, skipped, directional, constants)


def probe(evaluate, arrays, i, at, u, y, step=STEP):
    """Slope of ⟨u, f⟩ along one entry, and whether f has a kink there.

    With r_h, l_h the slopes over a step h to the right and to the left, a smooth f has r_h − l_h = h·f″ + O(h³), which
    doubles with h; a kink adds a jump that does not. (r + l)/2 at h and 2h together give the slope to O(h⁴).
    """
    x = arrays[i]
    here = x[at]

    def slope(h):
        # The outputs are subtracted before they are summed: those that do not move contribute exactly 0, no rounding.
        x[at] = here + h
        change = (evaluate(*arrays)[0] - y) / h
        x[at] = here
        return float((u * change).sum()), float(np.abs(u * change).sum())

    (right, size), (left, _), (right2, _), (left2, _) = slope(step), slope(-step), slope(2 * step), slope(-2 * step)
    noise = max(1.0, float(np.abs(y).max(initial=0)))
    kink = abs((right2 - left2) - 2 * (right - left)) > KINK * size + 1e-9 * noise
    return (4 * (right + left) - (right2 + left2)) / 6, kink


def along_a_direction(evaluate, arrays, v, gradients, u, y, noise):
    """|⟨u, J·v⟩ − ⟨Jᵀu, v⟩|, relative, v = {argument: direction}. A step that crosses a kink is tried again, smaller and
    with half of the entries at rest; NaN if that does not help (nearly every entry lies at a kink)."""
    rng = np.random.default_rng(1)

    def slope(v, h):
        change = (evaluate(*[x + h * v[i] if i in v else x for i, x in enumerate(arrays)])[0] - y) / h
        return float((u * change).sum()), float(np.abs(u * change).sum())

    for attempt in range(6):
        h = STEP / 10 / 4 ** attempt
        (right, size), (left, _), (right2, _), (left2, _) = (slope(v, s * h) for s in (1, -1, 2, -2))
        expected = sum(float((gradients[i] * v[i]).sum()) for i in v)
        error = relative(expected, (right + left) / 2, max(size, abs(expected)), noise)
        smooth = abs((right2 - left2) - 2 * (right - left)) <= 10 * KINK * size + 1e-7 * noise
        if error <= TOLERANCE or smooth:
            return error
        v = {i: direction * (rng.random(direction.shape) < 0.5) for i, direction in v.items()}
    return np.nan


def validate(name, label, x, dx):
    """A gradient has the shape of its argument and only finite numbers."""
    if np.shape(dx) != x.shape:
        raise GradientError(f"{name}: the gradient of {label} has shape {np.shape(dx)}, the argument {x.shape}")
    if not np.isfinite(dx).all():
        at = tuple(int(a) for a in np.argwhere(~np.isfinite(dx))[0])
        raise GradientError(f"{name}: the gradient of {label} is {dx[at]} at {at}")


def relative(a, b, scale, noise):
    """|a − b| over the larger of the two; an entry that is tiny beside the array's largest (`scale`), or beside the
    rounding of f (`noise`: its largest value), is measured against a fraction of those instead. NaN counts as wrong."""
    difference = abs(a - b) / max(abs(a), abs(b), 1e-2 * scale, 1e-3 * noise)
    return float(difference) if np.isfinite(difference) else np.inf


def is_float(x):
    return getattr(x, "dtype", np.dtype("O")).kind == "f"


def takes_rng(f):
    try:
        return "rng" in inspect.signature(f).parameters
    except ValueError:              # some built-in functions have no signature
        return False


def layer_as_function(layer, n):
    """A layer as a function of n inputs and then its parameters' values, which leaves the layer itself untouched."""
    def f(*values, **options):
        own = deepcopy(layer)       # running averages and random generators of the copy move, not the layer's
        inputs = [Tensor(x, requires_grad=True) if is_float(x) else x for x in values[:n]]
        for p, value in zip(own.parameters(), values[n:]):
            p.data = value
        y = own(*inputs, **options)
        leaves = [*inputs, *own.parameters()]

        def backward(dy):
            y.backward(dy)
            return tuple(x.grad if isinstance(x, Tensor) else None for x in leaves)

        return y.data, backward

    return f


def numerical_gradient(f, *arrays, dy, **options):
    """Central differences of ⟨dy, f⟩ by every entry of every float array: what `check` compares with, in full.

    Two evaluations of f an entry: for small arrays only. Returns one array per argument, None for those not float.
    """
    arrays = [np.array(x, np.float64) if is_float(x) else x for x in arrays]
    evaluate = lambda *inputs: vjp(f, *inputs, **deepcopy(options))
    y = np.array(evaluate(*arrays)[0], copy=True)
    return tuple(np.array([probe(evaluate, arrays, i, at, dy, y)[0] for at in np.ndindex(x.shape)]).reshape(x.shape)
                 if is_float(x) else None for i, x in enumerate(arrays))
