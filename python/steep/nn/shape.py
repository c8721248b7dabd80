"""Layers that change the shape, or nothing."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..ops._apply import as_tensor
from ..tensor import Tensor
from .module import Module

__all__ = ["Flatten", "Identity"]


class Flatten(Module):
    """Joins the axes from start_axis to end_axis into one; by default all but the batch.

    >>> import steep as st
    >>> st.nn.Flatten()(st.zeros(5, 8, 8)).shape
    (5, 64)
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis = start_axis
        self.end_axis = end_axis

    def forward(self, x: Any) -> Tensor:
        """x with fewer axes."""
        return ops.flatten(as_tensor(x), self.start_axis, self.end_axis)

    def extra_repr(self) -> str:
        """The axes."""
        return f"start_axis={self.start_axis}, end_axis={self.end_axis}"


class Identity(Module):
    """Passes its input on."""

    def forward(self, x: Any) -> Any:
        """x."""
        return x
