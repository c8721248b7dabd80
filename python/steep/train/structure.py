"""Data in several parts: a tensor, or a tuple or dict of them for several inputs or outputs, or None for no data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..tensor import Tensor

__all__ = ["first", "leaves", "mapped"]


def mapped(function: Callable[[Tensor], Any], x: Any) -> Any:
    """``function`` of every tensor, in the same structure."""
    if isinstance(x, Tensor):
        return function(x)
    if isinstance(x, tuple):
        return tuple(mapped(function, part) for part in x)
    if isinstance(x, dict):
        return {key: mapped(function, part) for key, part in x.items()}
    return None


def leaves(x: Any, label: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor, with a label such as ``x[1]``."""
    if isinstance(x, Tensor):
        yield label, x
    elif isinstance(x, tuple | dict):
        for key, part in x.items() if isinstance(x, dict) else enumerate(x):
            yield from leaves(part, f"{label}[{key!r}]")


def first(x: Any) -> Tensor:
    """The first tensor. Its first axis counts the samples, as that of every other."""
    while not isinstance(x, Tensor):
        x = next(iter(x.values() if isinstance(x, dict) else x))
    return x
