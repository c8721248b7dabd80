"""Losses. All take ``reduction``: "mean" (over the samples), "sum" or "none"; all validate what they are given."""

from __future__ import annotations

from typing import Any

from .. import _core
from .._core import is_recording, record
from ..tensor import Tensor
from . import elementwise, indexing, manipulation, rows
from . import reduction as reductions
from ._apply import as_tensor

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "mse_loss",
]


def _reduce(name: str, loss: Tensor, how: str) -> Tensor:
    if _divisor(name, loss.size, how) is None:
        return loss
    return reductions.mean(loss) if how == "mean" else reductions.sum(loss)


def _divisor(name: str, count: int, how: str) -> float | None:
    """What the sum of all losses is divided by; None where each is wanted."""
    divisors = {"mean": float(count), "sum": 1.0, "none": None}
    if not isinstance(how, str) or how not in divisors:
        raise ValueError(f"{name}: reduction={how!r} must be 'mean', 'sum' or 'none'")
    return divisors[how]


def _pair(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Floating-point tensors of one shape and dtype."""
    input = as_tensor(input, target)
    target = as_tensor(target, input)
    if input.shape != target.shape:
        hint = "they must be equal"
        if input.ndim != target.ndim and input.size == target.size:
            hint += ": broadcasting them would pair every prediction with every target, so reshape one of them first"
        raise ValueError(f"{name}: input has shape {input.shape}, target {target.shape}; {hint}")
    if not input.dtype.is_floating_point:
        raise TypeError(f"{name}: input must be floating-point, not {input.dtype.name}")
    return input, target.astype(input.dtype)


def cross_entropy(input: Any, target: Any, reduction: str = "mean", axis: int = 1) -> Tensor:
    """−log softmax(input)[target]: cross-entropy of logits along the class axis.

    input: (N, C), (C,), or (N, C, d1, …); ``axis`` is the class axis (the last one for (C,)).
    target: integer labels in 0…C − 1, of input's shape without the class axis, or class probabilities of input's shape.
    Raises ValueError for labels out of range, probabilities outside [0, 1] and shapes that don't fit, TypeError for
    float labels.

    >>> import steep as st
    >>> st.cross_entropy(st.tensor([[2.0, 2.0]]), st.tensor([1]))
    tensor(0.6931472)
    """
    input = as_tensor(input, target)
    target = as_tensor(target, input)
    shape = input.shape
    ndim = len(shape)
    if not input.dtype.is_floating_point:
        raise TypeError(f"cross_entropy: input (logits) must be floating-point, not {input.dtype.name}")
    if ndim == 0:
        raise ValueError("cross_entropy: input needs a class axis, but it is a single number")
    axis = manipulation.as_axis("cross_entropy", axis if ndim > 1 else 0, ndim)
    classes = shape[axis]
    if classes == 1:
        raise ValueError(
            f"cross_entropy: input of shape {shape} has one class, whose loss is always 0: "
            "use one output per class, or binary_cross_entropy_with_logits for a single output"
        )
    rest = shape[:axis] + shape[axis + 1 :]
    given = target.shape
    if given == shape:
        return _probability_cross_entropy(input, target, reduction, axis)
    if given != rest:
        raise ValueError(
            f"cross_entropy: for input of shape {shape} with classes on axis {axis}, target must have the shape "
            f"{rest} (labels) or {shape} (probabilities), not {given}"
        )
    if target.dtype.is_floating_point:
        raise TypeError(
            f"cross_entropy: labels must be integers, not {target.dtype.name}: use target.astype(steep.int64)"
        )
    labels = target if len(given) == 1 else manipulation.reshape(target, (-1,))
    labels = _core.checked_labels("cross_entropy", labels, classes)
    if axis != ndim - 1:
        order = [*(i for i in range(ndim) if i != axis), axis]
        input = manipulation.permute_dims(input, order)
    logits = input if ndim == 2 else manipulation.reshape(input, (labels.size, classes))
    divisor = _divisor("cross_entropy", labels.size, reduction)
    loss, lse = _core.cross_entropy(logits, labels, divisor)
    loss = record(loss, _cross_entropy_vjp, (logits,), (logits, labels, lse, divisor))
    return manipulation.reshape(loss, rest) if divisor is None else loss


def _cross_entropy_vjp(g: Tensor, logits: Tensor, labels: Tensor, lse: Tensor, divisor: float | None) -> tuple[Tensor]:
    if is_recording():
        hit = indexing.one_hot(labels, logits.shape[1], logits.dtype)
        g = g.expand_dims(-1) if divisor is None else g / divisor
        return (g * (rows.softmax(logits) - hit),)
    return (_core.cross_entropy_backward(g, logits, labels, lse, divisor),)


def _probability_cross_entropy(input: Tensor, target: Tensor, how: str, axis: int) -> Tensor:
    target = target.astype(input.dtype)
    _check_probabilities("cross_entropy", "target probabilities", target)
    return _reduce("cross_entropy", -reductions.sum(target * rows.log_softmax(input, axis), axis), how)


def _check_probabilities(name: str, what: str, x: Tensor) -> None:
    if x.size == 0:
        return
    low, high = float(reductions.min(x.detach())), float(reductions.max(x.detach()))
    if low < 0 or high > 1:  # NaN is the loss's to show
        raise ValueError(
            f"{name}: {what} must lie in [0, 1], but they range from {low:g} to {high:g} "
            "(are input and target swapped, or is a sigmoid or softmax missing?)"
        )


def binary_cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """−(t · log p + (1 − t) · log(1 − p)) for probabilities p = input and targets t, both in [0, 1] and of one shape.

    Logarithms are limited to at least −100, so that a certain and wrong prediction has a finite loss (as in PyTorch).
    Raises ValueError for shapes that differ and values outside [0, 1].

    >>> import steep as st
    >>> st.binary_cross_entropy(st.tensor([0.5]), st.tensor([1.0]))
    tensor(0.6931472)
    """
    p, t = _pair("binary_cross_entropy", input, target)
    _check_probabilities("binary_cross_entropy", "input probabilities", p)
    _check_probabilities("binary_cross_entropy", "targets", t)
    log_p, log_q = _limited_logs(p.detach())
    loss = -(t.detach() * log_p + (1.0 - t.detach()) * log_q)
    loss = record(loss, _binary_cross_entropy_vjp, (p, t), (p, t))
    return _reduce("binary_cross_entropy", loss, reduction)


def _limited_logs(p: Tensor) -> tuple[Tensor, Tensor]:
    return elementwise.clip(elementwise.log(p), min=-100.0), elementwise.clip(elementwise.log1p(-p), min=-100.0)


def _binary_cross_entropy_vjp(g: Tensor, p: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    log_p, log_q = _limited_logs(p)
    # (p − t) / (p · (1 − p)), finite at 0 and 1 as the loss is
    return g * (p - t) / elementwise.maximum(p * (1.0 - p), 1e-12), g * (log_q - log_p)


def binary_cross_entropy_with_logits(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy of sigmoid(input), computed as softplus(x) − x · t, which never overflows.

    Raises ValueError for shapes that differ and targets outside [0, 1].
    """
    x, t = _pair("binary_cross_entropy_with_logits", input, target)
    _check_probabilities("binary_cross_entropy_with_logits", "targets", t)
    return _reduce("binary_cross_entropy_with_logits", elementwise.softplus(x) - x * t, reduction)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(input − target)². Raises ValueError for shapes that differ.

    >>> import steep as st
    >>> st.mse_loss(st.tensor([1.0, 2.0]), st.tensor([1.0, 4.0]))
    tensor(2.)
    """
    x, t = _pair("mse_loss", input, target)
    return _reduce("mse_loss", elementwise.square(x - t), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """|input − target|. Raises ValueError for shapes that differ."""
    x, t = _pair("l1_loss", input, target)
    return _reduce("l1_loss", elementwise.abs(x - t), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """½ d² where d = |input − target| ≤ delta, delta · (d − ½ delta) beyond. Huber 1964, Ann. Math. Statist. 35.

    Raises ValueError for shapes that differ and delta ≤ 0.
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta={delta} must be greater than 0")
    x, t = _pair("huber_loss", input, target)
    d = elementwise.abs(x - t)
    inside = elementwise.clip(d, max=delta)  # ½ m² + delta · (d − m) with m = min(d, delta)
    return _reduce("huber_loss", 0.5 * elementwise.square(inside) + delta * (d - inside), reduction)
