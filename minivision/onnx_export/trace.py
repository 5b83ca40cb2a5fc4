"""What a network does, op by op, as a graph.

The network is run, and every op tells the tracer of the tape what it was called with. `table` says each op in ONNX's words.
Whatever flows in that no op made is a constant of the graph, unless it depends on the images. So the network is run twice, with
other numbers and more images. What is the same in both runs is constant, an axis that differs as the batch does follows the batch,
and anything else is an error: it would be wrong for the next image. A decision on numbers that falls alike in both runs goes
unnoticed.
"""

import inspect
from typing import NamedTuple

import numpy as np

from minivision.backend import to_device
from minivision.onnx_export.graph import FollowsBatch, Graph, Value
from minivision.onnx_export.table import translation
from minivision.tensor import Tensor, tracer


class Part(NamedTuple):
    """What becomes one file."""
    run: object         # (*inputs) → a Tensor, or several
    inputs: object      # (rng, more) → {name: Tensor or array}, with `more` images and RoIs than the least
    axes: dict          # {input: name of its first axis}
    outputs: tuple      # their names; y0, y1, … if there are none


class Run(NamedTuple):
    inputs: dict
    calls: list         # (op, positional, options, result)
    outputs: list


def traced(part, seed, more):
    """One run of the network, op by op. The calls hold all that they name: no address is used twice."""
    inputs, calls = part.inputs(np.random.default_rng(seed), more), []
    token = tracer.set(lambda *call: calls.append(call))
    try:
        y = part.run(*inputs.values())
    finally:
        tracer.reset(token)
    outputs = list(y) if isinstance(y, (tuple, list)) else [y]
    for i, y in enumerate(outputs):
        if not (isinstance(y, Tensor) or hasattr(y, "dtype")):
            raise ValueError(f"output {i} is a {type(y).__name__}; only networks that return Tensors (and arrays) can be exported")
    outputs = [y for y in outputs if isinstance(y, Tensor)]
    if not outputs:
        raise ValueError("the network returns no Tensor: there is nothing to export")
    return Run(inputs, calls, outputs)


def translated(model, part, opset):
    """The graph of a part for any number of images, or else for the number given."""
    first = traced(part, 0, 0)
    try:
        return Translator(model, part, opset, first, traced(part, 1, 2))
    except FollowsBatch:
        return Translator(model, part, opset, first, traced(part, 1, 0))


class Translator:
    """Two runs, call by call, into one graph. known: what has a name already, {(its id in one run, in the other): Value}."""

    def __init__(self, model, part, opset, *runs):
        state = [*model.named_parameters(), *model.named_buffers()]
        self.graph = Graph(opset, [path for path, _ in state])
        self.known, self.axes = {}, {}
        for path, x in state:
            self.known.setdefault((id(x), id(x)), Value(path, x.shape))
            self.graph.initialisers[path] = on_cpu(x)
        self.inputs, self.outputs = [], []
        for (name, x), y in zip(runs[0].inputs.items(), runs[1].inputs.values()):
            value = Value(self.graph.fresh(name), x.shape)
            self.known[id(x), id(y)] = value
            self.axes.setdefault((x.shape[0], y.shape[0]), (part.axes.get(name), value))
            self.inputs.append((value.name, self.dims(x.shape, y.shape), x.dtype.kind))
        if [op for op, *_ in runs[0].calls] != [op for op, *_ in runs[1].calls]:
            raise FollowsBatch("the network calls other ops for other images: a graph cannot choose")
        for number, calls in enumerate(zip(runs[0].calls, runs[1].calls)):
            self.translate(number, *calls)
        for i, (x, y) in enumerate(zip(runs[0].outputs, runs[1].outputs)):
            name = self.graph.fresh(part.outputs[i] if i < len(part.outputs) else f"y{i}")
            self.graph.nodes.append(("Identity", [self.value(x, y, "output").name], name, {}))
            self.outputs.append((name, self.dims(x.shape, y.shape), "f"))

    def dims(self, shape, other):
        """Lengths of axes; where they differ the name of the input's axis that differs as they do, or None."""
        return [n if n == m else self.axes.get((n, m), (None,))[0] for n, m in zip(shape, other)]

    def translate(self, number, call, other):
        (op, inputs, options, result), (_, *others, result_2) = call, other
        translate, what = translation(op), f"op {op.__name__} (call {number + 1})"
        (xs, options), (ys, options_2) = complete(op, inputs, options), complete(op, *others)
        if op.__name__ != "reshape":                    # its result's shape says what its option does
            options = {name: self.option(x, options_2[name], f"{what}, option {name}") for name, x in options.items()}
        if len(result.shape) != len(result_2.shape) or len(xs) != len(ys):
            raise FollowsBatch(f"{what}: the number of axes depends on the images")
        self.graph.shape = [n if n == m else -1 for n, m in zip(result.shape, result_2.shape)]
        name = translate(self.graph, *(self.value(x, y, what) for x, y in zip(xs, ys)), **options)
        self.known[id(result), id(result_2)] = Value(name, result.shape)

    def option(self, x, y, what):
        if getattr(x, "ndim", 0):
            return self.value(x, y, what, keep=True)
        if isinstance(x, (tuple, list)) and type(x) is type(y) and len(x) == len(y):
            return type(x)(self.option(a, b, what) for a, b in zip(x, y))
        if x != y:
            raise FollowsBatch(f"{what}: it is {x} for one image and {y} for another")
        return x

    def value(self, x, y, what, keep=False):
        """The Value of an array or Tensor; if it is not known it is a new constant. keep: whole numbers stay whole."""
        if (x is None) != (y is None):
            raise FollowsBatch(f"{what}: there is an argument for some images and none for others")
        if x is None or (id(x), id(y)) in self.known:
            return self.known.get((id(x), id(y)))
        a, b = on_cpu(x), on_cpu(y)
        if a.dtype.kind == "f" or not keep:
            a, b = a.astype(np.float32), b.astype(np.float32)
        if a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            name = self.graph.constant(a.tolist() if keep and a.dtype.kind in "iu" else a)
        else:
            name = self.repeated(a, b, what)
        self.known[id(x), id(y)] = value = Value(name, a.shape)
        return value

    def repeated(self, a, b, what):
        """One row that a plain array has as often as there are images: the zeros beside a shortcut, say."""
        _, source = self.axes.get(a.shape[:1] + b.shape[:1], (None, None))
        if source is None or a.shape[1:] != b.shape[1:] or not ((a == a[:1]).all() and (b == a[:1]).all()):
            raise FollowsBatch(f"{what}: an array of shape {a.shape} depends on the images, and no op made it. The file would hold "
                               "it as a constant, wrong for the next image: compute it with ops, on Tensors")
        length = self.graph.node("Shape", source, start=0, end=1)
        return self.graph.node("Expand", self.graph.constant(a[:1]), self.graph.node("Concat", length, [1] * (a.ndim - 1), axis=0))


def complete(op, inputs, options):
    """All arguments of a call, defaults too: (positional, options)."""
    bound = inspect.signature(op.__wrapped__).bind(*inputs, **options)
    bound.apply_defaults()
    return bound.args, bound.kwargs


def on_cpu(x):
    return np.asarray(to_device(x.data if isinstance(x, Tensor) else x, "cpu"))
