"""Accuracy: the share of right answers, of classes and of yes/no questions."""

from __future__ import annotations

from .. import _core
from ..checks import check_count
from ..ops import where
from ..tensor import Tensor
from .checks import check_probabilities, check_shapes, check_yes_no, class_labels, cut, one_hot
from .means import Averaged, AveragedOverLabels

__all__ = [
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "SparseCategoricalAccuracy",
    "TopKCategoricalAccuracy",
]


def categorical_hits(name: str, output: Tensor, target: Tensor, one_hot: bool = True) -> Tensor:
    """Where the largest output along axis 1, the first of equal ones, is the target's class."""
    labels = class_labels(name, output, target, one_hot)
    return _core.equal(_core.argmax(output, 1, False), labels)


def binary_hits(name: str, output: Tensor, target: Tensor, cut: float = 0.5) -> Tensor:
    """Where "output above ``cut``" is what a target of 0 (or −1) or 1 says."""
    check_shapes(name, output, target)
    check_yes_no(name, target)
    yes = target if target.dtype.kind == "bool" else _core.greater(target, 0.5)
    return _core.equal(_core.greater(output, cut), yes)


def guessed_hits(name: str, output: Tensor, target: Tensor, cut: float = 0.5) -> Tensor:
    """Two or more outputs along axis 1 are scores of classes, one is an answer; integers are the predicted labels."""
    if output.ndim > 1 and output.shape[1] > 1:
        return categorical_hits(name, output, target)
    if output.dtype.is_floating_point:
        return binary_hits(name, output, target, cut)
    check_shapes(name, output, target)
    return _core.equal(output, target)


class Accuracy(Averaged):
    """The share of right answers, for classes or yes/no questions as the output's shape says.

    output (N, C) or (N, C, d1, …) with C > 1: scores of classes, as for ``CategoricalAccuracy``. Of one output per
    sample, (N,) or (N, 1): as for ``BinaryAccuracy``, but the outputs may be any numbers. Integers (N,) are predicted
    labels. Use ``BinaryAccuracy`` for several yes/no questions per sample.

    >>> import steep as st
    >>> from steep import metrics
    >>> accuracy = metrics.Accuracy()
    >>> accuracy(st.tensor([[0.1, 2.0], [0.3, -1.0]]), st.tensor([1, 1]))
    0.5
    """

    def __init__(self, threshold: float = 0.5, from_logits: bool = False, *, name: str | None = None) -> None:
        super().__init__(name)
        self.threshold, self.from_logits = threshold, from_logits
        self._cut = cut(self.name, threshold, from_logits)

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Whether each answer is right."""
        return guessed_hits(self.name, output, target, self._cut)


class BinaryAccuracy(Averaged):
    """The share of right answers to yes/no questions: yes is a probability above ``threshold``.

    output and target have one shape; targets are 0 (or −1) and 1, and soft ones are a yes above ½. With ``from_logits``
    the outputs are logits, and the threshold stays a probability. NaN is never a yes. Raises ValueError for shapes that
    differ, targets outside −1…1, and outputs outside 0…1 that are no logits.

    >>> import steep as st
    >>> from steep import metrics
    >>> metrics.BinaryAccuracy(from_logits=True)(st.tensor([-2.0, 0.4, 3.0]), st.tensor([0, 0, 1]))
    0.6666666666666666
    """

    def __init__(self, threshold: float = 0.5, from_logits: bool = False, *, name: str | None = None) -> None:
        super().__init__(name)
        self.threshold, self.from_logits = threshold, from_logits
        self._cut = cut(self.name, threshold, from_logits)

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Whether each answer is right."""
        if not self.from_logits:
            check_probabilities(self.name, output)
        return binary_hits(self.name, output, target, self._cut)


class CategoricalAccuracy(AveragedOverLabels):
    """The share of samples whose largest score, the first of equal ones, is that of the target's class.

    output: scores (N, C) or (N, C, d1, …): logits, log-probabilities or probabilities. target: integer labels (N,) or
    (N, d1, …), or one-hot or soft ones of the output's shape. Labels equal to ``ignore_index`` count for nothing. A NaN
    counts as the largest score. Raises ValueError for labels out of range and shapes that don't fit, TypeError for
    float labels.

    >>> import steep as st
    >>> from steep import metrics
    >>> metrics.CategoricalAccuracy()(st.tensor([[0.1, 2.0], [0.3, -1.0]]), st.tensor([[0, 1], [0, 1]]))
    0.5
    """

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Whether each answer is right."""
        return categorical_hits(self.name, output, target)


class SparseCategoricalAccuracy(AveragedOverLabels):
    """``CategoricalAccuracy`` for integer labels only: other targets raise ValueError.

    >>> import steep as st
    >>> from steep import metrics
    >>> metrics.SparseCategoricalAccuracy()(st.tensor([[0.1, 2.0], [0.3, -1.0]]), st.tensor([1, 0]))
    1.0
    """

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Whether each answer is right."""
        return categorical_hits(self.name, output, target, one_hot=False)


class TopKCategoricalAccuracy(AveragedOverLabels):
    """The share of samples for which fewer than ``k`` classes score higher than the target's.

    So classes that tie for place k all count as within it, as in Keras; scikit-learn takes the last of them only. A NaN
    counts as higher than any score. Arguments and errors are those of ``CategoricalAccuracy``; labels and one-hot
    targets both do. Raises ValueError unless k is a positive integer.

    >>> import steep as st
    >>> from steep import metrics
    >>> metrics.TopKCategoricalAccuracy(k=2)(st.tensor([[0.1, 2.0, 1.0], [3.0, 1.0, 2.0]]), st.tensor([2, 1]))
    0.5
    """

    def __init__(self, k: int = 5, ignore_index: int | None = None, *, name: str | None = None) -> None:
        super().__init__(ignore_index, name=name)
        self.k = check_count(f"{self.name}: k", k)

    def values(self, output: Tensor, target: Tensor) -> Tensor:
        """Whether each target is among the best k."""
        labels = class_labels(self.name, output, target)
        classes = output.shape[1]
        wanted = one_hot(self.name, labels, classes)
        score = _core.max(where(wanted, output, -float("inf")), 1, True)
        return _core.greater(_core.sum(_core.less_equal(output, score), 1, False), classes - self.k)
