"""Feature pyramid (Lin et al., CVPR 2017): coarse maps know what, fine maps know where; a path from coarse to fine joins them."""

from minivision import ops
from minivision.backend import as_rng
from minivision.nn import Conv2d, Module, Sequential
from minivision.nn.initialisers import he_uniform


class FPN(Module):
    """maps of strides s, 2s, 4s … with any channels → maps of the same strides, all with `width` channels
    (figure 3).

        inner_k = conv 1×1 (map_k) + upsample(inner_{k+1})        out_k = conv 3×3 (inner_k)

    Where a side is odd, the upsampled map is one too long and is cut. The parameters' names are torchvision's.
    """

    def __init__(self, channels, width=256, *, rng):
        rng = as_rng(rng)
        self.inner_blocks = [Sequential(Conv2d(C, width, 1, rng=rng, initialise=he_uniform)) for C in channels]
        self.layer_blocks = [Sequential(Conv2d(width, width, 3, padding=1, rng=rng, initialise=he_uniform)) for _ in channels]

    def forward(self, maps):
        inner = None
        found = []
        for m, across, smooth in reversed(list(zip(maps, self.inner_blocks, self.layer_blocks))):
            H, W = m.shape[2:]
            inner = across(m) if inner is None else across(m) + ops.upsample(inner)[:, :, :H, :W]
            found.append(smooth(inner))
        return found[::-1]


class WithFPN(Module):
    """A backbone and a pyramid on its maps. extra: one more map, every second pixel of the coarsest (Lin et al., §4.1)."""

    def __init__(self, body, width=256, *, extra=False, rng):
        self.body, self.fpn, self.extra = body, FPN(body.channels, width, rng=rng), extra
        self.strides = (*body.strides, 2 * body.strides[-1]) if extra else tuple(body.strides)
        self.channels = (width,) * len(self.strides)

    def forward(self, x):
        maps = self.fpn(self.body(x))
        return [*maps, maps[-1][:, :, ::2, ::2]] if self.extra else maps
