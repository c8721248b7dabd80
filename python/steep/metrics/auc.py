"""Areas under the ROC curve and the precision-recall curve."""

from __future__ import annotations

import math
from typing import Any

from .. import _core
from ..checks import check_count
from ..dtypes import float64, int64
from ..ops import (
    arange,
    concat,
    cumulative_sum,
    flip,
    isnan,
    not_equal,
    ones,
    reshape,
    sigmoid,
    softmax,
    stack,
    take,
    tensor,
    zeros,
)
from ..tensor import Tensor
from .checks import check_probabilities, check_shapes, check_yes_no, class_labels, operands, sample_weights
from .metric import Metric

__all__ = ["AUC"]

CURVES = ("ROC", "PR")


class AUC(Metric):
    """The area under the ROC curve: the chance that a yes scores higher than a no, ties counting half.

    With ``curve="PR"`` the average precision, Σ (Rₙ − Rₙ₋₁)·Pₙ over the thresholds, scikit-learn's
    ``average_precision_score``.

    output: scores (N,) or (N, 1) with targets of 0 and 1 in the same shape; or (N, C) with labels (N,) or one-hot
    targets: each class against the rest, by probabilities, which ``from_logits`` takes the softmax for; or (N, C) with
    ``multilabel=True`` and a yes/no question in each column. ``average``: "macro" is the mean of the columns, None is a
    Tensor of all. ``sample_weight``: (N,).

    By default every output is kept, and the area is exact. ``num_thresholds`` keeps counts alone: the area is that of
    the probabilities rounded down to so many equal steps (and on CUDA each update waits for the device).

    NaN before the first sample, of outputs with a NaN, and for a ROC curve without a yes or without a no, which the
    mean leaves out; 0 for a PR curve without a yes. Raises ValueError for shapes that don't fit, labels out of range,
    and, where probabilities are needed, outputs outside 0…1.

    >>> import steep as st
    >>> from steep import metrics
    >>> metrics.AUC()(st.tensor([0.1, 0.4, 0.35, 0.8]), st.tensor([0, 0, 1, 1]))
    0.75
    >>> metrics.AUC("PR")(st.tensor([0.1, 0.4, 0.35, 0.8]), st.tensor([0, 0, 1, 1]))
    0.8333333333333333
    """

    def __init__(
        self,
        curve: str = "ROC",
        *,
        num_thresholds: int | None = None,
        from_logits: bool = False,
        multilabel: bool = False,
        average: str | None = "macro",
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if curve not in CURVES:
            raise ValueError(f"{self.name}: curve={curve!r} must be 'ROC' or 'PR'")
        if average not in ("macro", None):
            raise ValueError(f"{self.name}: average={average!r} must be 'macro' or None")
        if num_thresholds is not None:
            num_thresholds = check_count(f"{self.name}: num_thresholds", num_thresholds, 2)
        self.curve, self.average, self.num_thresholds = curve, average, num_thresholds
        self.from_logits, self.multilabel = from_logits, multilabel

    def update_state(self, output: Any, target: Any, sample_weight: Any = None) -> None:
        """Adds a batch. ``sample_weight``: (N,)."""
        output, target = operands(self.name, output, target)
        samples = output.shape[0] if output.ndim else 1
        weight = sample_weights(self.name, sample_weight, (samples,), output)
        scores, yes = self._columns(output, target)
        if not samples:
            return
        before = self._state.get("scores")
        if isinstance(before, list) and before[0].shape[1] != scores.shape[1]:
            raise ValueError(
                f"{self.name}: this batch has {scores.shape[1]} columns, the batches before had {before[0].shape[1]}: "
                "call reset_state() before other data"
            )
        if weight is None:
            weight = ones(samples, dtype=float64, device=scores.device)
        if self.num_thresholds is not None:
            self._count(scores, yes, weight)
            return
        for key, value in (("scores", scores), ("yes", yes), ("weights", weight)):
            self.keep(key, _core.copy(value))

    def _columns(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and truth values (N, columns)."""
        if output.ndim > 2:
            raise ValueError(f"{self.name}: output of shape {output.shape} must be (N,) or (N, C): reshape both")
        counted = self.num_thresholds is not None
        columns = output.shape[1] if output.ndim > 1 else 1
        if columns == 1 or self.multilabel:
            check_shapes(self.name, output, target)
            check_yes_no(self.name, target)
            if counted and self.from_logits:
                output = sigmoid(output.astype(float64))
            elif counted:
                check_probabilities(self.name, output)
            return reshape(output, (-1, columns)), reshape(target > 0.5, (-1, columns))
        labels = class_labels(self.name, output, target)
        if self.from_logits:
            output = softmax(output.astype(float64), 1)
        else:
            check_probabilities(self.name, output)
        return output, stack([_core.equal(labels, i) for i in range(columns)], 1)

    def _count(self, scores: Tensor, yes: Tensor, weight: Tensor) -> None:
        steps = self.num_thresholds
        assert steps is not None
        # A NaN goes to step 0 for want of another, and makes the result NaN.
        places = _core.where(isnan(scores), 0.0, scores.astype(float64) * steps).astype(int64).clip(0, steps - 1)
        columns = scores.shape[1]
        if columns > 1:
            places = places + steps * arange(columns, device=scores.device)
        flat = (places.size,)
        for key, answers in (("yes", yes), ("no", ~yes)):
            weights = _core.reshape(answers.astype(float64) * weight.expand_dims(1), flat)
            cells = _core.full(float64, (columns * steps,), 0.0, scores.device)
            counts = _core.scatter_add_along_axis(cells, _core.reshape(places, flat), 0, weights)
            self.accumulate(f"{key}_counts", _core.reshape(counts, (columns, steps)))
        self.accumulate("nan", isnan(scores).sum())

    def result(self) -> Any:
        """The area so far: a float, or a float64 Tensor with one for each column if ``average`` is None."""
        if self.num_thresholds is None:
            areas = self._exact()
        elif not self._state or self.total("nan"):
            areas = []
        else:
            yes, no = (flip(self._state[key], 1) for key in ("yes_counts", "no_counts"))
            areas = [self._area(cumulative_sum(yes[i]), cumulative_sum(no[i])) for i in range(yes.shape[0])]
        if self.average is None and len(areas) > 1:
            return tensor(areas, dtype=float64)
        defined = [area for area in areas if not math.isnan(area)]
        return sum(defined) / len(defined) if defined else math.nan

    def _exact(self) -> list[float]:
        scores, yes, weights = (self.kept(key) for key in ("scores", "yes", "weights"))
        if scores is None or yes is None or weights is None or bool(isnan(scores).any()):
            return []
        areas = []
        for i in range(scores.shape[1]):
            column, order = _core.sort_with_indices(scores[:, i], 0, True)
            weight, answers = take(weights, order, 0), take(yes[:, i], order, 0)
            last = concat([not_equal(column[1:], column[:-1]), ones(1, dtype=yes.dtype, device=yes.device)])
            ends = _core.flat_nonzero(last)  # of runs of equal scores
            sums = (cumulative_sum(weight * answers), cumulative_sum(weight * ~answers))
            areas.append(self._area(*(take(x, ends, 0) for x in sums)))
        return areas

    def _area(self, hits: Tensor, false: Tensor) -> float:
        """Of the numbers of right and of false yeses at each threshold, the highest first."""
        yes, no = float(hits[-1]), float(false[-1])
        more = hits - concat([zeros(1, dtype=float64, device=hits.device), hits[:-1]])
        if self.curve == "PR":
            given = hits + false
            precision = hits / _core.where(_core.equal(given, 0.0), 1.0, given)
            return float((more * precision).sum()) / yes if yes else 0.0
        # Each yes is above the no's that are still to come, and half above those of its own score.
        before = concat([zeros(1, dtype=float64, device=false.device), false[:-1]])
        return float((more * (no - (before + false) / 2)).sum()) / (yes * no) if yes and no else math.nan
