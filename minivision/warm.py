"""Compile every kernel once, so that nobody waits later: `minivision doctor --warm`.

What Numba compiled it keeps on disk, in `__pycache__` beside the source, until the source or the processor changes; CuPy
and the emulator keep theirs in the user's cache folder. Without this each kernel compiles when it is first called.
"""

import numpy as np
from tqdm import tqdm

from minivision.backend import gpu_library
from minivision.kernels import Window, activation, convolution, nms, normalization, overlap, pairing, pooling, roi, update


def warm(progress=True):
    """Call every compiled kernel on a few numbers, and compile the CUDA files if there is a GPU; returns how many there were."""
    jobs = {**cpu_jobs(np.float32), **{f"{name}, float64": job for name, job in cpu_jobs(np.float64).items()}, **gpu_jobs()}
    with tqdm(jobs.items(), disable=not progress, unit="kernel") as bar:
        for name, job in bar:
            bar.set_description(name)
            job()
    return len(jobs)


def cpu_jobs(dtype):
    """{name: a call that compiles it}: each kernel on every road that it can take."""
    x, direct, tiles = np.zeros((2, 9, 8, 8), dtype), Window.of((8, 8), 3, 1, 1), Window.of((32, 32), 3, 1, 1)
    w, b, strided = np.zeros((9, 9, 3, 3), dtype), np.zeros(9, dtype), Window.of((8, 8), 3, 2, 1)
    large, filters, y2 = np.zeros((1, 16, 32, 32), dtype), np.zeros((16, 16, 3, 3), dtype), np.zeros((2, 9, 4, 4), dtype)
    quarter, overlapping, one = Window.of((8, 8), 2, 2), Window.of((8, 8), 3, 2, 1), np.ones(9, dtype)
    boxes, image = np.array([[0, 0, 4, 4.0]]), np.zeros(1, int)
    deep, one_each, thrice = np.zeros((9, 1, 3, 3), dtype), np.zeros((9, 9, 1, 1), dtype), Window.of((8, 8), 3, 3, 1)
    point, y3 = Window.of((8, 8), 1), np.zeros((2, 9, 3, 3), dtype)
    winner, four = np.zeros((2, 9, 4, 4), np.uint8), np.zeros((1, 9, 2, 2), dtype)
    return {
        "convolution": lambda: convolution.correlate(x, w, b, direct),
        "convolution, stride 2": lambda: convolution.correlate(x, w, b, strided),
        "convolution, ReLU": lambda: convolution.correlate_relu(x, w, b, direct),
        "convolution, pooling, ReLU": lambda: convolution.correlate_pool_relu(x, w, b, direct),
        "convolution, dx": lambda: convolution.correlate_input_gradient(x, w, direct),
        "convolution, dx, stride 2": lambda: convolution.correlate_input_gradient(y2, w, strided),
        "convolution, dw": lambda: convolution.correlate_weight_gradient(x, x, direct),
        "depthwise": lambda: convolution.correlate(x, deep, b, direct, 9),
        "depthwise, pooling, ReLU": lambda: convolution.correlate_pool_relu(x, deep, b, direct, 9),
        "depthwise, dx": lambda: convolution.correlate_input_gradient(x, deep, direct, 9),
        "depthwise, dx, stride 2": lambda: convolution.correlate_input_gradient(y2, deep, strided, 9),
        "depthwise, dx, stride 3": lambda: convolution.correlate_input_gradient(y3, deep, thrice, 9),
        "depthwise, dw": lambda: convolution.correlate_weight_gradient(x, x, direct, 9),
        "1×1 convolution": lambda: convolution.correlate(x, one_each, b, point),
        "Winograd": lambda: convolution.correlate(large, filters, None, tiles),
        "Winograd, dw": lambda: convolution.correlate_weight_gradient(large, large, tiles),
        "max-pooling": lambda: pooling.max_pool(x, quarter),
        "max-pooling, dx": lambda: pooling.max_pool_gradient(y2, winner, quarter),
        "max-pooling, overlapping": lambda: pooling.max_pool(x, overlapping),
        "max-pooling, overlapping, dx": lambda: pooling.max_pool_gradient(y2, winner, overlapping),
        "ReLU": lambda: activation.relu(x),
        "ReLU, dx": lambda: activation.relu_gradient(x, x),
        "leaky ReLU": lambda: activation.bend(x, 0.1, 6),
        "leaky ReLU, dx": lambda: activation.bend_gradient(x, x, 0.1, 6),
        "batch norm": lambda: normalization.batch_norm(x, one, one, 1e-5),
        "batch norm, dx": lambda: normalization.batch_norm_gradient(x, x, one, one, one),
        "RoI Align": lambda: roi.roi_align(x, boxes, image, (2, 2), 2),
        "RoI Align, dx": lambda: roi.roi_align_gradient(four, boxes, image, x.shape, 2),
        "RoI pooling": lambda: roi.roi_pool(x, boxes.astype(int), image, (2, 2)),
        "RoI pooling, dx": lambda: roi.roi_pool_gradient(four, np.zeros(four.shape, np.int32), image, x.shape),
        "suppression": lambda: nms.survivors(boxes.astype(dtype), 0.5),
        "IoU": lambda: overlap.iou_matrix(boxes.astype(dtype), boxes.astype(dtype)),
        "pairing": lambda: pairing.pair(np.ones(1), np.arange(2), image, image > 0, np.zeros((1, 1), bool), np.ones(1)),
        "SGD": lambda: update.sgd([b.copy()], [b], [b.copy()], 0.1, 0.9, False, 0.0),
        "Adam": lambda: update.adam([b.copy()], [b], [b.copy()], [b.copy()], 0.1, 0.9, 0.9, 1e-8, 0.0, False, 1),
    }


def gpu_jobs():
    """The CUDA files, where CuPy finds a GPU."""
    cupy = gpu_library()
    if cupy is None:
        return {}
    from minivision.kernels.gpu.program import HERE, Program, on_gpu
    return {path.name: lambda name=path.name: on_gpu(Program(name), "float32", cupy) for path in sorted(HERE.glob("*.cu"))}
