"""Values in several parts: tuples, lists and dicts, nested in any way, such as the several inputs of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .devices import Device
from .tensor import Tensor

__all__ = ["first_tensor", "gradients_by_device", "map_leaves", "map_tensors", "named_tensors"]


def map_leaves(function: Callable[..., Any], x: Any, *others: Any) -> Any:
    """``x`` with ``function`` applied to what its tuples, lists and dicts hold, and to what the others hold there.

    Raises ValueError for tuples and lists of other lengths, KeyError for other names.

    >>> from steep.structure import map_leaves
    >>> map_leaves(lambda a, b: a + b, {"a": [1, (2,)]}, {"a": [10, (20,)]})
    {'a': [11, (22,)]}
    """
    if isinstance(x, tuple | list):
        parts = [map_leaves(function, *items) for items in zip(x, *others, strict=True)]
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    if isinstance(x, Mapping):
        return {key: map_leaves(function, value, *(other[key] for other in others)) for key, value in x.items()}
    return function(x, *others)


def map_tensors(function: Callable[..., Any], x: Any, *others: Any) -> Any:
    """``map_leaves``, where anything but a tensor stays what it is."""
    if isinstance(x, Tensor):
        return function(x, *others)
    if type(x) is tuple and not others:  # at every batch: a fifth of the time
        return tuple([map_tensors(function, part) for part in x])
    return map_leaves(lambda leaf, *rest: function(leaf, *rest) if isinstance(leaf, Tensor) else leaf, x, *others)


def named_tensors(x: Any, label: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor, with a label such as ``x[1]``."""
    if isinstance(x, Tensor):
        yield label, x
    elif isinstance(x, tuple | list | Mapping):
        for key, part in x.items() if isinstance(x, Mapping) else enumerate(x):
            yield from named_tensors(part, f"{label}[{key!r}]")


def first_tensor(x: Any) -> Tensor:
    """The first tensor of what holds nothing else. In data, its first axis counts the samples."""
    while not isinstance(x, Tensor):
        x = next(iter(x.values() if isinstance(x, Mapping) else x))
    return x


def gradients_by_device(parameters: Iterable[Tensor]) -> list[list[Tensor]]:
    """The gradients that there are, in a list for each device; one that several parameters share is there once."""
    groups: dict[Device, dict[int, Tensor]] = {}
    for p in parameters:
        if (g := p.grad) is not None and g.size:
            groups.setdefault(g.device, {})[id(g)] = g
    return [list(group.values()) for group in groups.values()]
