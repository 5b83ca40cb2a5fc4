"""Transfer learning (迁移学习) and fine-tuning (微调), which document 000 gives the same steps (E2). Both begin with a network that
has learned from another, larger set of images, and both give it a new last layer:

    transfer     the body is frozen: what it makes of an image are features (特征), and the new layer is a linear classifier on them
    fine-tuning  the body learns on, more slowly than the new layer, all of it or from the top down, stage by stage

The documents' samples C1 (000 §4.1), C6 (003 §4.2) and C7, C8, C9, C10, C11 (004 §4 and §6) want these few functions: a new head
(C1 keeps the old one), a body that is frozen or learns slowly (C6 trains all alike), and weights that are saved and loaded between
two trainings (C7 to C11 build a new network each time; E44).
"""

import numpy as np

from minivision.backend import as_rng, to_device
from minivision.nn import Conv2d, Identity, Linear, ReLU, ReLU6
from minivision.nn.fold import replace
from minivision.nn.initialisers import small_normal
from minivision.tensor import Tensor, no_grad


def last_layer(model):
    """(path, module) of the last fully-connected layer or convolution: what says which class."""
    found = [(path, module) for path, module in model.named_modules() if isinstance(module, (Linear, Conv2d))]
    if not found or found[-1][0] == "":
        raise ValueError(f"{type(model).__name__} has no fully-connected layer and no convolution")
    return found[-1]


def new_head(model, classes, *, rng):
    """Replace the last layer by a new one for `classes` classes, all of whose scores begin near 0. Returns it.

    A ReLU or ReLU6 behind it goes (SqueezeNet has one): a class whose scores are negative everywhere would have no gradient and
    never learn.
    """
    path, old = last_layer(model)
    outputs, inputs = old.weight.shape[:2]
    if isinstance(old, Linear):
        head = Linear(inputs, classes, rng=as_rng(rng), initialise=small_normal)
    else:
        head = Conv2d(inputs, classes, old.weight.shape[2:], rng=as_rng(rng), initialise=small_normal, **old.options)
    layers = [module for _, module in model.named_modules()]
    behind = [layer for layer in layers[layers.index(old) + 1:] if isinstance(layer, (ReLU, ReLU6))]
    replace(model, {id(old): head.to(model.device)} | {id(layer): Identity() for layer in behind})
    return head


def freeze_body(model, *, statistics=True):
    """Freeze all but the last layer (`Module.freeze`). Nothing below the head is then recorded. Returns the head."""
    head = last_layer(model)[1]
    model.freeze(statistics)
    head.unfreeze()
    return head


def groups(model, cuts=(), factor=0.1):
    """Groups for an optimiser, [(parameters, learning rate's factor)], slower and slower from the head down.

    cuts: paths of parameters, in the network's order, at which a new group begins; the last layer is always a group of its own,
    with factor 1, the one below it has `factor`, the next factor² … With no cuts: the body, and the head.
    """
    names = [path for path, _ in model.named_parameters()]
    starts = [0]
    for cut in (*cuts, last_layer(model)[0]):
        at = next((i for i, name in enumerate(names) if name == cut or name.startswith(f"{cut}.")), None)
        if at is None or at < starts[-1]:
            raise ValueError(f"no parameter begins with {cut!r}" if at is None else f"{cut!r} comes before the cut in front of it")
        starts.append(at)
    parameters = [p for _, p in model.named_parameters()]
    parts = [parameters[a:b] for a, b in zip(starts, [*starts[1:], len(names)])]
    return [(part, factor ** (len(parts) - 1 - k)) for k, part in enumerate(parts) if part]


def features_of(model, images, batch_size=64):
    """(N,F) what the last layer sees of prepared images (N,C,H,W): for a network whose last layer is a 1×1 convolution with a mean
    behind it (SqueezeNet), the mean of its maps. Computed once, in evaluation; a linear classifier learns from it in moments."""
    inputs = last_layer(model)[1].weight.shape[1]
    if not hasattr(model, "features") or model.channels[-1] != inputs:
        raise ValueError(f"{type(model).__name__} has more than a mean between its maps and its last layer")
    if len(images) == 0:
        raise ValueError("there are no images")
    found = []
    with model.evaluating(), no_grad():
        for at in range(0, len(images), batch_size):
            maps = model.features(Tensor(images[at:at + batch_size]))[-1]
            found.append(to_device(maps.data.mean(axis=(2, 3)), "cpu"))
    return np.concatenate(found)
