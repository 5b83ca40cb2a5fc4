"""darknet's .weights: a short head, then float32 numbers in the order in which the network's .cfg names the layers.

    major, minor, revision (int32), images seen in training (int64; int32 before version 0.2)
    for each convolution     biases (O,), or with batch norm β, γ, means and variances (O,) each; then the filters (O,C/groups,K,L)
"""

from pathlib import Path

import numpy as np

from minivision.nn import BatchNorm2d


def load_darknet(model, path):
    """Set the parameters of a `models.Darknet` from a .weights file, which must hold exactly the numbers that the network wants.

    ValueError where it holds fewer, or more, as the weights of another network do; then nothing has changed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    data = path.read_bytes()
    if len(data) < 16:
        raise ValueError(f"{path}: {len(data)} bytes; a .weights file begins with a head of 16 or 20")
    major, minor, _ = np.frombuffer(data[:12], "<i4").tolist()
    if not (0 <= major < 100 and 0 <= minor < 1000):
        raise ValueError(f"{path}: its version would be {major}.{minor}; not a darknet file")
    head = 20 if major * 10 + minor >= 2 else 16
    places = list(places_of(model))
    wanted, held = sum(x.size for _, x in places), (len(data) - head) / 4
    if held != wanted:
        less = "cut off, or" if held < wanted else "the weights"
        raise ValueError(f"{path}: holds {held:g} numbers, the network wants {wanted}: {less} of another network")
    values = np.frombuffer(data, "<f4", offset=head)
    parts = np.split(values, np.cumsum([x.size for _, x in places])[:-1])
    state = {name: part.reshape(x.shape) for (name, x), part in zip(places, parts)}
    for name, x in state.items():
        if not np.isfinite(x).all():
            raise ValueError(f"{path}: {name} holds NaN or infinity")
    model.load_state(state)


def places_of(model):
    """(name, array) of everything that the file holds, in its order."""
    for i, layer in enumerate(model.layers):
        if not hasattr(layer, "conv"):
            continue
        here, conv, norm = f"layers.{i}", layer.conv, getattr(layer, "norm", None)
        if isinstance(norm, BatchNorm2d):
            yield f"{here}.norm.bias", norm.bias.data
            yield f"{here}.norm.weight", norm.weight.data
            yield f"{here}.norm.running_mean", norm.running_mean
            yield f"{here}.norm.running_var", norm.running_var
        else:
            yield f"{here}.conv.bias", conv.bias.data
        yield f"{here}.conv.weight", conv.weight.data
