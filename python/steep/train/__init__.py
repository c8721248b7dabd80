"""Training at the high level: compile, fit, evaluate and predict on any Module."""

from .history import History
from .trainable import Trainable

__all__ = ["History", "Trainable"]
