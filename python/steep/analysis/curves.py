"""Training and validation error by the number of samples, and by a parameter of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_count
from ..labels import Array, as_array, labels_of
from .predictions import Fitter, check_lengths, error_function, generator
from .tables import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LearningCurve", "ValidationCurve", "learning_curve", "validation_curve"]


@dataclass(frozen=True, repr=False)
class _Curve:
    training: Array  # errors, a row for each size or value, a column for each round
    validation: Array
    measure: str  # what the errors are

    def _table(self, name: str, labels: Sequence[str]) -> str:
        heads = [name, "training error", "validation error"]
        columns = [[_number(row) for row in errors] for errors in (self.training, self.validation)]
        return f"{self.measure}\n" + table(heads, [list(row) for row in zip(labels, *columns, strict=True)])


def _number(errors: Array) -> str:
    return f"{errors.mean():.4g}" + (f" ± {errors.std(ddof=1):.2g}" if len(errors) > 1 else "")


@dataclass(frozen=True, repr=False)
class LearningCurve(_Curve):
    """What ``learning_curve`` returns: ``sizes`` (s,), and the errors ``training`` and ``validation`` (s, rounds)."""

    sizes: Array

    def __repr__(self) -> str:
        return self._table("samples", [str(size) for size in self.sizes])

    def plot(self, ax: Axes | None = None, path: Any = None) -> Axes:
        """Both errors by the number of samples: their means over the rounds, and their range shaded."""
        from ..plots.errors import error_curves

        return error_curves(self, self.sizes.tolist(), "training samples", ax, path)


@dataclass(frozen=True, repr=False)
class ValidationCurve(_Curve):
    """What ``validation_curve`` returns: ``values`` of ``name``, and the errors by value (v, rounds).

    ``best`` is the value with the least mean validation error.
    """

    name: str
    values: tuple[Any, ...]

    @property
    def best(self) -> Any:
        """The value with the least mean validation error; the first of equals."""
        return self.values[int(self.validation.mean(1).argmin())]

    def __repr__(self) -> str:
        return self._table(self.name, [str(value) for value in self.values])

    def plot(self, ax: Axes | None = None, path: Any = None) -> Axes:
        """The same by the value. What spans two decades or more, errors or values, has a logarithmic axis."""
        from ..plots.errors import error_curves

        return error_curves(self, self.values, self.name, ax, path)


def learning_curve(
    make_model: Callable[[], Any],
    x: Any,
    y: Any,
    sizes: Iterable[float] = (0.1, 0.325, 0.55, 0.775, 1.0),
    *,
    validation_data: tuple[Any, Any] | None = None,
    validation_split: float = 0.25,
    rounds: int = 1,
    error: Any = None,
    threshold: float | None = None,
    seed: int = 0,
    **fit: Any,
) -> LearningCurve:
    """Training and validation error of models that are trained on more and more samples.

    More samples help where the two are far apart; where they have met, only another model does. ``make_model()``
    returns a new model, compiled if it is steep's. ``sizes`` are numbers of samples, or, if they are floats, shares of
    those there are. In each of ``rounds`` the samples are shuffled, ``validation_split`` of them are held out (unless
    ``validation_data`` = (x, y) is given), and the first of the others are trained on, so that smaller sets are parts
    of larger ones; classes are in proportion everywhere.

    ``error`` is "squared", "zero_one", or a function(output, target) of arrays; by default the share of wrong classes
    if y are classes, else the mean squared error. ``threshold``: see ``plots.decision_boundary``. ``fit`` are the
    arguments of ``model.fit``. Raises ValueError for sizes out of range and lengths that differ.

    >>> import numpy as np, steep as st
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 2))
    >>> y = (x.sum(1) > 0).astype(int)
    >>> def make_model():
    ...     model = st.nn.Sequential(st.nn.Linear(2, 8, activation="tanh"), st.nn.Linear(8, 2))
    ...     model.compile("adam", "cross_entropy")
    ...     return model
    >>> curve = st.analysis.learning_curve(make_model, x, y, [10, 150], epochs=50)
    >>> curve.validation.shape, curve.measure
    ((2, 1), 'share of errors')
    >>> bool(curve.validation[1] < curve.validation[0])
    True
    """
    parts = _parts("learning_curve", x, y, validation_data, validation_split, rounds, seed)
    sizes = list(sizes)
    most = len(parts[0][0])
    counts = [int(np.ceil(size * most)) if isinstance(size, float | np.floating) else int(size) for size in sizes]
    if not counts or min(counts) < 1 or max(counts) > most:
        raise ValueError(
            f"learning_curve: sizes={sizes} must be from 1 to the {most} samples there are to train on, or shares of "
            "them up to 1.0"
        )
    measure, name = error_function(error, as_array(y), threshold)
    fitter = Fitter("learning_curve", make_model, fit)
    training, validation = np.empty((2, len(counts), rounds))
    for r, (x_train, y_train, x_held, y_held, own_seed) in enumerate(parts):
        for i, count in enumerate(counts):
            predict = fitter(x_train[:count], y_train[:count], own_seed)
            training[i, r] = measure(predict(x_train[:count]), y_train[:count])
            validation[i, r] = measure(predict(x_held), y_held)
    return LearningCurve(training, validation, name, np.array(counts))


def validation_curve(
    make_model: Callable[..., Any],
    name: str,
    values: Iterable[Any],
    x: Any,
    y: Any,
    *,
    validation_data: tuple[Any, Any] | None = None,
    validation_split: float = 0.25,
    rounds: int = 1,
    error: Any = None,
    threshold: float | None = None,
    seed: int = 0,
    **fit: Any,
) -> ValidationCurve:
    """Training and validation error of models that differ in one parameter: their size, a rate, a weight decay.

    ``make_model(**{name: value})`` returns a new model. Where the training error still falls and the validation error
    rises, the model is too large for the data. The other arguments are those of ``learning_curve``; all values meet
    the same samples and seeds. Raises ValueError without values, and see ``learning_curve``.

    >>> import numpy as np, steep as st
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> y = x**2 + 0.1 * np.random.default_rng(0).normal(size=(40, 1))
    >>> def make_model(units):
    ...     model = st.nn.Sequential(st.nn.Linear(1, units, activation="tanh"), st.nn.Linear(units, 1))
    ...     model.compile(st.optim.Adam(model.parameters(), lr=0.05), "mse")
    ...     return model
    >>> st.analysis.validation_curve(make_model, "units", [1, 8], x, y, epochs=60).best
    8
    """
    parts = _parts("validation_curve", x, y, validation_data, validation_split, rounds, seed)
    values = tuple(values)
    if not values:
        raise ValueError(f"validation_curve: there are no values of {name}")
    measure, measure_name = error_function(error, as_array(y), threshold)
    fitter = Fitter("validation_curve", make_model, fit)
    training, validation = np.empty((2, len(values), rounds))
    for r, (x_train, y_train, x_held, y_held, own_seed) in enumerate(parts):
        for i, value in enumerate(values):
            predict = fitter(x_train, y_train, own_seed, **{name: value})
            training[i, r] = measure(predict(x_train), y_train)
            validation[i, r] = measure(predict(x_held), y_held)
    return ValidationCurve(training, validation, measure_name, name, values)


def _parts(
    caller: str, x: Any, y: Any, validation_data: Any, validation_split: float, rounds: int, seed: int
) -> list[tuple[Array, Array, Array, Array, int]]:
    """For each round: training data, validation data, and a seed."""
    x, y = as_array(x), as_array(y)
    check_lengths(caller, x, y)
    check_count(f"{caller}: rounds", rounds)
    if validation_data is not None:
        x_given, y_given = map(as_array, validation_data)
        check_lengths(f"{caller}: validation_data", x_given, y_given)
        count = 0
    else:
        count = round(validation_split * len(x)) if 0 < validation_split < 1 else 0
        if not 0 < count < len(x):
            raise ValueError(f"{caller}: validation_split={validation_split} of {len(x)} samples leaves one part empty")
    rng = generator(seed)
    parts = []
    for _ in range(rounds):
        order = _shuffled(labels_of(y), len(x), rng)
        rest = order[count:]
        x_held, y_held = (x[order[:count]], y[order[:count]]) if count else (x_given, y_given)
        parts.append((x[rest], y[rest], x_held, y_held, int(rng.integers(2**63))))
    return parts


def _shuffled(labels: Array | None, n: int, rng: np.random.Generator) -> Array:
    """The numbers of n samples in a random order, any stretch of which has the classes in proportion."""
    key = rng.random(n)
    for label in () if labels is None else np.unique(labels):
        rows = np.flatnonzero(labels == label)
        key[rows] = (rng.permutation(len(rows)) + key[rows]) / len(rows)
    return np.argsort(key, kind="stable")
