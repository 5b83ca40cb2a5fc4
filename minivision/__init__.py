"""minivision: a computer-vision textbook that runs.

Read the source as a book, from the bottom up: `tensor` (the tape), `kernels` (array loops), `ops` (each formula with
its hand-written backward), `nn` and `optim`, `models`, `train`. Nothing heavy is loaded before it is used.
"""

import importlib

__version__ = "0.1.0"

_names = {
    "Tensor": "tensor", "op": "tensor", "vjp": "tensor", "no_grad": "tensor",
    "to_device": "backend", "array_module": "backend", "sizes": "backend",
}
_modules = {"backend", "tensor", "gradcheck", "kernels", "ops", "detection", "nn", "optim", "models", "data",
            "train", "checkpoint", "experiment", "settings", "ladder", "failure_lab", "classification_run",
            "detection_run", "evaluation", "weights", "onnx_export", "zoo", "pretrained", "transfer", "summary",
            "answering", "draw", "explain", "doctor", "warm", "demo", "cli", "arguments"}

__all__ = sorted({*_names, *_modules})


def __getattr__(name):
    """Load a part of the library the first time it is asked for (PEP 562)."""
    if name in _names:
        return getattr(importlib.import_module(f"minivision.{_names[name]}"), name)
    if name in _modules:
        return importlib.import_module(f"minivision.{name}")
    raise AttributeError(f"module 'minivision' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__():
    return [*__all__, "__version__"]
