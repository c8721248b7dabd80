"""Batches of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import ops
from ..devices import cpu
from ..tensor import Tensor

__all__ = ["default_collate"]


def default_collate(samples: list[Any]) -> Any:
    """A batch of samples: tensors, arrays and numbers stacked into tensors, part by part of tuples, lists and dicts.

    Tuples give a tuple of batches, lists a list, dicts a dict; strings and bytes stay a list of them. Arrays keep their
    dtype, Python's numbers become int64, bool or float32, and the tensors are on the CPU, unless the samples were
    elsewhere.

    Raises ValueError for samples whose shapes, lengths or names differ, TypeError for what cannot be stacked.

    >>> import steep as st
    >>> x, y = st.data.default_collate([({"a": 1.0}, 0), ({"a": 2.0}, 1)])
    >>> x["a"].tolist(), y.tolist()
    ([1.0, 2.0], [0, 1])
    """
    if not samples:
        raise ValueError("default_collate: there are no samples to put into a batch")
    first = samples[0]
    if isinstance(first, Tensor):
        tensors = [ops.as_tensor(x, first) for x in samples]
        _check_alike("shape", [x.shape for x in tensors])
        return ops.stack(tensors)
    if isinstance(first, np.ndarray | np.generic) or (hasattr(first, "__array__") and not isinstance(first, Mapping)):
        arrays = [np.asarray(x) for x in samples]
        _check_alike("shape", [x.shape for x in arrays])
        return ops.asarray(np.stack(arrays), device=cpu)
    if isinstance(first, int | float):
        return ops.tensor(samples, device=cpu)
    if isinstance(first, str | bytes):
        return samples
    if isinstance(first, Mapping | tuple | list):
        _check_alike("type", [type(x).__name__ for x in samples])
    if isinstance(first, Mapping):
        _check_alike("keys", [list(x) for x in samples])
        return {name: default_collate([x[name] for x in samples]) for name in first}
    if isinstance(first, tuple | list):
        _check_alike("length", [len(x) for x in samples])
        columns = [default_collate(list(column)) for column in zip(*samples, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else type(first)(columns)
    raise TypeError(
        f"default_collate: a {type(first).__name__} cannot be stacked: samples must be made of tensors, arrays, "
        "numbers, strings, tuples and dicts; or give the DataLoader a collate_fn"
    )


def _check_alike(what: str, found: list[Any]) -> None:
    number = next((i for i, value in enumerate(found) if value != found[0]), None)
    if number is not None:
        raise ValueError(
            f"default_collate: samples of a batch need equal {what if what == 'keys' else what + 's'}: the first has "
            f"{found[0]}, the one at position {number} {found[number]}: make them alike, or give the DataLoader a "
            "collate_fn"
        )
