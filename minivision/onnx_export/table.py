"""Our ops in the words of ONNX (onnx.ai): for each a function that adds its nodes to a `Graph` and returns the result's name.

    translate(g, *inputs, **options)        what the op was called with; arrays and Tensors are `Value`s by now

Where both have the same formula it is one node. Where ONNX leaves a convention to the runtime (rounding up in pooling, the size of
an enlarged map), the translation says it in numbers.
"""

import numpy as np

from minivision import arithmetic, ops
from minivision.kernels import Window
from minivision.kernels.window import margins, pair
from minivision.onnx_export.graph import FollowsBatch, Value
from minivision.onnx_export.roi import roi_pool
from minivision.ops.pooling import bins

LOSSES = ("box_loss", "class_loss", "objectness_loss", "squared_loss", "mse", "smooth_l1", "softmax_cross_entropy",
          "sigmoid_cross_entropy")
ONLY_IN_TRAINING = (*LOSSES, "dropout")         # they have no place in inference
FAR = 2 ** 63 - 1                               # "to the end" in a Slice


def same(kind):
    """ONNX has the op, without options or with the same ones."""
    return lambda g, *inputs, **options: g.node(kind, *inputs, **options)


def ends(padding):
    """ONNX lists the sides as top, left, bottom, right."""
    (top, bottom), (left, right) = padding
    return [top, left, bottom, right]


def conv2d(g, x, w, b, *, stride, padding, dilation, groups):
    return g.node("Conv", x, w, b, strides=pair("stride", stride, 1), pads=ends(margins(padding)),
                  dilations=pair("dilation", dilation, 1), group=groups)


def conv2d_relu(g, x, w, b, *, most, **options):
    y = conv2d(g, x, w, b, **options)
    return g.node("Relu", y) if most is None else g.node("Clip", y, 0.0, float(most))


def conv2d_pool_relu(g, x, w, b, **options):
    return g.node("Relu", g.node("MaxPool", conv2d(g, x, w, b, **options), kernel_shape=[2, 2], strides=[2, 2]))


def batch_norm2d(g, x, gamma, beta, *, mean, variance, eps, observe):
    if mean is None:
        raise ValueError("batch_norm2d without mean and variance normalises by the batch, as in training: it cannot be exported")
    return g.node("BatchNormalization", x, gamma, beta, mean, variance, epsilon=eps)


def batch_norm2d_relu(g, x, gamma, beta, r, **options):
    y = batch_norm2d(g, x, gamma, beta, **options)
    return g.node("Relu", y if r is None else g.node("Add", y, r))


def l2_norm2d(g, x, scale, *, eps):
    length = g.node("Max", g.reduce("ReduceL2", x, [1], True), eps)
    return g.node("Mul", g.node("Div", x, length), g.node("Reshape", scale, [-1, 1, 1]))


def pooled(kind, g, x, window, image):
    """A pool whose places are counted by our rule: `ceil` has become padding."""
    return g.node(kind, x, kernel_shape=[window.K, window.L], strides=window.stride, pads=image)


def max_pool2d(g, x, *, size, stride, padding, ceil):
    window = Window.of(x.shape[2:], size, size if stride is None else stride, padding, ceil=ceil)
    return pooled("MaxPool", g, x, window, ends(window.padding))


def avg_pool2d(g, x, *, size, stride, padding, ceil, count_padding):
    """AveragePool leaves the padding out of its mean. Padding that counts becomes pixels first."""
    window = Window.of(x.shape[2:], size, size if stride is None else stride, padding, ceil=ceil)
    asked = margins(padding) if count_padding else ((0, 0), (0, 0))
    rest = [a - b for a, b in zip(ends(window.padding), ends(asked))]
    return pooled("AveragePool", g, pad2d(g, x, padding=asked, value=0.0) if count_padding else x, window, rest)


def adaptive_avg_pool2d(g, x, *, size):
    """A·x·Bᵀ, as in our op."""
    A, B = (g.constant(bins(n, m), "bins") for n, m in zip(x.shape[2:], pair("size", size, 1)))
    return g.node("MatMul", g.node("MatMul", A, x), g.node("Transpose", B, perm=[1, 0]))


def pad2d(g, x, *, padding, value):
    top, left, bottom, right = ends(margins(padding))
    return g.node("Pad", x, [0, 0, top, left, 0, 0, bottom, right], float(value))


