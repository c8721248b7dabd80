"""Optimizers: each updates a whole model's parameters from their gradients.

SGD, Adam and AdamW do so in one call into C++ a step; the others are a few lines of tensor operations each.
"""

from typing import Any

from .. import hints
from . import schedules
from .adam import Adam, AdamW
from .adaptive import Adadelta, Adagrad, RMSprop
from .moments import LAMB, Adamax, Lion, NAdam
from .optimizer import Optimizer
from .sgd import SGD

__all__ = [
    "LAMB",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RMSprop",
    "schedules",
]


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module 'steep.optim' has no attribute {name!r}{hints.of_optimizer(name)}")
