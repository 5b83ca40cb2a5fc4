"""Every formula of the networks, each with its hand-written backward.

An op takes arrays or Tensors and returns a Tensor; `vjp(op, *arrays, **options)` gives value and backward on plain
arrays, without a tape. Arguments before the star are differentiated, arguments after it are options.
"""

from minivision.ops.activation import leaky_relu, relu, relu6, sigmoid, softmax
from minivision.ops.convolution import conv2d, conv2d_pool_relu, conv2d_relu
from minivision.ops.detector_loss import box_loss, class_loss, objectness_loss, squared_loss
from minivision.ops.dropout import dropout
from minivision.ops.linear import linear
from minivision.ops.loss import mse, sigmoid_cross_entropy, smooth_l1, softmax_cross_entropy
from minivision.ops.normalization import batch_norm2d, batch_norm2d_relu, instance_norm2d, l2_norm2d
from minivision.ops.pooling import adaptive_avg_pool2d, avg_pool2d, global_avg_pool2d, max_pool2d
from minivision.ops.resample import upsample, upsample_bilinear
from minivision.ops.roi import roi_align, roi_pool
from minivision.ops.shape import concat, flatten, pad2d

__all__ = ["leaky_relu", "relu", "relu6", "sigmoid", "softmax", "conv2d", "conv2d_relu", "conv2d_pool_relu", "dropout", "linear",
           "mse", "sigmoid_cross_entropy", "smooth_l1", "softmax_cross_entropy", "batch_norm2d", "batch_norm2d_relu",
           "instance_norm2d", "l2_norm2d", "adaptive_avg_pool2d", "avg_pool2d", "global_avg_pool2d", "max_pool2d", "roi_align",
           "roi_pool", "upsample", "upsample_bilinear", "concat", "flatten", "pad2d", "box_loss", "class_loss", "objectness_loss",
           "squared_loss"]
