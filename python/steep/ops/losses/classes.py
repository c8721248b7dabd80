"""Losses of classes: scores along a class axis against labels, or against probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ... import _core, autocasting
from ..._core import is_recording, record
from ...checks import check_share, shown
from ...tensor import Tensor
from .. import elementwise, indexing, logic, manipulation, rearrange, rows
from .. import reduction as reductions
from .._apply import as_tensor, as_tensors
from .common import (
    SWAPPED,
    check_input,
    check_order,
    check_probabilities,
    divisor,
    extremes,
    flat,
    hinge,
    reduced,
    warn_double,
)

__all__ = [
    "cross_entropy",
    "multi_margin_loss",
    "nll_loss",
]


def cross_entropy(
    input: Any,
    target: Any,
    reduction: str = "mean",
    axis: int = 1,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """−log softmax(input)[target]: cross-entropy of logits along the class axis.

    input: (N, C), (C,), or (N, C, d1, …); ``axis`` is the class axis (the last one for (C,)).
    target: integer labels in 0…C − 1, of input's shape without the class axis, or class probabilities of input's shape.

    ``weight`` (C,) multiplies the loss of each class; of labels, the mean is then the weighted one, divided by the sum
    of the labels' weights. Labels equal to ``ignore_index`` count for nothing (none by default; PyTorch's default is
    −100). ``label_smoothing`` mixes that share of the uniform distribution into the targets (Szegedy et al. 2016,
    arXiv:1512.00567).

    Raises ValueError for labels out of range, probabilities outside [0, 1] and shapes that don't fit, TypeError for
    float labels.

    >>> import steep as st
    >>> st.cross_entropy(st.tensor([[2.0, 2.0]]), st.tensor([1]))
    tensor(0.6931472)
    >>> st.cross_entropy(st.zeros(3, 2), st.tensor([1, 0, -100]), "none", ignore_index=-100)
    tensor([0.6931472, 0.6931472, 0.       ])
    """
    plain = weight is None and ignore_index is None and not label_smoothing
    if plain and reduction == "mean" and axis == 1:
        loss = _core.mean_cross_entropy(input, target)
        if loss is not None:
            return loss
    input = as_tensor(input, target)
    target = as_tensor(target, input)
    shape = input.shape
    axis = _class_axis("cross_entropy", "input (logits)", input, axis)
    classes = shape[axis]
    if (node := input._node) is not None and node.vjp is rows._softmax_vjp:
        warn_double("cross_entropy", "softmax", "softmax")
    if autocasting.blocks:
        input = autocasting.in_float32(input)
    if not plain or target.shape == shape:
        return _general_cross_entropy(input, target, reduction, axis, weight, ignore_index, label_smoothing)
    logits, labels, places = _lines("cross_entropy", input, target, axis)
    try:
        labels = _core.checked_labels("cross_entropy", labels, classes)
    except ValueError as error:
        raise _explained(error, labels, classes) from None
    loss = _fused(logits, labels, divisor("cross_entropy", labels.size, reduction))
    return manipulation.reshape(loss, places) if reduction == "none" else loss


def _fused(
    logits: Tensor,
    labels: Tensor,
    divisor: float | None,
    weights: Tensor | None = None,
    total: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """The loss of each row, or, with a divisor, their sum. If it will be differentiated, the sum's gradient comes with
    it: the row is in registers or in a cache then. Only there is what follows the divisor: weights of the rows, another
    divisor on the device, and the smoothing of targets."""
    if divisor is None or not _computes_gradient(logits):
        loss, lse = _core.cross_entropy(logits, labels, divisor)
        return record(loss, _core.cross_entropy_vjp, (logits,), (logits, labels, lse, divisor))
    loss, gradient = _core.cross_entropy_gradient(logits, labels, weights, total, divisor, smoothing)
    saved = (logits, labels, None, divisor, gradient, weights, total, smoothing)
    return record(loss, _core.cross_entropy_vjp, (logits,), saved)


def _computes_gradient(logits: Tensor) -> bool:
    # Of 16-bit logits it would be rounded, and might vanish, before it is multiplied by what a scaler has put behind.
    return is_recording() and logits.requires_grad and logits.dtype.itemsize > 2


def _cross_entropy_vjp(
    g: Tensor,
    logits: Tensor,
    labels: Tensor,
    lse: Tensor | None,
    divisor: float | None,
    gradient: Tensor | None = None,
    weights: Tensor | None = None,
    total: Tensor | None = None,
    smoothing: float = 0.0,
) -> tuple[Tensor]:
    """Of what the forward pass has no gradient for, and, recorded, of all."""
    if lse is not None and not is_recording():
        return (_core.cross_entropy_backward(g, logits, labels, lse, divisor),)
    classes = logits.shape[1]
    target = indexing.one_hot(labels, classes, logits.dtype)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    g = g.expand_dims(-1) if divisor is None else g / divisor
    if weights is not None:
        share = weights if total is None else elementwise.where(logic.equal(weights, 0), 0.0, weights / total)
        g = g * share.expand_dims(-1)
    return (g * (rows.softmax(logits) - target),)


_core.set_cross_entropy(_cross_entropy_vjp, rows._softmax_vjp)


def _general_cross_entropy(
    input: Tensor, target: Tensor, how: str, axis: int, weight: Any, ignore_index: int | None, smoothing: float
) -> Tensor:
    name, classes = "cross_entropy", input.shape[axis]
    check_share("cross_entropy: label_smoothing", smoothing)
    _check_ignored(name, ignore_index)
    weight = _class_weight(name, weight, input, classes)
    if target.shape == input.shape:
        if ignore_index is not None and ignore_index >= 0:
            raise ValueError("cross_entropy: ignore_index is for labels, but target holds probabilities")
        return _probability_cross_entropy(input, target, how, axis, weight, smoothing)
    logits, labels, places = _lines(name, input, target, axis)
    labels, kept = _checked(name, labels, classes, ignore_index)
    count = divisor(name, labels.size, how)
    if count is not None and _computes_gradient(logits) and (weight is None or not (smoothing or weight.requires_grad)):
        own = _own_weights(weight, labels, kept, logits)
        if own is None or how == "sum":
            return _fused(logits, labels, count, own, None, smoothing)
        return _fused(logits, labels, 1.0, own, reductions.sum(own), smoothing)
    loss = _fused(logits, labels, None)
    if not smoothing:
        return _by_label(name, loss, labels, kept, weight, how, places)
    each = rows.log_softmax(logits) if weight is None else rows.log_softmax(logits) * weight
    spread = reductions.sum(each, 1) * (-smoothing / classes)
    return _by_label(name, loss * (1 - smoothing), labels, kept, weight, how, places, spread)


def _own_weights(weight: Tensor | None, labels: Tensor, kept: Tensor | None, logits: Tensor) -> Tensor | None:
    """The weight of each label, 0 where it is ignored; None where all are 1."""
    if weight is None:
        return None if kept is None else kept.astype(logits.dtype)
    own = indexing.take(weight, labels)
    return own if kept is None else elementwise.where(kept, own, 0.0)


def _probability_cross_entropy(
    input: Tensor, target: Tensor, how: str, axis: int, weight: Tensor | None, smoothing: float
) -> Tensor:
    target = target.astype(input.dtype)
    check_probabilities("cross_entropy", "target probabilities", target, "Labels are integers, one for each sample")
    check_order("cross_entropy", input, target)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / input.shape[axis]
    if weight is not None:
        target = target * manipulation.reshape(weight, (-1, *[1] * (input.ndim - 1 - axis)))
    return reduced("cross_entropy", -reductions.sum(target * rows.log_softmax(input, axis), axis), how)


def nll_loss(
    input: Any,
    target: Any,
    reduction: str = "mean",
    axis: int = 1,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
) -> Tensor:
    """−input[target], the negative log-likelihood, of *log*-probabilities: ``cross_entropy`` behind a log_softmax.

    Shapes, ``weight`` and ``ignore_index`` are those of ``cross_entropy``; targets are labels. Raises ValueError for
    labels out of range and shapes that don't fit, TypeError for float labels.

    >>> import steep as st
    >>> st.nll_loss(st.log_softmax(st.tensor([[2.0, 2.0]])), st.tensor([1]))
    tensor(0.6931472)
    """
    _check_ignored("nll_loss", ignore_index)
    input, target = as_tensors(input, target)
    axis = _class_axis("nll_loss", "input (log-probabilities)", input, axis)
    if autocasting.blocks:
        input = autocasting.in_float32(input)
    classes = input.shape[axis]
    weight = _class_weight("nll_loss", weight, input, classes)
    scores, labels, places = _lines("nll_loss", input, target, axis)
    labels, kept = _checked("nll_loss", labels, classes, ignore_index)
    loss = -flat(indexing.take_along_axis(scores, labels.expand_dims(1), 1))
    return _by_label("nll_loss", loss, labels, kept, weight, reduction, places)


def multi_margin_loss(
    input: Any, target: Any, reduction: str = "mean", *, p: int = 1, margin: float = 1.0, weight: Any = None
) -> Tensor:
    """Σ max(0, margin − x[y] + x[j])ᵖ / C over the classes j ≠ y: the hinge loss of scores x = input and labels y.

    input: (N, C) or (C,); target: labels (N,) or (). ``p`` is 1 or 2; ``weight`` (C,) multiplies the loss of each
    class. Crammer and Singer 2001. Raises ValueError for labels out of range and shapes that don't fit.

    >>> import steep as st
    >>> st.multi_margin_loss(st.tensor([[1.0, 1.5, 0.0, 3.0]]), st.tensor([3]))
    tensor(0.)
    """
    name = "multi_margin_loss"
    input, target = as_tensors(input, target)
    axis = _class_axis(name, "input", input, 1)
    if autocasting.blocks:
        input = autocasting.in_float32(input)
    classes = input.shape[axis]
    if input.ndim > 2 or p not in (1, 2):
        raise ValueError(f"{name}: input of shape {input.shape} must be (N, C) or (C,), and p={p} must be 1 or 2")
    weight = _class_weight(name, weight, input, classes)
    scores, labels, places = _lines(name, input, target, axis)
    labels, _ = _checked(name, labels, classes, None)
    excess = hinge(margin - indexing.take_along_axis(scores, labels.expand_dims(1), 1) + scores)
    excess = elementwise.square(excess) if p == 2 else excess
    others = elementwise.where(indexing.one_hot(labels, classes), 0.0, excess)
    loss = reductions.sum(others, 1) / classes
    if weight is not None:
        loss = loss * indexing.take(weight, labels)
    return reduced(name, manipulation.reshape(loss, places), reduction)


# --- what they share --------------------------------------------------------------------------------------------------


def _class_axis(name: str, what: str, input: Tensor, axis: int) -> int:
    check_input(name, input, what)
    if input.ndim == 0:
        raise ValueError(f"{name}: input needs a class axis, but it is a single number")
    axis = manipulation.as_axis(name, axis if input.ndim > 1 else 0, input.ndim)
    if input.shape[axis] == 1:
        raise ValueError(
            f"{name}: input of shape {input.shape} has one class, whose loss is always 0: "
            "use one output per class, or binary_cross_entropy_with_logits for a single output"
        )
    return axis


def _class_weight(name: str, weight: Any, input: Tensor, classes: int) -> Tensor | None:
    if weight is None:
        return None
    if isinstance(weight, str | Mapping):
        raise TypeError(f"{name}: weight must be {classes} numbers, one for each class, not {shown(weight)}")
    weight = as_tensor(weight, input)
    if weight.shape != (classes,):
        raise ValueError(f"{name}: weight has shape {weight.shape}: it must be ({classes},), a number for each class")
    return weight.astype(input.dtype)


def _lines(name: str, input: Tensor, target: Tensor, axis: int) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """The scores as (places, classes), the labels as (places,), and the shape that the places had."""
    shape, ndim = input.shape, input.ndim
    if ndim == 2 and axis == 1 and target.shape == shape[:1] and target.dtype.is_integer:  # the most frequent
        return input, target, target.shape
    places = shape[:axis] + shape[axis + 1 :]
    if target.shape != places:
        or_else = f" or {shape} (probabilities)" if name == "cross_entropy" else ""
        hint = f": use target.reshape({places})" if target.size == math.prod(places) else f"; {SWAPPED}"
        raise ValueError(
            f"{name}: for input of shape {shape} with classes on axis {axis}, target must have the shape "
            f"{places} (labels){or_else}, not {target.shape}{hint}"
        )
    if not target.dtype.is_integer:
        raise TypeError(f"{name}: labels must be integers, not {target.dtype.name}: {_remedy(target)}")
    if axis != ndim - 1:
        input = rearrange.moveaxis(input, axis, -1)
    return input if ndim == 2 else manipulation.reshape(input, (target.size, shape[axis])), flat(target), places


def _check_ignored(name: str, ignore_index: Any) -> None:
    if ignore_index is not None and not hasattr(ignore_index, "__index__"):
        raise TypeError(f"{name}: ignore_index must be a label, an integer, or None, not {shown(ignore_index)}")


def _checked(name: str, labels: Tensor, classes: int, ignore_index: int | None) -> tuple[Tensor, Tensor | None]:
    """The labels, 0 where they are ignored, and where they are not."""
    kept = None if ignore_index is None else logic.not_equal(labels, ignore_index)
    labels = labels if kept is None else elementwise.where(kept, labels, 0)
    try:
        return _core.checked_labels(name, labels, classes), kept
    except ValueError as error:
        raise _explained(error, labels, classes) from None


def _remedy(labels: Tensor) -> str:
    """What to do with labels that are no integers."""
    if not labels.dtype.is_floating_point or not labels.size:
        return "use target.astype(steep.int64)"
    found = "they range from {:g} to {:g}".format(*extremes(labels))
    if bool(reductions.all(logic.equal(elementwise.floor(labels.detach()), labels.detach()))):
        return f"use target.astype(steep.int64) ({found})"
    return f"{found}, and not all are whole numbers. If they are values and no classes, use a loss such as mse_loss"


def _explained(error: ValueError, labels: Tensor, classes: int) -> ValueError:
    """The error of labels out of range, with what to do."""
    low, high = int(reductions.min(labels)), int(reductions.max(labels))
    if low >= 0 and high < classes:  # it is about other labels: those of a CUDA graph that was launched before
        return error
    if low >= 1 and high == classes:
        return ValueError(f"{error}. If they count from 1, use target - 1")
    if low < 0:
        return ValueError(f"{error}. Labels count from 0; those that shall count for nothing are ignore_index's")
    return ValueError(f"{error}. Labels count from 0, and the model needs an output for each: {high + 1} or more")


def _by_label(
    name: str,
    loss: Tensor,
    labels: Tensor,
    kept: Tensor | None,
    weight: Tensor | None,
    how: str,
    places: tuple[int, ...],
    spread: Tensor | None = None,
) -> Tensor:
    """The loss weighted by class, and what is spread over all classes; nothing where labels are ignored."""
    own = None if weight is None else indexing.take(weight, labels)
    loss = loss if own is None else loss * own
    loss = loss if spread is None else loss + spread
    loss = loss if kept is None else elementwise.where(kept, loss, 0.0)
    if how != "mean" or (own is None and kept is None):
        return reduced(name, loss if how != "none" else manipulation.reshape(loss, places), how)
    if own is None:
        own = elementwise.where(kept, 1.0, 0.0)
    elif kept is not None:
        own = elementwise.where(kept, own, 0.0)
    return reductions.sum(loss) / reductions.sum(own).astype(loss.dtype)
