"""UltraFace: two published SSDs that find faces with a quarter of a million parameters (Linzaer 2019,
"Ultra-Light-Fast-Generic-Face-Detector-1MB"; the RFB module: Liu et al., ECCV 2018, "Receptive field block net", figure 4)."""

from minivision import ops
from minivision.backend import as_rng
from minivision.models.ssd import SSD
from minivision.nn import BatchNorm2d, BatchNormReLU, Conv2d, ConvReLU, Module, Sequential, Stages

SHAPES = [[(s, s) for s in sizes] for sizes in ((10, 16, 24), (32, 48), (64, 96), (128, 192))]
SHAPES[3].append((256, 240))                            # 256 pixels, but no higher than the image


def conv_bn(inputs, outputs, stride, rng):
    return Sequential(Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False, rng=rng), BatchNormReLU(outputs))


def separable(inputs, outputs, stride, rng):
    """depthwise conv 3×3 → batch norm → ReLU → conv 1×1 → batch norm → ReLU. Names count the ReLU, as the published ones do."""
    return Sequential({"0": Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False, rng=rng),
                       "1": BatchNormReLU(inputs), "3": Conv2d(inputs, outputs, 1, bias=False, rng=rng),
                       "4": BatchNormReLU(outputs)})


def separable_head(inputs, outputs, stride=1, *, rng):
    """depthwise conv 3×3 → ReLU → conv 1×1."""
    return Sequential({"0": ConvReLU(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, rng=rng),
                       "2": Conv2d(inputs, outputs, 1, rng=rng)})


class ConvNorm(Module):
    """conv → batch norm, and ReLU where `rectified`."""

    def __init__(self, inputs, outputs, size, *, dilation=1, rectified=False, rng):
        self.conv = Conv2d(inputs, outputs, size, padding=dilation * (size // 2), dilation=dilation, bias=False, rng=rng)
        self.bn = BatchNormReLU(outputs) if rectified else BatchNorm2d(outputs)

    def forward(self, x):
        return self.bn(self.conv(x))


class RFB(Module):
    """y = ReLU(conv 1×1 of three branches side by side + conv 1×1 (x)): each branch ends in a 3×3 filter with holes, of dilation
    2, 3 and 5, so that one place sees near and far at once, as eyes do."""

    def __init__(self, channels, *, rng):
        inner = channels // 8
        thin = lambda: ConvNorm(channels, inner, 1, rng=rng)
        full = lambda i, o: ConvNorm(i, o, 3, rectified=True, rng=rng)
        wide = lambda dilation: ConvNorm(2 * inner, 2 * inner, 3, dilation=dilation, rng=rng)
        self.branch0 = Sequential(thin(), full(inner, 2 * inner), wide(2))
        self.branch1 = Sequential(thin(), full(inner, 2 * inner), wide(3))
        self.branch2 = Sequential(thin(), full(inner, inner * 3 // 2), full(inner * 3 // 2, 2 * inner), wide(5))
        self.ConvLinear, self.shortcut = ConvNorm(6 * inner, channels, 1, rng=rng), ConvNorm(channels, channels, 1, rng=rng)

    def forward(self, x):
        branches = ops.concat(self.branch0(x), self.branch1(x), self.branch2(x))
        return ops.relu(self.ConvLinear(branches) + self.shortcut(x))


class UltraFaceFeatures(Module):
    """x (N,3,240,320) → maps of 30×40, 15×20, 8×10 and 4×5 places with 64, 128, 256, 256 channels. rfb: the module in place of a
    layer. Their authors lay the default boxes evenly over the image, so that a row of the third map is 30 pixels high, not 32."""

    strides, channels = (8, 16, (30, 32), (60, 64)), (64, 128, 256, 256)

    def __init__(self, rfb, *, rng):
        plan = ((16, 32, 1), (32, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1), (64, 64, 1),
                (64, 128, 2), (128, 128, 1), (128, 128, 1), (128, 256, 2), (256, 256, 1))
        layers = [conv_bn(3, 16, 2, rng), *(separable(*sizes, rng) for sizes in plan)]
        if rfb:
            layers[7] = RFB(64, rng=rng)
        self.base_net = Stages({str(i): layer for i, layer in enumerate(layers)}, ends=("7", "10", "12"))
        self.extras = [Sequential({"0": ConvReLU(256, 64, 1, rng=rng), "2": separable_head(64, 256, 2, rng=rng)})]

    def forward(self, x):
        if x.shape[2:] != (240, 320):
            raise ValueError(f"the images' frame is {x.shape[2:]}; UltraFace takes images of 240×320: stretch them")
        maps = self.base_net(x)
        return [*maps, ops.relu(self.extras[0](maps[-1]))]


class UltraFace(SSD):
    """SSD on four maps, 4420 default boxes in an image of 240×320, one class; its first three heads are separable convolutions."""

    least, suppression, most = 0.01, 0.3, 100

    def __init__(self, rfb=False, *, rng=0):
        rng = as_rng(rng)
        super().__init__(UltraFaceFeatures(rfb, rng=rng), SHAPES, 1, stride=16, rng=rng)
        for heads, numbers in ((self.class_heads, 2), (self.box_heads, 4)):
            heads[:3] = [separable_head(C, len(level) * numbers, rng=rng)
                         for C, level in zip(self.features.channels[:3], self.shapes)]


def ultraface_slim(*, rng=0):
    """260 188 parameters; 264 757 numbers with the running averages."""
    return UltraFace(rng=rng)


def ultraface_rfb(*, rng=0):
    """276 292 parameters; 281 135 numbers with the running averages."""
    return UltraFace(rfb=True, rng=rng)
