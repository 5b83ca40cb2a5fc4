"""Every CUDA kernel at work on small, odd shapes: kernel, arguments. Run as a program, it runs them all in the emulator and
compares with the specification; `test_cuda.py` does that under the sanitizers, with barriers removed, and on a GPU."""

import numpy as np

from minivision.kernels import (
    Window,
    activation,
    convolution,
    emulated_gpu,
    loss,
    nms,
    normalization,
    overlap,
    pooling,
    resample,
    roi,
    specification,
    update,
)


def scenarios(dtype=np.float64):
    """{name: (kernel, arguments)}: more than one tile, block and word in each direction, and none of them full."""
    rng = np.random.default_rng(0)

    def make(*shape):
        return rng.standard_normal(shape).astype(dtype)

    found = {}
    for groups, O in ((1, 70), (2, 18), (3, 9)):
        window = Window.of((7, 6), (3, 2), (2, 1), ((1, 0), (1, 2)), (1, 2))
        x, w, b, dy = make(3, 6, 7, 6), make(O, 6 // groups, 3, 2), make(O), make(3, O, window.P, window.Q)
        found[f"correlate, {groups} groups"] = convolution.correlate, (x, w, b, window, groups)
        found[f"correlate_input_gradient, {groups} groups"] = convolution.correlate_input_gradient, (dy, w, window, groups)
        found[f"correlate_weight_gradient, {groups} groups"] = convolution.correlate_weight_gradient, (dy, x, window, groups)
    window = Window.of((9, 8), 3, 2, 1)
    x, dy = make(2, 3, 9, 8), make(2, 3, window.P, window.Q)
    _, winner = pooling.max_pool.specification(x, window)
    found |= {"max_pool": (pooling.max_pool, (x, window)), "max_pool_gradient": (pooling.max_pool_gradient, (dy, winner, window)),
              "sum_pool": (pooling.sum_pool, (x, window)), "sum_pool_gradient": (pooling.sum_pool_gradient, (dy, window)),
              "relu": (activation.relu, (x,)), "relu_gradient": (activation.relu_gradient, (x, x[::-1].copy())),
              "bend": (activation.bend, (x, 0.1, 0.7)), "bend_gradient": (activation.bend_gradient, (x, x[::-1].copy(), 0.1, 0.7))}
    x, r, dy, gamma, beta = make(3, 5, 9, 11), make(3, 5, 9, 11), make(3, 5, 9, 11), make(5), make(5)
    y, mean, _, inverse = normalization.batch_norm_relu.specification(x, gamma, beta, 0.1, r)
    found |= {"batch_norm": (normalization.batch_norm, (x, gamma, beta, 0.1)),
              "batch_norm_relu": (normalization.batch_norm_relu, (x, gamma, beta, 0.1, r)),
              "normalize": (normalization.normalize, (x, mean, inverse, gamma, beta)),
              "normalize_relu": (normalization.normalize_relu, (x, mean, inverse, gamma, beta, r)),
              "batch_norm_gradient": (normalization.batch_norm_gradient, (dy, x, gamma, mean, inverse)),
              "batch_norm_relu_gradient": (normalization.batch_norm_relu_gradient, (dy, y, x, gamma, mean, inverse))}
    scores, target = make(4, 700), rng.random((4, 700)).astype(dtype)
    scores[:, 200] += 6                                         # the largest: found by a thread of the upper half
    found["cross_entropy_rows"] = loss.cross_entropy_rows, (5 * scores, target)
    found["cross_entropy_rows, far apart"] = loss.cross_entropy_rows, (30000 * scores, target)     # overflows about a wrong maximum
    corner = rng.uniform(-3, 9, (7, 2))
    boxes, image = np.concatenate([corner, corner + rng.uniform(0, 8, (7, 2))], axis=1), rng.integers(0, 3, 7)
    y, winner = roi.roi_pool.specification(x, np.floor(boxes).astype(int), image, (2, 3))
    found |= {"roi_align": (roi.roi_align, (x, boxes, image, (2, 3), 2)),
              "roi_align_gradient": (roi.roi_align_gradient, (make(*y.shape), boxes, image, x.shape, 2)),
              "roi_pool": (roi.roi_pool, (x, np.floor(boxes).astype(int), image, (2, 3))),
              "roi_pool_gradient": (roi.roi_pool_gradient, (make(*y.shape), winner, image, x.shape))}
    corner = rng.uniform(0, 60, (300, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(4, 20, (300, 2))], axis=1).astype(dtype)
    found |= {"survivors": (nms.survivors, (boxes, 0.3)), "iou_matrix": (overlap.iou_matrix, (boxes[:70], boxes[60:97]))}
    found |= {"upsample_bilinear": (resample.upsample_bilinear, (x, (20, 7), False)),
              "upsample_bilinear_gradient": (resample.upsample_bilinear_gradient, (x, (4, 17), True))}
    for name, kernel, lists, options in (("sgd", update.sgd, 3, (0.1, 0.9, True, 0.01)),
                                         ("adam", update.adam, 4, (0.1, 0.9, 0.99, 1e-8, 0.1, False, 3))):
        found[name] = in_place(kernel, lists), (*([np.abs(make(*shape)) for shape in ((40, 9), (1,), (3,))] for _ in range(lists)), *options)
    return found


def in_place(kernel, lists):
    """The update as a function: what it wrote, and its arguments left as they were."""
    def updated(*args):
        copies = [[x.copy() for x in xs] for xs in args[:lists]]
        kernel(*copies, *args[lists:])
        return tuple(x for xs in copies for x in xs)
    return updated


def disagreement(kernel, args):
    """The largest difference between the emulated CUDA kernel and the specification, relative to the largest entry."""
    with specification():
        expected = kernel(*args)
    with emulated_gpu():
        found = kernel(*args)
    pairs = list(zip(found, expected, strict=True)) if isinstance(found, tuple) else [(found, expected)]
    return max(float(np.abs(a.astype(float) - b).max() / max(1e-30, np.abs(b).max())) if np.isfinite(a.astype(float)).all() else np.inf
               for a, b in pairs)


if __name__ == "__main__":
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12)):
        for name, (kernel, args) in scenarios(dtype).items():
            error = disagreement(kernel, args)
            assert error < tolerance, (name, dtype, error)
    print("all kernels agree")
