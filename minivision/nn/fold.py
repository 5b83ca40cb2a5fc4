"""Folding batch norm into the convolution before it, for evaluation: two straight lines one after the other are one.

    y = γ·(w*x + b − μ)/σ + β  =  w'*x + b'       w' = w·γ/σ, filter by filter      b' = β + (b − μ)·γ/σ      σ = √(variance + eps)

The network answers the same and passes over its maps once instead of two or three times: the ReLU behind goes along. In training it
is of no use: there μ and σ are those of each batch.
"""

from collections import Counter
from copy import deepcopy

from minivision.backend import array_module
from minivision.nn.layers import BatchNorm2d, BatchNormReLU, Conv2d, ConvReLU, Identity, ReLU, ReLU6
from minivision.nn.module import Module, watch
from minivision.tensor import Tensor, no_grad, tracer


def fold(model, run):
    """A copy of `model` for evaluation, in which every batch norm that directly follows a convolution is part of it.

    run: function (model) that sends an image through the copy, so that it shows which layer follows which. What a convolution gives
    must have one reader, and each layer must be used once; where that is not so, or a shortcut comes between, all stays as it is.
    """
    model = deepcopy(model).eval()
    calls, follower = observed(model, run)
    used = Counter(id(module) for module, _ in calls)
    at = {y: module for module, y in calls if isinstance(module, SIMPLE)}      # who made a result; the innermost module
    replaced = {}
    for conv, y in calls:
        if type(conv) is not Conv2d or used[id(conv)] > 1:
            continue
        while (y := follower.get(y)) and used[id(layer := at.get(y))] == 1 and type(conv) is Conv2d:
            if not join(conv, layer):
                break
            replaced[id(layer)] = Identity()
    replace(model, replaced)
    return model


SIMPLE = (BatchNorm2d, ReLU, ReLU6)


def observed(model, run):
    """(calls, follower): every module with the id of its result, in order; and of each result that a single op reads, alone, the id
    of what that op made of it. What `run` or a module returns in a list counts as read: a map that a detector wants."""
    calls, readers, follower, alive, own = [], Counter(), {}, [], {id(p) for p in model.parameters()}

    def see_op(op, inputs, options, result):
        tensors = [x for x in inputs if isinstance(x, Tensor) and id(x) not in own]
        readers.update(map(id, tensors))
        if len(tensors) == 1:
            follower[id(tensors[0])] = id(result)
        alive.append((inputs, result))                      # else a later Tensor might get the id of this one

    def see_module(module, y):
        calls.append((module, id(y)))
        if isinstance(y, (list, tuple)):
            readers.update(id(x) for x in y if isinstance(x, Tensor))
        alive.append(y)

    token = tracer.set(see_op)
    try:
        with no_grad(), watch(see_module):
            run(model)
    finally:
        tracer.reset(token)
    return calls, {x: y for x, y in follower.items() if readers[x] == 1}


def join(conv, layer):
    """Make `conv` do the work of `layer` as well; False where it cannot."""
    if isinstance(layer, BatchNorm2d):
        xp = array_module(layer.running_var)
        scale = layer.weight.data / xp.sqrt(layer.running_var + layer.eps)
        bias = 0 if conv.bias is None else conv.bias.data
        conv.weight.data = conv.weight.data * scale[:, None, None, None]
        conv.bias = Tensor(layer.bias.data + (bias - layer.running_mean) * scale, requires_grad=True)
    if isinstance(layer, (ReLU, ReLU6, BatchNormReLU)) and conv.bias is not None:
        conv.__class__ = ConvReLU
        if isinstance(layer, ReLU6):
            conv.most = 6.0
        return True
    return type(layer) is BatchNorm2d


def replace(value, replaced):
    """Put other modules in the place of those whose id is in `replaced`, everywhere below `value`; returns the new value."""
    if id(value) in replaced:
        return replaced[id(value)]
    if isinstance(value, tuple):
        return tuple(replace(item, replaced) for item in value) if type(value) is tuple else value
    items = vars(value) if isinstance(value, Module) else value
    if isinstance(items, (dict, list)):
        for key, item in list(items.items() if isinstance(items, dict) else enumerate(items)):
            items[key] = replace(item, replaced)
    return value
