"""What the metrics demand of their arguments. Values are looked at on the CPU only: on CUDA that would wait."""

from __future__ import annotations

import math
from typing import Any

from .. import _core
from ..checks import check_share
from ..devices import cpu
from ..dtypes import bool as boolean
from ..dtypes import float64, int64
from ..ops import arange, moveaxis
from ..ops._apply import as_tensor
from ..ops.losses import common
from ..tensor import Tensor

__all__: list[str] = []

ORDER = "the arguments are (output, target)"


def operands(name: str, output: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors without a history. Raises TypeError where they seem to be swapped."""
    output = as_tensor(output, target)
    target = as_tensor(target, output)
    if target.dtype.is_floating_point and not output.dtype.is_floating_point:
        raise TypeError(
            f"{name}: output is {output.dtype.name} and target {target.dtype.name}; {ORDER}, are they swapped? "
            "If not, convert the output with .astype"
        )
    return output.detach() if output.requires_grad else output, target.detach() if target.requires_grad else target


def check_shapes(name: str, output: Tensor, target: Tensor) -> None:
    """Raises ValueError unless they are equal."""
    common.check_shapes(name, output, target, ("output", "target"))


def class_labels(name: str, output: Tensor, target: Tensor, one_hot: bool = True) -> Tensor:
    """The integer labels of targets for scores whose classes are along axis 1: labels, or one-hot or soft ones."""
    shape = output.shape
    if len(shape) < 2 or shape[1] < 2:
        raise ValueError(
            f"{name}: output of shape {shape} has no scores of two or more classes along axis 1: for one output per "
            "question use binary_accuracy or another metric of yes/no questions; " + ORDER
        )
    if one_hot and target.shape == shape:
        return _core.argmax(target, 1, False)
    if target.shape == shape[:1] + shape[2:]:
        return labels_below(name, target, shape[1])
    wanted = f"labels have shape {shape[:1] + shape[2:]}" + (f" and one-hot targets {shape}" if one_hot else "")
    hint = f"; {ORDER}" if target.ndim > output.ndim else ""
    if target.shape == shape:
        hint = ": for one-hot targets use CategoricalAccuracy"
    if target.size * shape[1] == output.size:
        hint = f": reshape them with target.reshape({shape[:1] + shape[2:]})"
    raise ValueError(f"{name}: target of shape {target.shape} does not fit output of shape {shape}; {wanted}{hint}")


def labels_below(name: str, labels: Tensor, classes: int, wait: bool = False) -> Tensor:
    """Labels as int64. Raises TypeError for other dtypes, ValueError for labels out of range.

    The range is checked on CUDA only if ``wait``; otherwise a label that is no class is one that nothing equals.
    """
    if labels.dtype.kind == "bool":
        return labels.astype(int64)
    if wait or labels.device is cpu or labels.dtype.is_floating_point:
        return _core.checked_labels(name, labels, classes)
    return labels.astype(int64)


def one_hot(name: str, labels: Tensor, classes: int) -> Tensor:
    """Truth values with the classes along axis 1. Raises what ``labels_below`` does."""
    labels = labels_below(name, labels, classes)
    if labels.device is cpu:
        hot = _core.one_hot(labels, classes, boolean)
    else:  # the other checks the labels
        hot = _core.equal(_core.expand_dims(labels, labels.ndim), arange(classes, device=labels.device))
    return hot if hot.ndim < 3 else moveaxis(hot, -1, 1)


def check_yes_no(name: str, target: Tensor) -> None:
    """Raises ValueError for targets outside −1…1, NaN included: hinge losses want −1 for a no."""
    if target.dtype.kind == "bool" or target.device is not cpu or not target.size:
        return
    low, high = _core.item(_core.min(target, None, False)), _core.item(_core.max(target, None, False))
    if not (low >= -1 and high <= 1):
        raise ValueError(
            f"{name}: targets range from {low:g} to {high:g}, but those of yes/no questions are 0 (or -1) and 1 "
            "(for labels of several classes the output must have one score per class, shape (N, C))"
        )


def check_probabilities(name: str, output: Tensor) -> None:
    """Raises ValueError for probabilities outside 0…1. NaN passes: it is the training's business, and never a yes."""
    if output.dtype.kind == "bool" or output.device is not cpu or not output.size:
        return
    low, high = _core.item(_core.min(output, None, False)), _core.item(_core.max(output, None, False))
    if low < 0 or high > 1:
        hint = "for logits pass from_logits=True"
        if not output.dtype.is_floating_point:
            hint = "predicted labels of several classes need num_classes=, or the metric Accuracy"
        raise ValueError(f"{name}: outputs range from {low:g} to {high:g}, but probabilities lie in 0…1: {hint}")


def cut(name: str, threshold: float, from_logits: bool) -> float:
    """What an output is compared with: the threshold, or the logit of that probability."""
    check_share(f"{name}: threshold", threshold, "probability")
    if not from_logits or threshold == 0.5:
        return 0.0 if from_logits else threshold
    return math.log(threshold / (1 - threshold)) if 0 < threshold < 1 else math.copysign(math.inf, threshold - 0.5)


def sample_weights(name: str, weight: Any, shape: tuple[int, ...], beside: Tensor) -> Tensor | None:
    """Weights in float64 that broadcast to ``shape``: one for each sample, or for each place within it."""
    if weight is None:
        return None
    weight = _core.astype(as_tensor(weight, beside), float64)
    if weight.shape != shape[: weight.ndim]:
        raise ValueError(
            f"{name}: sample_weight of shape {weight.shape} does not fit {shape}: one weight for each sample has "
            f"shape {shape[:1]}"
        )
    return (
        weight if weight.ndim == len(shape) else _core.reshape(weight, weight.shape + (1,) * (len(shape) - weight.ndim))
    )
