"""Errors of predicted numbers, R², and the cosine of the angle to the target."""

from __future__ import annotations

import math
from typing import Any

from .. import _core
from ..devices import cpu
from ..dtypes import float64
from ..ops import cosine_similarity, to_device, where
from ..tensor import Tensor
from .checks import check_shapes, operands, sample_weights
from .means import Averaged
from .metric import Metric

__all__ = ["CosineSimilarity", "MeanAbsoluteError", "MeanSquaredError", "R2Score", "RootMeanSquaredError"]


def differences(name: str, output: Tensor, target: Tensor) -> Tensor:
    check_shapes(name, output, target)
    return output.astype(float64) - target.astype(float64)


class MeanSquaredError(Averaged):
    """The mean of (output − target)² over samples and outputs, in float64.

    Raises ValueError for shapes that differ.

    >>> from steep import metrics
    >>> metrics.MeanSquaredError()([1.0, 2.0], [1.0, 4.0])
    2.0
    """

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """The squared differences."""
        return differences(self.name, output, target).square()


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean of (output − target)² over all samples and outputs, in the target's units.

    Of several outputs scikit-learn gives the mean of each one's root instead.

    >>> from steep import metrics
    >>> metrics.RootMeanSquaredError()([1.0, 2.0, 3.0, 4.0], [1.0, 6.0, 3.0, 4.0])
    2.0
    """

    def result(self) -> float:
        """The root of the mean so far; NaN of nothing, or if weights below 0 make the mean so."""
        mean = super().result()
        return math.sqrt(mean) if mean >= 0 else math.nan


class MeanAbsoluteError(Averaged):
    """The mean of |output − target| over samples and outputs, in float64 and in the target's units.

    Raises ValueError for shapes that differ.

    >>> from steep import metrics
    >>> metrics.MeanAbsoluteError()([1.0, 2.0], [1.0, 4.0])
    1.0
    """

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """The absolute differences."""
        return differences(self.name, output, target).abs()


class CosineSimilarity(Averaged):
    """The mean cosine of the angle between output and target along an axis: 1 for equal directions, 0 beside zeros.

    Raises ValueError for shapes that differ, and for vectors along the axis of the samples.

    >>> from steep import metrics
    >>> metrics.CosineSimilarity()([[1.0, 0.0], [1.0, 1.0]], [[2.0, 0.0], [-1.0, 1.0]])
    0.5
    """

    def __init__(self, axis: int = -1, *, name: str | None = None) -> None:
        super().__init__(name)
        self.axis = axis

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """The cosines."""
        check_shapes(self.name, output, target)
        if output.ndim < 2 or self.axis in (0, -output.ndim):
            raise ValueError(
                f"{self.name}: axis {self.axis} of shape {output.shape} counts the samples: the vectors need another"
            )
        return cosine_similarity(output.astype(float64), target.astype(float64), self.axis)


class R2Score(Metric):
    """R² = 1 − Σ(target − output)² / Σ(target − mean target)²: 1 for a perfect fit, 0 for the mean as prediction.

    output and target: (N,), or (N, …) for several outputs. These become one number by ``multioutput``, as in
    scikit-learn: "uniform_average", "variance_weighted", or "raw_values" for a Tensor of all. A target that never
    changes has 1 if it is predicted exactly, else 0. NaN for fewer than two samples.

    Means and sums of squares are merged in float64 as by Chan, Golub and LeVeque 1979, relative to the first target, so
    that targets far from 0 lose no digits. Raises ValueError for shapes that differ.

    >>> from steep import metrics
    >>> metrics.R2Score()([1.0, 2.0, 4.0], [1.0, 2.0, 3.0])
    0.5
    """

    AVERAGES = ("uniform_average", "variance_weighted", "raw_values")

    def __init__(self, multioutput: str = "uniform_average", *, name: str | None = None) -> None:
        super().__init__(name)
        if multioutput not in self.AVERAGES:
            raise ValueError(f"{self.name}: multioutput={multioutput!r} must be one of {', '.join(self.AVERAGES)}")
        self.multioutput = multioutput

    def update_state(self, output: Any, target: Any, sample_weight: Any = None) -> None:
        """Adds a batch; ``sample_weight``: (N,)."""
        output, target = operands(self.name, output, target)
        check_shapes(self.name, output, target)
        samples = target.shape[0] if target.ndim else 1
        weight = sample_weights(self.name, sample_weight, (samples,), output)
        if weight is not None:
            weight = _core.reshape(weight, (samples, 1))
        if target.size == 0:
            return
        shape = samples, target.size // samples
        y = _core.reshape(_core.astype(target, float64), shape)
        squares = (y - _core.reshape(_core.astype(output, float64), shape)).square()
        state: dict[str, Any] = dict(self._state)
        if state and state["origin"].size != shape[1]:
            raise ValueError(
                f"{self.name}: this batch has {shape[1]} outputs, the batches before had {state['origin'].size}: "
                "call reset_state() before other data"
            )
        for key, value in state.items():
            if isinstance(value, Tensor) and value.device is not y.device:
                state[key] = to_device(value, y.device)
        origin = state["origin"] if state else _core.copy(y[0])
        y = y - origin
        count, total = _total(y, weight)
        mean = total * _reciprocal(count)
        _, spread = _total((y - mean).square(), weight)
        _, residual = _total(squares, weight)
        if state:
            before, shift = state["weight"], mean - state["mean"]
            share = count * _reciprocal(before + count)
            count = before + count
            mean = state["mean"] + shift * share
            spread = state["spread"] + spread + shift.square() * (before * share)
            residual = state["residual"] + residual
            samples += state["samples"]
        self._state = {
            "samples": samples,
            "weight": count,
            "origin": origin,
            "mean": mean,
            "spread": spread,
            "residual": residual,
        }

    def result(self) -> Any:
        """R² so far: a float, or a float64 Tensor for "raw_values"."""
        if self.total("samples") < 2:
            return math.nan
        residual, spread = self._state["residual"], self._state["spread"]
        assert isinstance(residual, Tensor)
        assert isinstance(spread, Tensor)
        constant = where(_core.equal(residual, 0.0), 1.0, 0.0).astype(float64)
        scores = where(_core.equal(spread, 0.0), constant, 1 - residual / where(_core.equal(spread, 0.0), 1.0, spread))
        if self.multioutput == "raw_values":
            return scores
        if self.multioutput == "variance_weighted" and bool((spread > 0).any()):
            return float((scores * spread).sum() / spread.sum())
        return float(scores.mean())


def _total(x: Tensor, weight: Tensor | None) -> tuple[Any, Tensor]:
    """The weight of the rows, a number where nobody has to wait for it, and their weighted sum."""
    if weight is None:
        return float(x.shape[0]), _core.sum(x, 0, False)
    count = _core.sum(weight, None, False)
    return _core.item(count) if count.device is cpu else count, _core.sum(x * weight, 0, False)


def _reciprocal(weight: Any) -> Any:
    """1 / weight, and 0 of 0: rows whose weights are 0 have no mean, nor need one."""
    if isinstance(weight, Tensor):
        none = _core.equal(weight, 0.0)
        return where(none, 0.0, 1 / where(none, 1.0, weight))
    return 1 / weight if weight else 0.0
