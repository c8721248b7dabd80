"""Losses as modules: each is ``loss(input, target)``, with the model's output first."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import ops
from ..tensor import Tensor
from .module import Module

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "HuberLoss", "L1Loss", "MSELoss"]


class _Loss(Module):
    kind: ClassVar[str]  # what it expects of the model's output: see train.objectives

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"{type(self).__name__}: reduction={reduction!r} must be 'mean', 'sum' or 'none'")
        self.reduction = reduction

    def extra_repr(self) -> str:
        """The reduction, unless it is the usual one."""
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


class CrossEntropyLoss(_Loss):
    """−log softmax(input)[target], for logits (N, classes) and labels (N,) or probabilities (N, classes).

    See ``steep.cross_entropy``.

    >>> import steep as st
    >>> st.nn.CrossEntropyLoss()(st.tensor([[0.0, 0.0]]), st.tensor([1]))
    tensor(0.6931472)
    """

    kind = "categorical"

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of logits against labels or probabilities."""
        return ops.cross_entropy(input, target, self.reduction)


class BCELoss(_Loss):
    """−target · log input − (1 − target) · log(1 − input), for probabilities: see ``steep.binary_cross_entropy``."""

    kind = "binary"

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of probabilities against targets between 0 and 1, of one shape."""
        return ops.binary_cross_entropy(input, target, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """``BCELoss`` of sigmoid(input), computed from the logits: see ``steep.binary_cross_entropy_with_logits``."""

    kind = "binary_logits"

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of logits against targets between 0 and 1, of one shape."""
        return ops.binary_cross_entropy_with_logits(input, target, self.reduction)


class MSELoss(_Loss):
    """(input − target)²: see ``steep.mse_loss``."""

    kind = "regression"

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of predictions against targets of the same shape."""
        return ops.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """|input − target|: see ``steep.l1_loss``."""

    kind = "regression"

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of predictions against targets of the same shape."""
        return ops.l1_loss(input, target, self.reduction)


class HuberLoss(_Loss):
    """Quadratic up to an error of delta, linear beyond: see ``steep.huber_loss``."""

    kind = "regression"

    def __init__(self, delta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if delta <= 0:
            raise ValueError(f"HuberLoss: delta={delta} must be positive")
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of predictions against targets of the same shape."""
        return ops.huber_loss(input, target, self.reduction, self.delta)

    def extra_repr(self) -> str:
        """The delta and the reduction."""
        return ", ".join(filter(None, [f"delta={self.delta}", super().extra_repr()]))
