"""Training at the high level: compile, fit, evaluate and predict on any Module."""

from .trainable import Trainable

__all__ = ["Trainable"]
