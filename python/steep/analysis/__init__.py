"""How good a model is, and why: errors by the number of samples or by a parameter, and their parts bias and variance.

Models need ``fit(x, y)`` and ``predict(x)`` only. They are made anew for every fit, by a function, and each fit has its
own seed: the results are the same every time, and the random stream outside is where it was. Nothing is printed.
"""

from .bias_variance import BiasVariance, bias_variance
from .curves import LearningCurve, ValidationCurve, learning_curve, validation_curve

__all__ = ["BiasVariance", "LearningCurve", "ValidationCurve", "bias_variance", "learning_curve", "validation_curve"]
