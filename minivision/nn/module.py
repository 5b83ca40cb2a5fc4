"""A network is a tree: modules hold parameters, buffers and other modules as plain attributes."""

from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from minivision.backend import device_of, is_cupy, to_device
from minivision.tensor import Tensor

watcher = ContextVar("watcher", default=None)


class Module:
    """Base of all layers and networks: write `__init__` (set attributes) and `forward` (compute).

    Whatever attributes hold is found by its type, also inside lists, tuples and dicts, and named by its path:
    Tensors are parameters (frozen if they do not require a gradient), arrays are buffers (saved, not learned),
    Generators are random state, Modules are children. "layer1.0.conv1.weight" is self.layer1[0].conv1.weight.
    """

    training = True
    frozen = False              # frozen modules stay in evaluation, whatever `train()` says

    def __call__(self, *inputs, **options):
        y = self.forward(*inputs, **options)
        if watcher.get():
            watcher.get()(self, y)
        return y

    def forward(self, *inputs, **options):
        raise TypeError(f"{type(self).__name__} has no forward(); every Module defines one")

    def named_parameters(self):
        """(path, Tensor) of every parameter, in the order in which the attributes were set."""
        return [(path, x) for path, x in walk(self) if isinstance(x, Tensor)]

    def parameters(self):
        """The parameters, each once even if two layers share it."""
        return list({id(p): p for _, p in self.named_parameters()}.values())

    def named_buffers(self):
        """(path, array) of what is saved with the parameters but not learned: running averages."""
        return [(path, x) for path, x in walk(self) if is_array(x)]

    def named_generators(self):
        """(path, Generator) of every source of randomness in the network."""
        return [(path, x) for path, x in walk(self) if isinstance(x, np.random.Generator)]

    def named_modules(self):
        """(path, Module) of self ("") and everything below."""
        return [("", self), *((path, x) for path, x in walk(self) if isinstance(x, Module))]

    def size(self):
        """How many numbers are learned."""
        return sum(p.size for p in self.parameters())

    def state(self):
        """{path: array} of parameters and buffers: copies, on the CPU."""
        return {path: np.array(to_device(value_of(x), "cpu"), copy=True, order="C")
                for path, x in [*self.named_parameters(), *self.named_buffers()]}

    def load_state(self, state):
        """Set parameters and buffers from {path: array}; nothing is changed unless everything fits.

        ValueError lists all that is missing, unexpected or of another shape.
        """
        own = {path: value_of(x) for path, x in [*self.named_parameters(), *self.named_buffers()]}
        wrong = [f"missing: {path}" for path in own if path not in state]
        wrong += [f"unexpected: {path}" for path in state if path not in own]
        wrong += [f"{path} has shape {tuple(state[path].shape)}, the network wants {own[path].shape}"
                  for path in own if path in state and tuple(state[path].shape) != own[path].shape]
        wrong += [f"{path} holds {state[path].dtype}, not real numbers" for path in own
                  if path in state and np.asarray(state[path]).dtype.kind not in "fiub"]
        if wrong:
            raise ValueError(f"these weights do not fit {type(self).__name__}: " + "; ".join(wrong))
        new = {path: to_device(np.asarray(state[path], dtype=x.dtype, order="C"), device_of(x)) for path, x in own.items()}
        for path, x in own.items():
            x[...] = new[path]

    def train(self):
        """Switch self and everything below to training (dropout drops, batch norm uses the batch). Returns self."""
        return self.switch(True)

    def eval(self):
        """Switch to evaluation (nothing random, batch norm uses its running averages). Returns self."""
        return self.switch(False)

    @contextmanager
    def evaluating(self):
        """Inside `with net.evaluating():` the network is in evaluation; then every module is as it was before."""
        before = [(module, module.training) for _, module in self.named_modules()]
        self.eval()
        try:
            yield
        finally:
            for module, training in before:
                module.training = training

    def switch(self, training):
        for _, module in self.named_modules():
            module.training = training and not module.frozen
        return self

    def freeze(self, statistics=True):
        """Nothing here and below is learned any more, and so nothing is recorded for a backward pass. statistics: batch norm keeps
        its running averages and dropout drops nothing, also in training; False lets the averages follow new data. Returns self."""
        return self.hold(True, statistics)

    def unfreeze(self):
        """Let it learn again; `train()` then switches its norms and dropout to training. Returns self."""
        return self.hold(False, False)

    def hold(self, still, statistics):
        for _, module in self.named_modules():
            module.frozen = still and statistics
            module.training = module.training and not module.frozen
        for p in self.parameters():
            p.requires_grad = not still
        return self

    @property
    def device(self):
        """"cpu" or "gpu": where the parameters lie."""
        return device_of(*(p.data for p in self.parameters()))

    @device.setter
    def device(self, value):
        raise ValueError(f"device says where the parameters lie; to move them there: .to({value!r})")

    def to(self, device):
        """Move all parameters and buffers to "cpu" or "gpu". Returns self."""
        for _, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor):
                    value.data = to_device(value.data, device)
                elif is_array(value):
                    setattr(module, name, to_device(value, device))
        return self

    def __repr__(self):
        return "\n".join(outline(self, type(self).__name__))


def walk(value, path=""):
    """(path, x) of all Tensors, arrays, Generators and Modules below `value`, depth first."""
    items = vars(value) if isinstance(value, Module) else value
    for key, item in items.items() if isinstance(items, dict) else enumerate(items):
        here = f"{path}.{key}" if path else str(key)
        if isinstance(item, (Tensor, np.random.Generator, Module)) or is_array(item):
            yield here, item
        if isinstance(item, (Module, dict, list, tuple)):
            yield from walk(item, here)


def outline(module, title, indent=""):
    """The tree, one module a line, with the shapes of what it learns."""
    shapes = [f"{n} {tuple(x.shape)}" for n, x in vars(module).items() if isinstance(x, Tensor)]
    yield f"{indent}{title}" + (f": {', '.join(shapes)}" if shapes else "")
    for path, child in ((p, m) for p, m in walk(module) if isinstance(m, Module)):
        if not any(path.startswith(f"{p}.") for p, m in walk(module) if isinstance(m, Module) and p != path):
            yield from outline(child, f"{path} {type(child).__name__}", indent + "  ")


def is_array(x):
    return isinstance(x, np.ndarray) or is_cupy(x)


def value_of(x):
    return x.data if isinstance(x, Tensor) else x


@contextmanager
def watch(callback):
    """Inside `with watch(f):` every module calls f(module, output) after its forward: to look into a network."""
    token = watcher.set(callback)
    try:
        yield
    finally:
        watcher.reset(token)
