"""Layers one after the other."""

from minivision.nn.module import Module


class Sequential(Module):
    """Layers one after the other. Their names are "0", "1", …; net[i] is the i-th. One dict {name: layer} gives them other names:
    those of published weights, whose authors count a ReLU as a layer where ours does it in one pass with the convolution."""

    def __init__(self, *layers):
        named = layers[0] if len(layers) == 1 and isinstance(layers[0], dict) else {str(i): x for i, x in enumerate(layers)}
        for name, layer in named.items():
            if not isinstance(name, str) or "." in name or hasattr(type(self), name):
                raise ValueError(f"a layer cannot be named {name!r}: with a dot, or as something that every Sequential has")
            if not isinstance(layer, Module):
                given = getattr(layer, "__name__", layer)
                raise ValueError(f"layer {name} is {given!r}, not a Module: write nn.ReLU(), not ops.relu")
            setattr(self, name, layer)

    def layers(self):
        return [x for x in vars(self).values() if isinstance(x, Module)]

    def __len__(self):
        return len(self.layers())

    def __getitem__(self, i):
        return self.layers()[i]

    def __iter__(self):
        return iter(self.layers())

    def forward(self, x):
        for layer in self.layers():
            x = layer(x)
        return x


class Stages(Sequential):
    """Layers one after the other, {name: layer}, that give several maps: what comes out of each layer in `ends`, finest first.
    A detector builds on them, a classifier on the last."""

    def __init__(self, layers, ends):
        super().__init__(layers)
        if missing := [name for name in ends if name not in layers]:
            raise ValueError(f"no layer is named {missing[0]!r}; there are {', '.join(layers)}")
        self.ends = tuple(ends)

    def forward(self, x):
        maps = []
        for name, layer in vars(self).items():
            if isinstance(layer, Module):
                x = layer(x)
                if name in self.ends:
                    maps.append(x)
        return maps
