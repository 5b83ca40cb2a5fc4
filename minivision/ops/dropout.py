"""Dropout: leave out a random part of the activations, so that none can rely on another."""

from minivision.backend import array_module, as_rng
from minivision.tensor import op


@op
def dropout(x, *, rate, rng):
    """Set each entry to 0 with probability `rate`, and divide the rest by 1 − rate (Srivastava et al., JMLR 2014).

        y = x·m / (1 − rate)      dx = dy·m / (1 − rate)      m = 1 with probability 1 − rate, else 0      any shape

    The division keeps the mean, so evaluation needs no change: there, do not call this. rng: a Generator or a seed.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate is {rate}; expected 0 ≤ rate < 1")
    # Drawn in NumPy on every device: the same seed drops the same entries everywhere.
    kept = as_rng(rng).random(x.shape, dtype="float32") >= rate
    scale = array_module(x).asarray(kept).astype(x.dtype) * x.dtype.type(1 / (1 - rate))
    return x * scale, lambda dy: (dy * scale,)
