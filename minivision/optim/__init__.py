"""Optimisers update parameters from gradients; schedules say how far to go at each step."""

from minivision.optim.clipping import clip_gradients
from minivision.optim.rules import SGD, Adam, AdamW
from minivision.optim.schedules import constant, cosine, step_decay, warm_up

__all__ = ["SGD", "Adam", "AdamW", "clip_gradients", "constant", "cosine", "step_decay", "warm_up"]