def upsample(g, x, *, factor):
    scales = g.constant(np.array([1, 1, *pair("factor", (factor, factor), 1)]), "scales")
    return g.node("Resize", x, None, scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")


def upsample_bilinear(g, x, *, size, corners):
    size = g.node("Concat", g.node("Shape", x, start=0, end=2), list(pair("size", size, 1)), axis=0)
    return g.node("Resize", x, None, None, size, mode="linear",
                  coordinate_transformation_mode="align_corners" if corners else "half_pixel")


def roi_align(g, x, *, boxes, image, size, scale, samples, aligned):
    P, Q = pair("size", size, 1)
    return g.node("RoiAlign", x, boxes, image, mode="avg", output_height=P, output_width=Q, sampling_ratio=samples,
                  spatial_scale=float(scale), coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel")


def reduced(kind):
    def translate(g, x, *, axis, keepdims):
        axes = None if axis is None else list(axis) if isinstance(axis, tuple) else [axis]
        return g.reduce(kind, x, axes, keepdims)
    return translate


def reshape(g, x, *, shape):
    """One entry may follow the batch: the −1 that ONNX works out. Entries are those of the result, not those asked for."""
    if g.shape.count(-1) > 1:
        raise FollowsBatch(f"reshape to {shape}: two of the result's axes depend on the number of images")
    return g.node("Reshape", x, list(g.shape))


def transpose(g, x, *, axes):
    return g.node("Transpose", x, perm=[i % len(x.shape) for i in axes])


def getitem(g, x, *, index):
    """Slices, with Python's meaning of negative and missing ends, then a Gather for each axis that a number drops."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if parts.count(...) == 1:
        at = parts.index(...)
        parts[at:at + 1] = [slice(None)] * (len(x.shape) - len(parts) + 1)
    for part in parts:
        if not isinstance(part, (int, np.integer, slice)) or isinstance(part, bool):
            what = "an array" if isinstance(part, Value) else "a new axis" if part is None else f"a {type(part).__name__}"
            raise ValueError(f"getitem with {what} cannot be exported; slices and whole numbers can")
    sliced = {i: (part, part.step or 1) for i, part in enumerate(parts) if isinstance(part, slice) and part != slice(None)}
    if sliced:
        starts = [int((0 if step > 0 else FAR) if part.start is None else part.start) for part, step in sliced.values()]
        stops = [int((FAR if step > 0 else -FAR) if part.stop is None else part.stop) for part, step in sliced.values()]
        x = g.node("Slice", x, starts, stops, list(sliced), [int(step) for _, step in sliced.values()])
    for i in reversed(range(len(parts))):
        if not isinstance(parts[i], slice):
            x = g.node("Squeeze", g.node("Gather", x, [int(parts[i])], axis=i), [i])
    return x if isinstance(x, str) else g.node("Identity", x)


TABLE = {
    "linear": lambda g, x, w, b: g.node("Gemm", x, w, b, transB=1),
    "conv2d": conv2d, "conv2d_relu": conv2d_relu, "conv2d_pool_relu": conv2d_pool_relu,
    "max_pool2d": max_pool2d, "avg_pool2d": avg_pool2d, "adaptive_avg_pool2d": adaptive_avg_pool2d,
    "global_avg_pool2d": lambda g, x: g.reduce("ReduceMean", x, [2, 3], False),
    "batch_norm2d": batch_norm2d, "batch_norm2d_relu": batch_norm2d_relu, "l2_norm2d": l2_norm2d,
    "instance_norm2d": lambda g, x, gamma, beta, *, eps: g.node("InstanceNormalization", x, gamma, beta, epsilon=eps),
    "relu": same("Relu"), "sigmoid": same("Sigmoid"), "softmax": same("Softmax"), "exp": same("Exp"), "log": same("Log"),
    "relu6": lambda g, x: g.node("Clip", x, 0.0, 6.0),
    "leaky_relu": lambda g, x, *, slope: g.node("LeakyRelu", x, alpha=float(slope)),
    "concat": same("Concat"), "flatten": lambda g, x: g.node("Flatten", x, axis=1), "pad2d": pad2d,
    "upsample": upsample, "upsample_bilinear": upsample_bilinear, "roi_align": roi_align, "roi_pool": roi_pool,
    "add": same("Add"), "subtract": same("Sub"), "multiply": same("Mul"), "divide": same("Div"), "matmul": same("MatMul"),
    "power": lambda g, x, *, exponent: g.node("Pow", x, exponent),
    "reduce_sum": reduced("ReduceSum"), "reduce_mean": reduced("ReduceMean"), "reduce_max": reduced("ReduceMax"),
    "reshape": reshape, "transpose": transpose, "getitem": getitem,
}


def translation(op):
    """The function of the table for one of our ops; ValueError for any other, also one that only has the same name."""
    name = op.__name__
    if op is not getattr(ops, name, None) and op is not getattr(arithmetic, name, None):
        raise ValueError(f"op {name} of {op.__module__} is not one of minivision's: it has no translation to ONNX")
    if name in TABLE:
        return TABLE[name]
    if name in ONLY_IN_TRAINING:
        raise ValueError(f"op {name} belongs to training and has no translation to ONNX: export what answers, in evaluation")
    raise ValueError(f"op {name} has no translation to ONNX: it is missing; covered are {', '.join(TABLE)}")
