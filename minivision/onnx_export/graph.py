"""An ONNX graph as it is collected: nodes, initialisers (the constants in the file) and names. The package `onnx` is needed only to
write it down."""

from typing import NamedTuple

import numpy as np


class Value(NamedTuple):
    name: str
    shape: tuple        # in the first run; the batch may be another


class FollowsBatch(ValueError):
    """Something depends on the number of images in a way that a graph for any number cannot say."""


class Graph:
    """Nodes and initialisers, collected under names that are all different. shape: of the result that is being translated,
    −1 where it follows the batch."""

    def __init__(self, opset, names):
        self.opset, self.names, self.nodes, self.initialisers, self.shape = opset, set(names), [], {}, ()

    def fresh(self, name):
        name = next(n for n in (name, *(f"{name}_{i}" for i in range(1, len(self.names) + 2))) if n not in self.names)
        self.names.add(name)
        return name

    def node(self, kind, *inputs, **attributes):
        """Add a node, return its output's name. Inputs: a Value, a name, None (left out), an array, a number, or a list
        of whole numbers."""
        inputs = ["" if x is None else x if isinstance(x, str) else x.name if isinstance(x, Value) else self.constant(x)
                  for x in inputs]
        output = self.fresh(kind.lower())
        self.nodes.append((kind, inputs, output, {k: v for k, v in attributes.items() if v is not None}))
        return output

    def constant(self, x, name="constant"):
        """The name of a new initialiser: whole numbers of a list (shapes, axes) as int64, all else as float32."""
        name = self.fresh(name)
        self.initialisers[name] = np.array(x, np.int64 if isinstance(x, list) else np.float32)
        return name

    def reduce(self, kind, x, axes, keepdims):
        """Σ, mean, maximum or length over axes, all if None. ONNX has moved the axes from the attributes to the inputs."""
        if axes == []:
            return self.node("Identity", x)
        if axes is not None and (kind == "ReduceSum" or self.opset >= 18):
            return self.node(kind, x, axes, keepdims=int(keepdims))
        return self.node(kind, x, axes=axes, keepdims=int(keepdims))
