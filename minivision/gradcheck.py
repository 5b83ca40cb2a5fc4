"""The gradient check: is this backward pass the derivative of that forward pass? (反向传播 checked, F14c)

    check(ops.conv2d, x, w, b, stride=2)          an op
    check(my_function, x)                         a function that returns (y, backward), or one from Tensors to a Tensor
    check(layer, x)                               a layer: its input and all its parameters

Two questions are asked, both in float64, both with a random cotangent u (with u all ones, a softmax backward multiplied
by 37 passes, since it is zero there):

    entry by entry      (⟨u, f(x + h·e_i)⟩ − ⟨u, f(x − h·e_i)⟩) / 2h  =  (Jᵀu)_i      (and again at 2h: error O(h⁴))
    along a direction   ⟨u, J·v⟩ = ⟨Jᵀu, v⟩   for a random v over all arguments at once

Where f has a kink near x (a ReLU at 0, a change of winner in a pooling window) its slopes from the left and from the
right differ, and no number is *the* derivative. A mismatch that such a jump explains is tried again with smaller steps,
and if it stays, the entry is skipped and counted.
"""

import inspect
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from minivision.backend import as_rng
from minivision.tensor import Tensor, vjp

__all__ = ["check", "numerical_gradient", "GradientError", "Report"]

STEPS = (1e-4, 1e-5, 1e-6)      # at the first, truncation h⁴·f⁽⁵⁾/30 and rounding 1e-16·|f|/h are both about 1e-12
TOLERANCE = 1e-6                # relative
ROUNDING = 30 * 2.2e-16         # a few dozen operations' worth, relative to the largest output that moved


class GradientError(AssertionError):
    """The backward pass is not the derivative of the forward pass."""


@dataclass
class Report:
    """What a check found.

    error         the worst difference, relative to the larger of the two numbers, at the entry `worst`. Entries tiny beside
                  the array's largest are measured against a hundredth of that, and a difference that rounding alone
                  can make counts as 1e-6 at most
    checked       entries compared; `skipped` at a kink
    directional   |⟨u, J·v⟩ − ⟨Jᵀu, v⟩|, relative in the same way
    """

    name: str
    error: float
    worst: str
    checked: int
    skipped: int
    directional: float

    def __str__(self):
        kinks = f", {self.skipped} at a kink skipped" if self.skipped else ""
        return (f"{self.name}: {self.checked} entries checked{kinks}; worst relative error {self.error:.1e} "
                f"at {self.worst}; along a random direction {self.directional:.1e}")

    __repr__ = __str__


