"""Weights on disk: safetensors (ours) and NumPy archives. Never pickle: a file of numbers must not be able to run code."""

from minivision.weights.files import load, read_npz, read_safetensors, save, write_safetensors

__all__ = ["load", "save", "read_safetensors", "write_safetensors", "read_npz"]
