"""What a network is made of: its layers with their shapes, parameters, multiply–adds and memory (`minivision summary MODEL`)."""

from typing import NamedTuple

import numpy as np

from minivision.nn import Conv2d, ConvPoolReLU, Linear, watch
from minivision.tensor import Tensor


class Row(NamedTuple):
    """A layer in the order of its first use: its path and kind, the shape of what it gives for one image, how many numbers it
    learns, its multiply–adds, and the bytes of its result."""

    path: str
    kind: str
    shape: tuple
    parameters: int
    work: int
    bytes: int


def summary(model, shape):
    """[Row] of the layers that `model` uses for one image of `shape` (C,H,W) in evaluation, by `detect` where it is a detector.

    The multiply–adds of a convolution or fully-connected layer: each number that it gives costs as many as there are weights to it.
    Everything else (norms, ReLU, pooling) is not counted, as is the custom. Memory: of float32 results, as training keeps them.
    """
    image = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    paths, rows = {id(module): path for path, module in model.named_modules()}, {}

    def see(module, y):
        if not isinstance(y, Tensor) or any(hasattr(x, "forward") for x in below(module)):
            return                                          # only what has no layers inside
        own = sum(x.size for x in vars(module).values() if isinstance(x, Tensor))
        at_once = 4 if isinstance(module, ConvPoolReLU) else 1
        work = at_once * y.size * module.weight.size // module.weight.shape[0] if isinstance(module, (Conv2d, Linear)) else 0
        path = paths.get(id(module), "")
        if path in rows:                                    # used again, on another map: its parameters count once
            row = rows[path]
            rows[path] = row._replace(work=row.work + work, bytes=row.bytes + 4 * y.size)
        else:
            rows[path] = Row(path, type(module).__name__, y.shape, own, work, 4 * y.size)

    with watch(see):
        model.detect(image) if hasattr(model, "detect") else model.predict(image)
    return list(rows.values())


def below(module):
    """The values of a module's attributes, also those in lists."""
    for value in vars(module).values():
        yield from value if isinstance(value, (list, tuple)) else (value,)


def table(model, shape):
    """The summary as text, with its sums. Parameters that no layer holds (a scale of its own) are in the sum alone."""
    rows = summary(model, shape)
    lines = [(r.path, r.kind, "×".join(map(str, r.shape[1:])), f"{r.parameters:,}", f"{r.work:,}", f"{r.bytes / 1e6:.2f}")
             for r in rows]
    head = ("layer", "kind", "result", "parameters", "multiply–adds", "MB")
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]
    show = lambda line: "  ".join(cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths)))
    kept = sum(r.bytes for r in rows) / 1e6
    total = (f"{model.size():,} parameters ({4 * model.size() / 1e6:.1f} MB), {sum(r.work for r in rows):,} multiply–adds, "
             f"{kept:.1f} MB of results for one image of {'×'.join(map(str, shape))}")
    return "\n".join([show(head).rstrip(), *(show(line) for line in lines), total]).replace(",", " ")
