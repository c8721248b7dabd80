"""Why a model errs: because it is too simple on average, or because it depends on which samples it saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_count
from ..labels import Array, as_array, labels_of
from .predictions import Fitter, check_lengths, classes_of, generator, like
from .tables import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BiasVariance", "bias_variance"]


@dataclass(frozen=True, repr=False)
class BiasVariance:
    """What ``bias_variance`` returns: the error and its parts, means over the test points.

    ``loss`` is "squared" or "zero_one". ``predictions`` (rounds, …) are those of every model, ``main`` is what they
    say together, and ``…_at`` are the parts at each test point.

    For squared loss error = bias + variance + noise, where ``bias`` is squared; without ``truth`` the noise is part of
    the bias and is None here; with it, the equation holds on average over the noise. For 0-1 loss
    error = bias + unbiased_variance − biased_variance: variance harms where the main class is right, and helps where
    it is wrong.
    """

    loss: str
    predictions: Array
    main: Array
    error_at: Array
    bias_at: Array
    variance_at: Array
    noise: float | None = None
    unbiased_variance: float | None = None
    biased_variance: float | None = None

    @property
    def error(self) -> float:
        """The mean error of the models."""
        return float(self.error_at.mean())

    @property
    def bias(self) -> float:
        """The error of ``main``: its squared distance, or the share of points where it is wrong."""
        return float(self.bias_at.mean())

    @property
    def variance(self) -> float:
        """How far the models are from ``main``: the mean squared distance, or the share that says something else."""
        return float(self.variance_at.mean())

    def parts(self) -> dict[str, float]:
        """The parts by name; with a minus sign what is subtracted."""
        if self.loss == "squared":
            parts = {"bias²" if self.noise is not None else "bias² + noise": self.bias, "variance": self.variance}
            return parts if self.noise is None else {**parts, "noise": self.noise}
        assert self.unbiased_variance is not None
        assert self.biased_variance is not None
        return {
            "bias": self.bias,
            "variance where right": self.unbiased_variance,
            "variance where wrong": -self.biased_variance,
        }

    def __repr__(self) -> str:
        rows = [[name, f"{value:.4g}"] for name, value in {"error": self.error, **self.parts()}.items()]
        return table([f"{self.loss} loss", f"{len(self.predictions)} rounds"], rows)

    def plot(self, ax: Axes | None = None, path: Any = None) -> Axes:
        """A bar for the error and for each of its parts."""
        from ..plots.errors import error_parts

        return error_parts(self, ax, path)


def bias_variance(
    make_model: Callable[[], Any],
    x: Any,
    y: Any,
    x_test: Any,
    y_test: Any,
    *,
    rounds: int = 50,
    loss: str | None = None,
    truth: Any = None,
    threshold: float | None = None,
    seed: int = 0,
    **fit: Any,
) -> BiasVariance:
    """The test error's parts, by training ``rounds`` models on bootstrap samples of x and y.

    A bootstrap sample is as many rows as there are, drawn with replacement. ``loss`` is "squared" or "zero_one"; by
    default the second if ``y_test`` are classes. ``truth``, the test points' values without noise, splits squared
    loss' noise off its bias. ``make_model()`` returns a new model; ``fit`` are the arguments of its ``fit``;
    ``threshold``: see ``plots.decision_boundary``. Raises ValueError for other losses, lengths that differ, fewer than
    2 rounds, and "zero_one" without classes.

    Squared loss: Geman, Bienenstock and Doursat 1992. 0-1 loss: Domingos, A Unified Bias-Variance Decomposition, 2000,
    with the label as the optimal prediction (no noise); of classes with as many votes the first is the main one.

    >>> import numpy as np, steep as st
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(-1, 1, (60, 1))
    >>> y = np.sin(3 * x) + 0.1 * rng.normal(size=x.shape)
    >>> def make_model():
    ...     model = st.nn.Linear(1, 1)
    ...     model.compile(st.optim.Adam(model.parameters(), lr=0.1), "mse")
    ...     return model
    >>> split = st.analysis.bias_variance(make_model, x[:40], y[:40], x[40:], y[40:], rounds=10, epochs=40)
    >>> split.bias > split.variance  # a line is too simple for a sine
    True
    """
    x, y, x_test, y_test = map(as_array, (x, y, x_test, y_test))
    check_lengths("bias_variance", x, y)
    check_lengths("bias_variance: test data", x_test, y_test)
    labels = labels_of(y_test)
    loss = loss or ("squared" if labels is None else "zero_one")
    if loss not in ("squared", "zero_one"):
        raise ValueError(f"bias_variance: loss={loss!r} must be 'squared' or 'zero_one'")
    check_count("bias_variance: rounds", rounds, 2)  # one model has no variance
    if loss == "zero_one" and labels is None:
        raise ValueError("bias_variance: loss='zero_one' counts wrong classes: y_test must be labels or one-hot rows")
    if loss == "zero_one" and truth is not None:
        raise ValueError("bias_variance: truth is of use with loss='squared' only")
    rng = generator(seed)
    fitter = Fitter("bias_variance", make_model, fit)
    outputs = []
    for _ in range(rounds):
        rows = rng.integers(len(x), size=len(x))
        outputs.append(fitter(x[rows], y[rows], int(rng.integers(2**63)))(x_test))
    if labels is not None and loss == "zero_one":
        return _zero_one(np.array([classes_of(output, threshold) for output in outputs]), labels)
    return _squared(np.array([like(output, y_test) for output in outputs]), y_test, truth)


def _squared(predictions: Array, y: Array, truth: Any) -> BiasVariance:
    main = predictions.mean(0)
    target = y if truth is None else like(as_array(truth), y)
    noise = None if truth is None else float(np.mean((y - target) ** 2))

    def by_point(x: Array) -> Array:
        return x.reshape(*x.shape[: x.ndim - y.ndim + 1], -1).mean(-1)

    return BiasVariance(
        "squared",
        predictions,
        main,
        by_point((predictions - y) ** 2).mean(0),
        by_point((main - target) ** 2),
        by_point((predictions - main) ** 2).mean(0),
        noise,
    )


def _zero_one(predictions: Array, y: Array) -> BiasVariance:
    classes = np.unique(predictions)
    main = classes[(predictions == classes[:, None, None]).sum(1).argmax(0)]
    wrong = main != y
    variance = (predictions != main).mean(0)
    right_share = (predictions == y).mean(0)
    return BiasVariance(
        "zero_one",
        predictions,
        main,
        1 - right_share,
        wrong.astype(np.float64),
        variance,
        unbiased_variance=float((variance * ~wrong).mean()),
        biased_variance=float((right_share * wrong).mean()),
    )
