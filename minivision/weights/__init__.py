"""Weights on disk: safetensors (ours), NumPy archives, and the published forms of PyTorch and darknet. Never pickle: a file of
numbers must not be able to run code."""

from minivision.weights.darknet import load_darknet
from minivision.weights.files import load, read, read_npz, read_safetensors, save, write_safetensors
from minivision.weights.torch_file import read_torch
from minivision.weights.translate import translated

__all__ = ["load", "save", "read", "read_safetensors", "write_safetensors", "read_npz", "read_torch", "load_darknet", "translated"]
