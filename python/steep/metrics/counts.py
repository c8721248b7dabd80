"""Precision, recall and F1: ratios of the numbers of right, given and wanted answers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from .. import _core
from ..checks import check_count
from ..dtypes import float64
from ..ops import full, where
from ..tensor import Tensor
from .checks import (
    check_probabilities,
    check_shapes,
    check_yes_no,
    class_labels,
    cut,
    one_hot,
    operands,
    sample_weights,
)
from .metric import Metric

__all__ = ["F1Score", "Precision", "Recall"]

AVERAGES = ("macro", "micro", "weighted", None)


class _Counts(Metric):
    """How often each class was given rightly, was given, and was wanted."""

    def __init__(
        self,
        average: str | None = "macro",
        *,
        threshold: float = 0.5,
        from_logits: bool = False,
        multilabel: bool = False,
        num_classes: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if average not in AVERAGES:
            raise ValueError(f"{self.name}: average={average!r} must be one of {', '.join(map(repr, AVERAGES))}")
        self.average, self.threshold, self.from_logits = average, threshold, from_logits
        self.multilabel = multilabel
        self.num_classes = None if num_classes is None else check_count(f"{self.name}: num_classes", num_classes, 2)
        self._cut = cut(self.name, threshold, from_logits)

    def update_state(self, output: Any, target: Any, sample_weight: Any = None) -> None:
        """Adds a batch. ``sample_weight``: (N,), or the shape of the labels."""
        output, target = operands(self.name, output, target)
        given, wanted = self._answers(output, target)
        shape = given.shape
        places = shape[:1] + shape[2:]
        weight = sample_weights(self.name, sample_weight, places, given)
        if not given.size:
            return
        if weight is not None and len(shape) > 1:
            weight = _core.expand_dims(weight, 1)  # the classes are there
        axes = None if len(shape) < 2 or shape[1] == 1 else tuple(i for i in range(len(shape)) if i != 1)
        for key, answers in (("hits", _core.bitwise_and(given, wanted)), ("given", given), ("wanted", wanted)):
            self.accumulate(
                key, _core.sum(answers if weight is None else _core.astype(answers, float64) * weight, axes, False)
            )
        if not self.multilabel and axes is not None:
            self._state["exclusive"] = 1  # of which classes that never occur are no part of the mean

    def _answers(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The answers that were given and wanted, as truth values of one shape; several classes are along axis 1."""
        single = output.ndim < 2 or output.shape[1] == 1
        if not output.dtype.is_floating_point and self.num_classes is not None:
            check_shapes(self.name, output, target)
            return one_hot(self.name, output, self.num_classes), one_hot(self.name, target, self.num_classes)
        if single or self.multilabel:
            if not self.from_logits:
                check_probabilities(self.name, output)
            check_shapes(self.name, output, target)
            check_yes_no(self.name, target)
            return _core.greater(output, self._cut), _core.greater(target, 0.5)
        labels = class_labels(self.name, output, target)
        answers = _core.argmax(output, 1, False)
        return one_hot(self.name, answers, output.shape[1]), one_hot(self.name, labels, output.shape[1])

    def result(self) -> Any:
        """The metric so far: a float, or a float64 Tensor with a number for each class if ``average`` is None."""
        if not self._state:
            return float("nan")
        hits, given, wanted = (_vector(self._state.get(key, 0.0)) for key in ("hits", "given", "wanted"))
        if self.average == "micro":
            hits, given, wanted = (x.sum(0, keepdims=True) for x in (hits, given, wanted))
        scores = self.score(hits, given, wanted)
        if self.average is None and scores.size > 1:
            return scores
        weight = _core.greater(given + wanted, 0.0) if "exclusive" in self._state else None
        if self.average == "weighted" and scores.size > 1:
            weight = wanted
        return float(scores.mean() if weight is None else ratio((scores * weight).sum(), weight.sum().astype(float64)))

    @abstractmethod
    def score(self, hits: Tensor, given: Tensor, wanted: Tensor) -> Tensor:
        """The metric of each class."""


def _vector(total: Any) -> Tensor:
    return total if isinstance(total, Tensor) and total.ndim else full(1, float(total), dtype=float64)


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b is 0."""
    none = _core.equal(b, 0.0)
    return where(none, 0.0, a / where(none, 1.0, b))


class Precision(_Counts):
    """The share of right answers among those given: true positives / (true + false positives); 0 if none was given.

    What the outputs are is seen from the shapes:

    - (N,) or (N, 1), target of the same shape: yes/no questions. Yes is a probability above ``threshold``, or with
      ``from_logits`` a logit whose probability is. The metric is that of yes.
    - (N, C) or (N, C, d1, …), target of integer labels (N,) or (N, d1, …), or one-hot: scores of classes, of which the
      largest is the answer.
    - the same with ``multilabel=True``, target of the same shape: a yes/no question in each column.
    - integers with ``num_classes``: predicted labels, and the target's, of one shape.

    ``average`` of the classes, as in scikit-learn: "macro" is the mean of the classes that occurred in output or target
    (with ``multilabel`` of all), "weighted" that by the classes' occurrences in the target, "micro" is of all answers
    together, None is a Tensor with each class's number. NaN before the first sample.

    Raises ValueError for shapes that don't fit, labels out of range, and outputs outside 0…1 that are no logits.

    >>> import steep as st
    >>> from steep import metrics
    >>> metrics.Precision()(st.tensor([0.9, 0.8, 0.7, 0.2]), st.tensor([1, 0, 1, 1]))
    0.6666666666666666
    >>> metrics.Precision(average=None)(st.eye(3)[[0, 1, 1]], st.tensor([0, 1, 2]))
    tensor([1. , 0.5, 0. ], dtype=float64)
    """

    def score(self, hits: Tensor, given: Tensor, wanted: Tensor) -> Tensor:
        """hits / given."""
        return ratio(hits, given)


class Recall(_Counts):
    """The share of wanted answers that were given: true positives / (true positives + false negatives); 0 of none.

    Arguments, shapes and errors are those of ``Precision``.

    >>> import steep as st
    >>> from steep import metrics
    >>> metrics.Recall()(st.tensor([0.9, 0.8, 0.7, 0.2]), st.tensor([1, 0, 1, 1]))
    0.6666666666666666
    >>> metrics.Recall(from_logits=True)(st.tensor([2.0, -1.0]), st.tensor([1, 1]))
    0.5
    """

    def score(self, hits: Tensor, given: Tensor, wanted: Tensor) -> Tensor:
        """hits / wanted."""
        return ratio(hits, wanted)


class F1Score(_Counts):
    """The harmonic mean of precision and recall: 2·hits / (given + wanted); 0 if nothing was given or wanted.

    Arguments, shapes and errors are those of ``Precision``; ``average="macro"`` is the mean of the classes' F1.

    >>> import steep as st
    >>> from steep import metrics
    >>> metrics.F1Score()(st.tensor([0.9, 0.8, 0.1, 0.2]), st.tensor([1, 0, 0, 1]))
    0.5
    """

    def score(self, hits: Tensor, given: Tensor, wanted: Tensor) -> Tensor:
        """2·hits / (given + wanted)."""
        return ratio(2 * hits, given + wanted)
