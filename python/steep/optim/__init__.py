"""Optimizers: each updates a whole model's parameters from their gradients, in one call into C++ a step."""

from .adam import Adam, AdamW
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