def check(f, *arrays, rng=None, constant=(), **options):
    """Compare f's backward with differences of its forward; return a Report or raise GradientError.

    arrays: float arrays are differentiated (as float64), all others (labels, None) are passed on. At most 200 entries
    of each are probed, drawn with `rng` (a Generator or a seed, default 0). options: f's own; a random f, such as
    dropout, gets `rng` too, in the same state at every evaluation.
    constant: positions of float arrays that f declares not differentiated (boxes, say), whose gradient is None.
    Also refused: a gradient that is missing, has the wrong shape or is not finite, a backward that writes into what it
    was given or answers otherwise when asked twice, and an f nine tenths of whose probes lie at kinks.
    """
    if takes_rng(f):
        options["rng"] = as_rng(0 if rng is None else rng)
    rng = deepcopy(as_rng(0 if rng is None else rng))
    name = getattr(f, "__name__", type(f).__name__)
    arrays = [as_double(x) for x in arrays]
    labels = [f"argument {i}" for i in range(len(arrays))]
    if hasattr(f, "named_parameters"):
        parameters = {id(p): (path, p) for path, p in f.named_parameters()}.values()
        f, labels = layer_as_function(f, len(arrays)), labels + [path for path, _ in parameters]
        arrays += [np.array(p.data, np.float64) for _, p in parameters]

    def evaluate(*inputs):
        return vjp(f, *inputs, **deepcopy(options))     # a Generator among the options starts afresh every time

    y, u, gradients = run_once(evaluate, arrays, labels, name, rng)
    wanted = [i for i, x in enumerate(arrays) if is_float(x) and i not in constant]
    for i in wanted:
        validate(name, labels[i], arrays[i], gradients[i])
    if not any(arrays[i].size for i in wanted):
        raise GradientError(f"{name}: no float argument to differentiate, nothing was checked")

    checked = skipped = 0
    error, worst = 0.0, "no entry"
    for i in wanted:
        dx = gradients[i]
        scale = float(np.abs(dx).max(initial=0))
        for j in rng.permutation(dx.size)[:200]:
            at = np.unravel_index(j, dx.shape)
            slope, e, kink = probe(evaluate, arrays, {i: one_hot(dx.shape, at)}, float(dx[at]), scale, u, y)
            if kink:
                skipped += 1
                continue
            checked += 1
            if e >= error:
                error, worst = e, f"{labels[i]}[{', '.join(str(int(a)) for a in at)}]"
            if e > TOLERANCE:
                raise GradientError(f"{name}: at {worst} the backward says {dx[at]:.9g}, the central difference "
                                    f"{slope:.9g} (relative error {e:.1e}; tolerance {TOLERANCE:.0e})")
    if checked < skipped / 9:
        raise GradientError(f"{name}: {skipped} of {checked + skipped} probes lie at kinks, hardly anything was "
                            "checked; try other inputs")
    directional = along_a_direction(evaluate, arrays, wanted, u, y, gradients, rng, name)
    return Report(name, error, worst, checked, skipped, directional)


def run_once(evaluate, arrays, labels, name, rng):
    """Value, cotangent and gradients; what must not be written into is compared before and after."""
    before = deepcopy(arrays)
    y, backward = evaluate(*arrays)
    y_before = np.array(y, copy=True)
    u = np.asarray(rng.standard_normal(y_before.shape))
    given = u.copy()
    first = deepcopy(backward(given))
    for label, now, then in [*zip(labels, arrays, before), ("dy", given, u), ("its own output", y, y_before)]:
        if is_float(now) and not np.array_equal(now, then, equal_nan=True):
            raise GradientError(f"{name} wrote into {label}; forward and backward must leave what they are given alone")
    for label, a, b in zip(labels, first, backward(u.copy())):
        if is_float(a) and not np.array_equal(a, b, equal_nan=True):
            raise GradientError(f"{name}: asked twice, the backward gives two gradients of {label}")
    return y_before, u, first


def probe(evaluate, arrays, v, claimed, scale, u, y):
    """Compare `claimed` with the slope of ⟨u, f⟩ along v = {argument: direction}: (slope, relative error, at a kink?).

    With r_h, l_h the slopes over a step h to the right and to the left, a smooth f has r_h − l_h = h·f″ + O(h³), which
    doubles with h; a kink adds a jump that does not. (r + l)/2 at h and 2h together give the slope to O(h⁴).
    """
    for h in STEPS:
        change = {s: evaluate(*[x + s * h * v[i] if i in v else x for i, x in enumerate(arrays)])[0] - y
                  for s in (1, -1, 2, -2)}
        # The outputs are subtracted before they are summed: those that do not move contribute exactly 0, no rounding.
        right, left, right2, left2 = (float((u * change[s]).sum()) / (s * h) for s in (1, -1, 2, -2))
        slope = (4 * (right + left) - (right2 + left2)) / 6
        jump = abs((right2 - left2) - 2 * (right - left))
        moved = change[1] != 0
        rounding = ROUNDING / h * float(np.sqrt((u * u)[moved].sum()) * np.abs(y[moved]).max(initial=0))
        mismatch = abs(claimed - slope)
        error = mismatch / max(abs(claimed), abs(slope), 1e-2 * scale, rounding / TOLERANCE, 1e-300)
        error = error if np.isfinite(error) else np.inf
        if error <= TOLERANCE:
            return slope, error, False
        if mismatch > 2 * jump:                         # no jump in slope explains this
            return slope, error, False
    return slope, error, True


