"""The confusion matrix."""

from __future__ import annotations

from typing import Any

from .. import _core
from ..checks import check_count
from ..dtypes import float64, int64
from ..ops import ones, zeros
from ..tensor import Tensor
from .checks import (
    check_probabilities,
    check_shapes,
    check_yes_no,
    class_labels,
    cut,
    labels_below,
    operands,
    sample_weights,
)
from .counts import ratio
from .metric import Metric

__all__ = ["ConfusionMatrix"]

NORMALIZE = ("true", "pred", "all", None)


class ConfusionMatrix(Metric):
    """How often each class was taken for each: row i, column j counts samples of class i with the answer j.

    output: scores (N, C) or (N, C, d1, …), of which the largest is the answer; or integers, the answers themselves; or,
    for ``num_classes=2``, probabilities of class 1, logits with ``from_logits``, compared with ``threshold``. target:
    integer labels, or one-hot ones of the output's shape. ``normalize``: divide by the sum of the row ("true"), of the
    column ("pred") or of "all", as in scikit-learn; what has no samples stays 0.

    The result is a Tensor (num_classes, num_classes): int64, float64 if there are weights or ``normalize``; zeros
    before the first sample. Raises ValueError for labels out of range and shapes that don't fit. On CUDA each update
    waits for the device, as labels are checked.

    >>> import steep as st
    >>> from steep import metrics
    >>> metrics.ConfusionMatrix(2)(st.tensor([0.9, 0.2, 0.7]), st.tensor([1, 1, 0]))
    tensor([[0, 1],
            [1, 1]])
    """

    def __init__(
        self,
        num_classes: int,
        normalize: str | None = None,
        *,
        threshold: float = 0.5,
        from_logits: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if normalize not in NORMALIZE:
            raise ValueError(f"{self.name}: normalize={normalize!r} must be one of {', '.join(map(repr, NORMALIZE))}")
        self.num_classes = check_count(f"{self.name}: num_classes", num_classes, 2)
        self.normalize = normalize
        self.threshold, self.from_logits = threshold, from_logits
        self._cut = cut(self.name, threshold, from_logits)

    def update_state(self, output: Any, target: Any, sample_weight: Any = None) -> None:
        """Adds a batch. ``sample_weight``: (N,), or the shape of the labels."""
        output, target = operands(self.name, output, target)
        answers, labels = self._answers(output, target)
        n = self.num_classes
        answers, labels = (labels_below(self.name, x, n, wait=True) for x in (answers, labels))
        weight = sample_weights(self.name, sample_weight, labels.shape, labels)
        if weight is None:
            weight = ones(labels.shape, dtype=float64, device=labels.device)
        else:
            self._state["weighted"] = 1
        flat = (labels.size,)
        weight = _core.reshape(_core.broadcast_to(weight, labels.shape), flat)
        cells = _core.full(float64, (n * n,), 0.0, labels.device)
        counts = _core.scatter_add_along_axis(cells, _core.reshape(labels * n + answers, flat), 0, weight)
        self.accumulate("counts", _core.reshape(counts, (n, n)))

    def _answers(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if not output.dtype.is_floating_point:
            check_shapes(self.name, output, target)
            return output, target
        if self.num_classes == 2 and output.shape == target.shape and (output.ndim < 2 or output.shape[1] == 1):
            if not self.from_logits:
                check_probabilities(self.name, output)
            check_yes_no(self.name, target)
            return _core.greater(output, self._cut), _core.greater(target, 0.5)
        if output.ndim > 1 and output.shape[1] > 1 and output.shape[1] != self.num_classes:
            raise ValueError(
                f"{self.name}: output of shape {output.shape} has {output.shape[1]} classes along axis 1, "
                f"not num_classes={self.num_classes}"
            )
        labels = class_labels(self.name, output, target)
        return _core.argmax(output, 1, False), labels

    def result(self) -> Tensor:
        """The matrix of all samples so far."""
        counts = self._state.get("counts")
        if not isinstance(counts, Tensor):
            counts = zeros((self.num_classes, self.num_classes), dtype=float64)
        if self.normalize is None:
            return _core.copy(counts) if "weighted" in self._state else counts.astype(int64)
        axis = {"true": 1, "pred": 0, "all": None}[self.normalize]
        return ratio(counts, counts.sum(axis, keepdims=True))
