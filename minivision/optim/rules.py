"""Update rules (更新规则): gradient descent and its relatives (F14b: document 004 §3 item 6, named there, not written).

Back-propagation computes gradients; it updates nothing. The optimiser does, with the rules below: g is a parameter's
gradient, w the parameter. All parameters are changed in place by one pass over memory (`kernels/update.py`).
"""

import numpy as np

from minivision.backend import array_module, to_device
from minivision.kernels import update
from minivision.tensor import Tensor


class Optimiser:
    """Parameters, a learning rate, and arrays that are remembered between steps (velocities, averages).

    parameters: Tensors, or groups (Tensors, factor) whose learning rate is `factor`·lr: a pretrained body slower than a new head.
    """

    memories = ()       # their names

    def __init__(self, parameters, lr, weight_decay):
        pairs = [(p, factor) for p, factor in with_factors(parameters) if p.requires_grad]
        self.parameters, self.factors = [p for p, _ in pairs], [factor for _, factor in pairs]      # frozen ones rest
        if not self.parameters:
            raise ValueError("an optimiser needs at least one Tensor that requires a gradient: model.parameters()")
        positive("lr", lr)
        not_negative("weight_decay", weight_decay)
        self.lr, self.weight_decay, self.steps = lr, weight_decay, 0
        self.memory = {name: [array_module(p.data).zeros_like(p.data) for p in self.parameters]
                       for name in self.memories}

    def step(self):
        """Move every parameter that has a gradient."""
        self.steps += 1
        for factor in dict.fromkeys(self.factors):
            moved = [i for i, p in enumerate(self.parameters) if p.grad is not None and self.factors[i] == factor]
            if moved:
                self.update(self.lr * factor, [self.parameters[i].data for i in moved], [self.parameters[i].grad for i in moved],
                            *([self.memory[name][i] for i in moved] for name in self.memories))

    def zero_grad(self):
        """Forget the gradients; `backward()` adds to what is there."""
        for p in self.parameters:
            p.grad = None

    def state(self):
        """{name: array} of everything remembered: the memories, one per parameter, and the count of steps."""
        arrays = {f"{name}.{i}": np.array(to_device(x, "cpu")) for name, xs in self.memory.items()
                  for i, x in enumerate(xs)}
        return arrays | {"steps": np.array(self.steps, np.int64)}

    def load_state(self, state):
        """Continue from `state()`; ValueError if it is another optimiser's."""
        own = self.state()
        if own.keys() != state.keys() or any(own[k].shape != state[k].shape for k in own):
            raise ValueError(f"this is not the state of {type(self).__name__} with {len(self.parameters)} parameters: "
                             f"it has {', '.join(sorted(state)[:6])} …")
        for name, xs in self.memory.items():
            for i, x in enumerate(xs):
                x[...] = array_module(x).asarray(state[f"{name}.{i}"])
        self.steps = int(state["steps"])


class SGD(Optimiser):
    """Stochastic gradient descent (随机梯度下降), with momentum (动量).

        g ← g + weight_decay·w
        v ← momentum·v + g
        w ← w − lr·v                           (Polyak 1964; as PyTorch writes it: lr outside v)
        w ← w − lr·(g + momentum·v)            with nesterov (Sutskever et al., ICML 2013, §2, in the same variables)

    With momentum = 0 this is w ← w − lr·g.  With a steady gradient v grows to g/(1 − momentum): ten times g at 0.9.
    """

    def __init__(self, parameters, lr, *, momentum=0.0, nesterov=False, weight_decay=0.0):
        fraction("momentum", momentum)
        if nesterov and momentum == 0:
            raise ValueError("nesterov looks ahead along the momentum; it needs momentum > 0")
        self.momentum, self.nesterov = momentum, nesterov
        self.memories = ("velocity",) if momentum else ()
        super().__init__(parameters, lr, weight_decay)

    def update(self, lr, w, g, v=None):
        update.sgd(w, g, v, lr, self.momentum, self.nesterov, self.weight_decay)


class Adam(Optimiser):
    """Steps divided by the gradient's typical size (Kingma and Ba, ICLR 2015, algorithm 1).

        g ← g + weight_decay·w
        m ← β₁·m + (1 − β₁)·g          v ← β₂·v + (1 − β₂)·g²
        m' = m / (1 − β₁ᵗ)             v' = v / (1 − β₂ᵗ)
        w ← w − lr·m' / (√v' + eps)

    m and v average the gradient and its square; they start at 0, which m' and v' undo at step t.
    """

    memories = ("mean", "square")
    decoupled = False

    def __init__(self, parameters, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        for i, beta in enumerate(betas):
            fraction(f"betas[{i}]", beta)
        positive("eps", eps)
        self.betas, self.eps = betas, eps
        super().__init__(parameters, lr, weight_decay)

    def update(self, lr, w, g, m, v):
        update.adam(w, g, m, v, lr, *self.betas, self.eps, self.weight_decay, self.decoupled, self.steps)


class AdamW(Adam):
    """Adam with weight decay beside the gradient, not in it: first w ← w − lr·weight_decay·w, then Adam's step without
    decay (Loshchilov and Hutter, ICLR 2019, algorithm 2). In Adam itself the division by √v̂ would undo most of it."""

    decoupled = True


def with_factors(parameters):
    """(Tensor, factor) of Tensors, whose factor is 1, and groups (Tensors, factor); ValueError where a Tensor comes twice."""
    pairs = []
    for entry in parameters:
        if isinstance(entry, tuple) and len(entry) == 2 and not isinstance(entry[1], Tensor):
            members, factor = entry
            positive("the factor of a group", factor)
            if factor == float("inf"):
                raise ValueError("the factor of a group is infinite")
            pairs += [(p, factor) for p in members]
        else:
            pairs.append((entry, 1))
    for p, _ in pairs:
        if not isinstance(p, Tensor):
            raise ValueError(f"a {type(p).__name__} among the parameters; expected Tensors, or pairs (Tensors, factor)")
    if len({id(p) for p, _ in pairs}) < len(pairs):
        raise ValueError("a parameter is in the optimiser twice: once alone, or in two groups")
    return pairs


def positive(name, value):
    if not value > 0:
        raise ValueError(f"{name} is {value}; expected a number > 0")


def not_negative(name, value):
    if not value >= 0:
        raise ValueError(f"{name} is {value}; expected a number ≥ 0")


def fraction(name, value):
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}; expected 0 ≤ {name} < 1")
