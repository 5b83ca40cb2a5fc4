"""First values of the weights: random, and just large enough that signals neither die out nor blow up.

If y = Σ w·x over `fan_in` inputs, then Var(y) = fan_in·Var(w)·E(x²): a layer keeps the size of its signal when
Var(w) = 1/fan_in, and one behind a ReLU, which halves E(x²), when Var(w) = 2/fan_in.

Every initialiser takes a Generator and the shape, (O,I) or (O,C,K,L), and returns float32.
"""

import numpy as np


def fans(shape):
    """(fan_in, fan_out): how many inputs an output sums, and how many outputs an input reaches."""
    taps = int(np.prod(shape[2:]))
    return shape[1] * taps, shape[0] * taps


def he_normal(rng, shape):
    """Normal with variance 2/fan_in (He et al., ICCV 2015, equation 10): keeps E(y²) through ReLU layers."""
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / fans(shape)[0]))


def he_uniform(rng, shape):
    """Uniform in ±√(6/fan_in): the same variance 2/fan_in, without tails (He et al., ICCV 2015, equation 10)."""
    return uniform(rng, shape, np.sqrt(6 / fans(shape)[0]))


def glorot_uniform(rng, shape):
    """Uniform in ±√(6/(fan_in + fan_out)) (Glorot and Bengio, AISTATS 2010, equation 16): for sigmoid, tanh, softmax."""
    return uniform(rng, shape, np.sqrt(6 / sum(fans(shape))))


def small_normal(rng, shape):
    """Normal with deviation 0.01 (Krizhevsky et al., NIPS 2012, §5): for a last layer. All scores begin near 0, so a
    classifier's first loss is ln K, and one that is not points to a mistake."""
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(0.01)


def zeros(rng, shape):
    """Nothing: for the last layer of a detector. Every answer begins at exactly its bias, so the first loss is the one derived on
    paper (`ladder.chance`); the layers before it learn from the second step on."""
    return np.zeros(shape, np.float32)


def torch_bias(rng, shape, fan_in):
    """Uniform in ±1/√fan_in: what PyTorch gives biases; ours start at 0 unless asked."""
    return uniform(rng, shape, 1 / np.sqrt(fan_in))


def uniform(rng, shape, bound):
    return rng.uniform(-bound, bound, shape).astype(np.float32)