def along_a_direction(evaluate, arrays, wanted, u, y, gradients, rng, name):
    """|⟨u, J·v⟩ − ⟨Jᵀu, v⟩|, relative, v random. If x lies at kinks, ask the same a little beside x."""
    for _ in range(4):
        v = {i: rng.standard_normal(arrays[i].shape) for i in wanted}
        length = np.sqrt(sum(float((d * d).sum()) for d in v.values()))
        v = {i: d / max(1.0, length / 10) for i, d in v.items()}        # long vectors would cross many kinks
        claimed = sum(float((gradients[i] * v[i]).sum()) for i in wanted)
        scale = sum(float(np.abs(gradients[i] * v[i]).sum()) for i in wanted)
        slope, error, kink = probe(evaluate, arrays, v, claimed, scale, u, y)
        if not kink and error > TOLERANCE:
            raise GradientError(f"{name}: ⟨u, J·v⟩ and ⟨Jᵀu, v⟩ differ by {error:.1e} (relative) along a random "
                                f"direction; tolerance {TOLERANCE:.0e}")
        if not kink:
            return error
        arrays = [x + 1e-2 * rng.standard_normal(x.shape) if i in wanted else x for i, x in enumerate(arrays)]
        y, backward = evaluate(*arrays)
        gradients = backward(u.copy())
    raise GradientError(f"{name}: no direction without kinks was found near these inputs; try smaller arrays")


def validate(name, label, x, dx):
    """A gradient is there, has the shape of its argument and only finite numbers."""
    if dx is None:
        raise GradientError(f"{name}: no gradient of {label} was returned; if it is not meant to be differentiated, say "
                            "constant=(its position,)")
    if np.shape(dx) != x.shape:
        raise GradientError(f"{name}: the gradient of {label} has shape {np.shape(dx)}, the argument {x.shape}")
    if not np.isfinite(dx).all():
        at = tuple(int(a) for a in np.argwhere(~np.isfinite(dx))[0])
        raise GradientError(f"{name}: the gradient of {label} is {dx[at]} at {at}")


def one_hot(shape, at):
    e = np.zeros(shape)
    e[at] = 1
    return e


def is_float(x):
    return getattr(x, "dtype", np.dtype("O")).kind == "f"


def as_double(x):
    x = x.data if isinstance(x, Tensor) else np.asarray(x) if isinstance(x, (list, tuple, float)) else x
    return np.array(x, np.float64) if is_float(x) else x


def takes_rng(f):
    try:
        return "rng" in inspect.signature(f).parameters
    except (TypeError, ValueError):     # some built-in functions have no signature
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
            for x in leaves:
                if isinstance(x, Tensor):
                    x.grad = None
            y.backward(dy)
            return tuple(x.grad if isinstance(x, Tensor) else None for x in leaves)

        return y.data, backward

    return f


def numerical_gradient(f, *arrays, dy, **options):
    """Central differences of ⟨dy, f⟩ by every entry of every float array: what `check` compares with, in full.

    Four evaluations of f an entry: for small arrays only. Returns one array per argument, None for those not float.
    """
    arrays = [as_double(x) for x in arrays]
    evaluate = lambda *inputs: vjp(f, *inputs, **deepcopy(options))
    y = np.array(evaluate(*arrays)[0], copy=True)
    slope = lambda i, at: probe(evaluate, arrays, {i: one_hot(arrays[i].shape, at)}, np.inf, 0.0, dy, y)[0]
    return tuple(np.array([slope(i, at) for at in np.ndindex(x.shape)]).reshape(x.shape) if is_float(x) else None
                 for i, x in enumerate(arrays))
