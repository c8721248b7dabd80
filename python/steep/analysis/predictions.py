"""What a model's outputs and targets mean: classes or values, and how wrong they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import random
from ..labels import Array, as_array, labels_of
from ..nn import Module

__all__ = [
    "Error",
    "Fitter",
    "check_lengths",
    "classes_of",
    "error_function",
    "generator",
    "like",
]

Error = Callable[[Array, Array], float]


def generator(seed: int) -> np.random.Generator:
    """Not ``default_rng(seed)``: data made with that would be shuffled by its own numbers, and so sorted."""
    return np.random.default_rng((seed, 0x57EE9))


def check_lengths(caller: str, x: Array, y: Array, names: tuple[str, str] = ("x", "y")) -> None:
    """Raises ValueError unless both have a first axis of the same length, and not 0."""
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or not len(x):
        raise ValueError(
            f"{caller}: {names[0]} has shape {x.shape}, {names[1]} {y.shape}: both need a row for each sample, and at "
            "least one"
        )


def classes_of(output: Array, threshold: float | None = None) -> Array:
    """The class that each output (n, …) means.

    The largest of several columns; of one, whether it is above ``threshold``, which is by default ½ if all are
    probabilities, from 0 to 1, and 0, for logits, otherwise. Outputs that are labels already stay as they are. Raises
    ValueError for other shapes.
    """
    if output.ndim == 2 and output.shape[1] > 1:
        return output.argmax(1)
    if output.ndim == 0 or output.ndim > 2:
        raise ValueError(
            f"an output of shape {output.shape} has no classes: it must be (samples,) or (samples, classes)"
        )
    column = output.reshape(len(output))
    if column.dtype.kind != "f":
        return column
    if threshold is None:
        threshold = 0.5 if ((column >= 0) & (column <= 1)).all() else 0.0
    return (column > threshold).astype(np.int64)


def squared_error(output: Array, target: Array) -> float:
    """The mean of (output − target)²."""
    return float(np.mean((like(output, target) - target) ** 2))


def like(output: Array, target: Array) -> Array:
    """The output in the target's shape: (n, 1) and (n,) are the same. Raises ValueError for other differences."""
    if output.size != target.size or len(output) != len(target):
        raise ValueError(f"the model's output has shape {output.shape}, its target {target.shape}: they must be equal")
    return output.reshape(target.shape).astype(np.float64)


def error_function(error: Any, y: Array, threshold: float | None = None) -> tuple[Error, str]:
    """The error that ``error`` names or is, and what a plot calls it.

    By default "zero_one" where y are classes and "squared" elsewhere. Raises ValueError for an unknown name, and for
    classes that are none.
    """
    if error is None:
        error = "squared" if labels_of(y) is None else "zero_one"
    if callable(error):
        return lambda output, target: float(error(output, target)), getattr(error, "__name__", type(error).__name__)
    if error == "squared":
        return squared_error, "mean squared error"
    if error != "zero_one":
        raise ValueError(f"error={error!r} must be 'squared', 'zero_one' or a function(output, target)")
    if labels_of(y) is None:
        raise ValueError("error='zero_one' counts wrong classes: y must be labels, one-hot rows, or zeros and ones")
    return lambda output, target: float(np.mean(classes_of(output, threshold) != labels_of(target))), "share of errors"


class Fitter:
    """Makes a new model, and trains it on a random stream of its own."""

    def __init__(self, caller: str, make_model: Callable[..., Any], options: Mapping[str, Any]) -> None:
        if not callable(make_model):
            raise TypeError(
                f"{caller}: make_model must be a function that returns a new model, not {make_model!r:.60}: "
                "lambda: SteepClassifier(…), for example"
            )
        self.caller = caller
        self.make_model = make_model
        self.options = options  # for fit
        self._last: Any = None

    def __call__(self, x: Array, y: Array, seed: int, **parameters: Any) -> Callable[[Array], Array]:
        """The trained model's predict, with arrays. Raises ValueError if the model was trained before."""
        with random.fork(seed):
            model = self.make_model(**parameters)
            if model is self._last:
                raise ValueError(
                    f"{self.caller}: make_model must make a new model at every call, not return a trained one"
                )
            self._last = model
            quiet = {"verbose": 0} if isinstance(model, Module) else {}
            model.fit(x, y, **{**quiet, **self.options})
        return lambda rows: as_array(model.predict(rows))
