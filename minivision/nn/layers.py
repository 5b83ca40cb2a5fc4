"""The layers: an op with its parameters and options. The formulas stand in `minivision.ops`."""

import numpy as np

from minivision import ops
from minivision.backend import as_rng
from minivision.kernels.window import pair
from minivision.nn.initialisers import he_normal
from minivision.nn.module import Module
from minivision.tensor import Tensor


def parameter(values):
    return Tensor(np.asarray(values, np.float32), requires_grad=True)


class Linear(Module):
    """Fully-connected layer, `ops.linear`: (N,inputs) → (N,outputs). rng: a Generator or a seed."""

    def __init__(self, inputs, outputs, *, bias=True, rng, initialise=he_normal):
        inputs, outputs = pair("inputs", inputs, 1)[0], pair("outputs", outputs, 1)[0]
        self.weight = parameter(initialise(as_rng(rng), (outputs, inputs)))
        self.bias = parameter(np.zeros(outputs)) if bias else None

    def forward(self, x):
        return ops.linear(x, self.weight, self.bias)


class Conv2d(Module):
    """Convolution layer, `ops.conv2d`: (N,inputs,H,W) → (N,outputs,P,Q). size: K or (K,L). rng: a Generator or a seed."""

    def __init__(self, inputs, outputs, size, *, stride=1, padding=0, dilation=1, groups=1, bias=True, rng,
                 initialise=he_normal):
        for name, value in (("inputs", inputs), ("outputs", outputs), ("groups", groups)):
            pair(name, value, 1)
        if inputs % groups or outputs % groups:
            raise ValueError(f"{inputs} input and {outputs} output channels cannot be cut into {groups} equal groups")
        K, L = pair("size", size, 1)
        self.weight = parameter(initialise(as_rng(rng), (outputs, inputs // groups, K, L)))
        self.bias = parameter(np.zeros(outputs)) if bias else None
        self.options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def forward(self, x):
        return ops.conv2d(x, self.weight, self.bias, **self.options)


class ConvPoolReLU(Conv2d):
    """Convolution, 2×2 max-pooling and ReLU in one pass, `ops.conv2d_pool_relu`: the parameters are those of Conv2d."""

    def forward(self, x):
        return ops.conv2d_pool_relu(x, self.weight, self.bias, **self.options)


class ConvReLU(Conv2d):
    """Convolution and ReLU in one pass, `ops.conv2d_relu`: the parameters are those of Conv2d."""

    most = None         # 6 where `nn.fold` took a ReLU6 along

    def forward(self, x):
        return ops.conv2d_relu(x, self.weight, self.bias, **self.options, most=self.most)


class BatchNorm2d(Module):
    """Batch normalisation, `ops.batch_norm2d`, with running averages for evaluation.

        running ← (1 − momentum)·running + momentum·batch

    The running variance is the unbiased one (m/(m − 1) times the batch's), as in the paper's algorithm 2.
    """

    def __init__(self, channels, *, momentum=0.1, eps=1e-5):
        self.weight, self.bias = parameter(np.ones(channels)), parameter(np.zeros(channels))
        self.running_mean, self.running_var = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        self.momentum, self.eps = momentum, eps

    def forward(self, x):
        return ops.batch_norm2d(x, self.weight, self.bias, **self.statistics(x))

    def statistics(self, x):
        """The options of the op: in training what remembers the batch's statistics, in evaluation the running ones."""
        if not self.training:
            return {"mean": self.running_mean, "variance": self.running_var, "eps": self.eps}
        m = x.size // max(1, x.shape[1])

        def remember(mean, variance):
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (variance * (m / max(1, m - 1)) - self.running_var)

        return {"eps": self.eps, "observe": remember}


class BatchNormReLU(BatchNorm2d):
    """Batch normalisation, what a shortcut brings, and ReLU in one pass, `ops.batch_norm2d_relu`."""

    def forward(self, x, r=None):
        return ops.batch_norm2d_relu(x, self.weight, self.bias, r, **self.statistics(x))


class InstanceNorm2d(Module):
    """Instance normalisation, `ops.instance_norm2d`: the same in training and evaluation."""

    def __init__(self, channels, *, eps=1e-5):
        self.weight, self.bias, self.eps = parameter(np.ones(channels)), parameter(np.zeros(channels)), eps

    def forward(self, x):
        return ops.instance_norm2d(x, self.weight, self.bias, eps=self.eps)


class Dropout(Module):
    """`ops.dropout` in training, nothing in evaluation. The Generator is part of the layer, and of a checkpoint."""

    def __init__(self, rate=0.5, *, rng):
        if not 0 <= rate < 1:
            raise ValueError(f"rate is {rate}; expected 0 ≤ rate < 1")
        self.rate, self.rng = rate, as_rng(rng)

    def forward(self, x):
        return ops.dropout(x, rate=self.rate, rng=self.rng) if self.training and self.rate else x


class MaxPool2d(Module):
    """`ops.max_pool2d`."""

    def __init__(self, size, *, stride=None, padding=0, ceil=False):
        self.options = {"size": size, "stride": stride, "padding": padding, "ceil": ceil}

    def forward(self, x):
        return ops.max_pool2d(x, **self.options)


class AvgPool2d(Module):
    """`ops.avg_pool2d`."""

    def __init__(self, size, *, stride=None, padding=0, ceil=False, count_padding=False):
        self.options = {"size": size, "stride": stride, "padding": padding, "ceil": ceil,
                        "count_padding": count_padding}

    def forward(self, x):
        return ops.avg_pool2d(x, **self.options)


class AdaptiveAvgPool2d(Module):
    """`ops.adaptive_avg_pool2d`: (N,C,H,W) → (N,C,P,Q). size: P or (P,Q)."""

    def __init__(self, size):
        self.size = pair("size", size, 1)

    def forward(self, x):
        return ops.adaptive_avg_pool2d(x, size=self.size)


class GlobalAvgPool2d(Module):
    """`ops.global_avg_pool2d`: (N,C,H,W) → (N,C)."""

    def forward(self, x):
        return ops.global_avg_pool2d(x)


class Identity(Module):
    """Stands where a layer was whose work is done elsewhere."""

    def forward(self, x):
        return x


class ReLU(Module):
    """`ops.relu`."""

    def forward(self, x):
        return ops.relu(x)


class LeakyReLU(Module):
    """`ops.leaky_relu`."""

    def __init__(self, slope=0.01):
        self.slope = slope

    def forward(self, x):
        return ops.leaky_relu(x, slope=self.slope)


class ReLU6(Module):
    """`ops.relu6`."""

    def forward(self, x):
        return ops.relu6(x)


class Sigmoid(Module):
    """`ops.sigmoid`."""

    def forward(self, x):
        return ops.sigmoid(x)


class Flatten(Module):
    """`ops.flatten`: (N,C,H,W) → (N,C·H·W)."""

    def forward(self, x):
        return ops.flatten(x)


class Upsample(Module):
    """`ops.upsample`: nearest neighbour."""

    def __init__(self, factor=2):
        self.factor = factor

    def forward(self, x):
        return ops.upsample(x, factor=self.factor)
