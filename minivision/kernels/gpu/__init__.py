"""CUDA C kernels: *.cu files, and beside each the few lines that launch them on CuPy arrays, or in the emulator on NumPy's."""
