"""Layers that join branches, and functions as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..tensor import Tensor
from .module import Module

__all__ = ["Concat", "Lambda"]


class Concat(Module):
    """Joins tensors along an axis: called with several of them, or with a list. See ``steep.concat``.

    Raises ValueError if their other axes differ.

    >>> import steep as st
    >>> st.nn.Concat(axis=1)(st.zeros(5, 2), st.ones(5, 3)).shape
    (5, 5)
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, *tensors: Any) -> Tensor:
        """The tensors in one."""
        one = len(tensors) == 1 and isinstance(tensors[0], list | tuple)
        return ops.concat(tensors[0] if one else tensors, self.axis)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


class Lambda(Module):
    """A function of tensors as a layer without parameters, for ``Sequential`` and for graphs of layers.

    ``options`` are passed on to the function. Raises TypeError for what is no function. A model is pickled with its
    functions' names, so one with a ``lambda`` cannot be.

    >>> import steep as st
    >>> st.nn.Sequential(st.nn.Lambda(st.sum, axis=1), st.nn.Lambda(lambda x: 2 * x))(st.ones(3, 4))
    tensor([8., 8., 8.])
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        if not callable(function):
            raise TypeError(f"Lambda: {function!r:.60} must be a function, not a {type(function).__name__}")
        self.function = function
        self.options = options

    def forward(self, *args: Any) -> Any:
        """What the function returns."""
        return self.function(*args, **self.options)

    def extra_repr(self) -> str:
        """The function and its options."""
        name = getattr(self.function, "__name__", repr(self.function))
        return ", ".join([name, *(f"{key}={value!r}" for key, value in self.options.items())])
