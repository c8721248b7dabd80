"""Layers that act in training only, against overfitting."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..checks import check_share
from ..tensor import Tensor
from .module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """In training, sets each element to 0 with probability p and divides the others by 1 − p; else passes x on.

    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting". Raises ValueError
    unless 0 ≤ p ≤ 1.

    >>> import steep as st
    >>> st.nn.Dropout(0.5).eval()(st.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5) -> None:
        check_share("Dropout: p", p, "probability")
        self.p = p

    def forward(self, x: Any) -> Tensor:
        """x with elements dropped, of x's shape."""
        return ops.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"
