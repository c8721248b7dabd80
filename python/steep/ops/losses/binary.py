"""Losses of yes/no questions. Targets are probabilities, or 1 and −1."""

from __future__ import annotations

from typing import Any

from ... import _core, autocasting
from ..._core import record
from ...tensor import Tensor
from .. import elementwise, logic
from .._apply import UNARY, as_tensor
from .common import (
    beside,
    check_input,
    check_order,
    check_probabilities,
    hinge,
    pair,
    reduced,
    signs,
    warn_double,
    weighted,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "hinge_embedding_loss",
    "soft_margin_loss",
]

LOGITS = "Of logits, take binary_cross_entropy_with_logits, or put a sigmoid before it"
YES_NO = "The labels of yes/no questions are 0 and 1; labels of several classes are for cross_entropy"
_SIGMOID = UNARY["sigmoid"].vjp


def binary_cross_entropy(input: Any, target: Any, reduction: str = "mean", *, weight: Any = None) -> Tensor:
    """−(t · log p + (1 − t) · log(1 − p)) for probabilities p = input and targets t, both in [0, 1] and of one shape.

    Logarithms are limited to at least −100, so that a certain and wrong prediction has a finite loss (as in PyTorch).
    ``weight``, which broadcasts to input's shape, multiplies each element's loss; the mean is over their number.
    Raises ValueError for shapes that differ and values outside [0, 1].

    >>> import steep as st
    >>> st.binary_cross_entropy(st.tensor([0.5]), st.tensor([1.0]))
    tensor(0.6931472)
    """
    p, t = pair("binary_cross_entropy", input, target)
    check_probabilities("binary_cross_entropy", "input probabilities", p, LOGITS)
    check_probabilities("binary_cross_entropy", "targets", t, YES_NO)
    check_order("binary_cross_entropy", p, t)
    log_p, log_q = _limited_logs(p.detach())
    loss = -(t.detach() * log_p + (1.0 - t.detach()) * log_q)
    loss = record(loss, _binary_cross_entropy_vjp, (p, t), (p, t))
    return reduced("binary_cross_entropy", weighted("binary_cross_entropy", loss, weight), reduction)


def _limited_logs(p: Tensor) -> tuple[Tensor, Tensor]:
    return elementwise.clip(elementwise.log(p), min=-100.0), elementwise.clip(elementwise.log1p(-p), min=-100.0)


def _binary_cross_entropy_vjp(g: Tensor, p: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    log_p, log_q = _limited_logs(p)
    # (p − t) / (p · (1 − p)), finite at 0 and 1 as the loss is
    return g * (p - t) / elementwise.maximum(p * (1.0 - p), 1e-12), g * (log_q - log_p)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, reduction: str = "mean", *, weight: Any = None, pos_weight: Any = None
) -> Tensor:
    """Binary cross-entropy of sigmoid(input), computed as softplus(x) − x · t, which never overflows.

    ``weight`` multiplies each element's loss, ``pos_weight`` its part t · log sigmoid(x) alone, so that 3.0 makes up
    for three times as many negative samples as positive ones. Both broadcast to input's shape.
    Raises ValueError for shapes that differ and targets outside [0, 1].

    >>> import steep as st
    >>> st.binary_cross_entropy_with_logits(st.tensor([0.0]), st.tensor([1.0]), pos_weight=3.0)
    tensor(2.0794415)
    """
    name = "binary_cross_entropy_with_logits"
    x, t = pair(name, input, target)
    check_probabilities(name, "targets", t, YES_NO)
    check_order(name, x, t)
    if (node := getattr(input, "_node", None)) is not None and (
        node.vjp is _SIGMOID or (node.vjp is _core.linear_vjp and node.saved[3] == "sigmoid")
    ):
        warn_double(name, "sigmoid", "sigmoid")
    if pos_weight is None:
        loss = elementwise.softplus(x) - x * t
    else:
        factor = 1.0 + (beside(name, "pos_weight", pos_weight, x) - 1.0) * t
        loss = (1.0 - t) * x + factor * elementwise.softplus(-x)
    return reduced(name, weighted(name, loss, weight), reduction)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """log(1 + exp(−t · x)) for logits x = input and targets t of 1 and −1, of one shape.

    It is binary cross-entropy for targets written as 1 and −1. Raises ValueError for shapes that differ and other
    targets.

    >>> import steep as st
    >>> st.soft_margin_loss(st.tensor([0.0, 0.0]), st.tensor([1, -1]))
    tensor(0.6931472)
    """
    x = as_tensor(input, target)
    check_input("soft_margin_loss", x)
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    t = signs("soft_margin_loss", target, x, x.shape)
    return reduced("soft_margin_loss", elementwise.softplus(-t * x), reduction)


def hinge_embedding_loss(input: Any, target: Any, reduction: str = "mean", *, margin: float = 1.0) -> Tensor:
    """x where the target is 1, max(0, margin − x) where it is −1, for distances x = input.

    Pairs that belong together (1) are drawn to each other, others (−1) pushed ``margin`` apart. Raises ValueError for
    shapes that differ and other targets.

    >>> import steep as st
    >>> st.hinge_embedding_loss(st.tensor([0.25, 0.25]), st.tensor([1, -1]), "none")
    tensor([0.25, 0.75])
    """
    x = as_tensor(input, target)
    check_input("hinge_embedding_loss", x)
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    t = signs("hinge_embedding_loss", target, x, x.shape)
    return reduced("hinge_embedding_loss", elementwise.where(logic.greater(t, 0), x, hinge(margin - x)), reduction)
