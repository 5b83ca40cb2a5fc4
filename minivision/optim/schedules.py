"""Learning-rate schedules: functions of the step that return a factor for the learning rate.

    schedule = cosine(steps=1000, warm_up=50);      optimiser.lr = 0.1 · schedule(step)

They have no memory: the same step gives the same factor, also after a restart.
"""

from math import cos, pi


def constant():
    """Always 1."""
    return lambda step: 1.0


def step_decay(every, factor=0.1):
    """factor^⌊step/every⌋: a staircase."""
    at_least("every", every, 1)
    return lambda step: factor ** (step // every)


def warm_up(steps, then):
    """Rise from 1/steps to 1 during the first steps (Goyal et al., arXiv 1706.02677, §2.2), times the schedule `then`."""
    at_least("steps", steps, 1)
    return lambda step: min(1.0, (step + 1) / steps) * then(step)


def cosine(steps, warm_up=0, least=0.0):
    """Half a cosine from 1 to `least` over `steps` (Loshchilov and Hutter, ICLR 2017, equation 5, without restarts),
    after a linear rise over the first `warm_up` steps."""
    at_least("steps", steps, 1)

    def factor(step):
        if step < warm_up:
            return (step + 1) / warm_up
        progress = min(1.0, (step - warm_up) / max(1, steps - warm_up))
        return least + (1 - least) * (1 + cos(pi * progress)) / 2

    return factor


def at_least(name, value, least):
    if value < least:
        raise ValueError(f"{name} is {value}; expected a whole number ≥ {least}")
