"""Means over samples: of values, of a function, and perplexity."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import _core
from ..autograd import no_grad
from ..dtypes import float64
from ..ops import cross_entropy, log, not_equal, where
from ..ops._apply import as_tensor, is_operand
from ..tensor import Tensor
from .checks import check_probabilities, class_labels, operands, sample_weights
from .metric import Metric

__all__ = ["Averaged", "AveragedOverLabels", "Mean", "MeanOf", "Perplexity"]


class _Sums(Metric):
    """The sum of w·x and that of w."""

    def _add(self, values: Tensor, sample_weight: Any) -> None:
        if values.dtype.is_floating_point:
            values = _core.astype(values, float64)
        weight = sample_weights(self.name, sample_weight, values.shape, values)
        if weight is None:
            self.accumulate("sum", _core.sum(values, None, False))
            self.accumulate("weight", values.size)
        else:
            self.accumulate("sum", _core.sum(values * weight, None, False))
            self.accumulate(
                "weight", _core.sum(weight, None, False) * (values.size / weight.size if weight.size else 1.0)
            )

    def result(self) -> float:
        """The weighted mean so far; NaN of nothing."""
        weight = self.total("weight")
        return self.total("sum") / weight if weight else math.nan


class Mean(_Sums):
    """The mean of values of any shape, accumulated in float64.

    ``update_state(values, sample_weight=None)``: a number, an array or a Tensor. Raises ValueError for weights of
    another shape than the values', or than that of their first axes.

    >>> from steep import metrics
    >>> mean = metrics.Mean()
    >>> mean([1.0, 3.0]), mean(5.0)
    (2.0, 3.0)
    """

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Adds values, each with its weight or with 1."""
        self._add(as_tensor(values).detach(), sample_weight)


class Averaged(_Sums):
    """The mean of what ``values`` gives for each sample: the base of metrics that are such means.

    A subclass writes ``values(output, target)``: a Tensor whose first axis counts the samples. Without sample weights a
    0-d Tensor may be returned, the mean of the batch; it counts as often as there are samples.
    """

    @abstractmethod
    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """A value for each sample, or for each place within it; both tensors have no history."""

    def update_state(self, output: Any, target: Any, sample_weight: Any = None) -> None:
        """Adds a batch. ``sample_weight``: (N,), or the shape of the values.

        Raises ValueError for shapes that don't fit, TypeError for an output of integers against a target of floats.
        """
        output, target = operands(self.name, output, target)
        self._add(self.values(output, target), sample_weight)


class MeanOf(Averaged):
    """The mean of ``function(output, target)`` over samples.

    The function returns a Tensor with a value for each sample, (N,) or (N, …), or the mean of the batch as a 0-d one or
    a number: that counts N times, and can't be weighted (ValueError). Runs under ``no_grad``.

    >>> import steep as st
    >>> from steep import metrics
    >>> worst = metrics.MeanOf(lambda output, target: st.abs(output - target).max(1), name="worst")
    >>> worst(st.tensor([[1.0, 2.0], [3.0, 4.0]]), st.tensor([[1.0, 4.0], [3.0, 3.0]]))
    1.5
    """

    def __init__(self, function: Callable[[Any, Any], Any], name: str | None = None) -> None:
        super().__init__(getattr(function, "__name__", type(function).__name__) if name is None else name)
        self.function = function

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """The function's."""
        with no_grad():
            values = self.function(output, target)
        if not is_operand(values):
            raise TypeError(f"{self.name}: the function returned {values!r:.60}, neither a tensor nor a number")
        return as_tensor(values, output).detach()

    def update_state(self, output: Any, target: Any, sample_weight: Any = None) -> None:
        """Adds a batch; see ``Averaged``. Arguments that are no tensors are handed on as they are."""
        tensors = isinstance(output, Tensor) and isinstance(target, Tensor)
        values = self.values(*((output.detach(), target.detach()) if tensors else (output, target)))
        samples = _samples(output)
        if values.ndim:
            self._add(values, sample_weight)
        elif sample_weight is not None:
            raise ValueError(f"{self.name}: the function returned one mean: to weight samples, return a value for each")
        elif samples:  # the mean of no samples is NaN
            self.accumulate("sum", values.astype(float64) * samples)
            self.accumulate("weight", samples)


def _samples(output: Any) -> int:
    """The length of the first axis, of the first of several outputs."""
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, tuple) and output:
        return _samples(output[0])
    shape = np.shape(output) if not isinstance(output, Tensor) else output.shape
    return shape[0] if shape else 1


class AveragedOverLabels(Averaged):
    """The same for targets of classes. Labels equal to ``ignore_index``, such as padding, count for nothing."""

    def __init__(self, ignore_index: int | None = None, *, name: str | None = None) -> None:
        super().__init__(name)
        self.ignore_index = ignore_index

    def update_state(self, output: Any, target: Any, sample_weight: Any = None) -> None:
        """Adds a batch; ``sample_weight``: (N,), or the shape of the labels. Raises what ``Averaged`` does."""
        output, target = operands(self.name, output, target)
        if self.ignore_index is None or output.shape == target.shape:
            self._add(self.values(output, target), sample_weight)
            return
        kept = not_equal(target, self.ignore_index)
        weight = sample_weights(self.name, sample_weight, target.shape, output)
        values = self.values(output, where(kept, target, 0))
        self._add(where(kept, values.astype(float64), 0.0), kept if weight is None else kept * weight)


class Perplexity(AveragedOverLabels):
    """exp of the mean cross-entropy of class labels: the number of equally likely classes that is as uncertain.

    output: logits or log-probabilities (N, C) or (N, C, d1, …), classes along axis 1; probabilities with
    ``from_logits=False``. target: integer labels (N,) or (N, d1, …), or one-hot ones. Labels equal to ``ignore_index``
    count for nothing. Raises ValueError for labels out of range and shapes that don't fit, TypeError for float labels.

    >>> import steep as st
    >>> from steep import metrics
    >>> round(metrics.Perplexity()(st.zeros((2, 8)), st.tensor([0, 7])), 5)
    8.0
    """

    def __init__(self, ignore_index: int | None = None, from_logits: bool = True, *, name: str | None = None) -> None:
        super().__init__(ignore_index, name=name)
        self.from_logits = from_logits

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """−log of the probability of each label."""
        labels = class_labels(self.name, output, target)
        output = output.astype(float64)
        if not self.from_logits:
            check_probabilities(self.name, output)
            output = log(output)
        return cross_entropy(output, labels, "none")

    def result(self) -> float:
        """The perplexity so far; NaN of nothing, infinite if it exceeds what a float holds."""
        mean = super().result()
        return math.exp(mean) if not mean > 709.78 else math.inf  # log of the largest float64
