"""Array loops. Each file here is a specification in plain array code, with its fast versions in `cpu/` and `gpu/`."""

from minivision.kernels.registry import Kernel, emulated_gpu, exact_convolution, specification
from minivision.kernels.window import Window

__all__ = ["Kernel", "Window", "emulated_gpu", "exact_convolution", "specification"]
