"""Sorting, searching and sets. NaN sorts as the largest number, and -0 as +0.

The gradients of sorted values are the transposes of ``take_along_axis``; sets and indices have none.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

from .. import _core, dtypes
from .._core import is_recording, record
from ..tensor import Tensor
from ._apply import as_tensor, as_tensors
from .creation import ones
from .indexing import take, take_along_axis, take_along_axis_vjp
from .logic import not_equal
from .manipulation import as_axis, concat, reshape
from .rearrange import diff
from .scan import ValuesAndIndices, cumulative_sum

__all__ = [
    "argsort",
    "searchsorted",
    "sort",
    "topk",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


def sort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The elements in ascending order along an axis, NaN last; or in descending order, NaN first.

    Every sort is stable: equal elements keep their order, descending too, whatever ``stable`` says.

    >>> import steep as st
    >>> st.sort(st.tensor([3.0, 1.0, 2.0]), descending=True)
    tensor([3., 2., 1.])
    """
    x = as_tensor(x)
    axis = as_axis("sort", axis, x.ndim)
    if not (x.requires_grad and is_recording()):
        return _core.sort(x, axis, bool(descending))
    values, indices = _core.sort_with_indices(x, axis, bool(descending))
    return record(values, take_along_axis_vjp, (x,), (indices, axis, x.shape))


def argsort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The int64 indices that sort x along an axis in the order of ``sort``.

    >>> import steep as st
    >>> x = st.tensor([3, 1, 2, 1])
    >>> st.argsort(x), st.argsort(x, descending=True)
    (tensor([1, 3, 2, 0]), tensor([0, 2, 1, 3]))
    """
    x = as_tensor(x)
    return _core.argsort(x, as_axis("argsort", axis, x.ndim), bool(descending))


def topk(x: Any, k: int, axis: int = -1, largest: bool = True, sorted: bool = True) -> ValuesAndIndices:
    """The k largest (or smallest) elements along an axis, best first, and their int64 indices.

    They are the first k of ``sort`` in descending (or ascending) order, whatever ``sorted`` says: of equal elements the
    first ones, and NaN is larger than any number. Raises ValueError unless k is from 0 to the extent of the axis.

    >>> import steep as st
    >>> values, indices = st.topk(st.tensor([3.0, 1.0, 2.0]), 2)
    >>> values, indices
    (tensor([3., 2.]), tensor([0, 2]))
    """
    x = as_tensor(x)
    axis = as_axis("topk", axis, x.ndim)
    try:
        count = max(-1, min(operator.index(k), 2**62))  # what the engine can say is out of range
    except TypeError:
        raise TypeError(f"topk: k must be an integer, not {k!r:.60}") from None
    values, indices = _core.topk(x, count, axis, bool(largest))
    return ValuesAndIndices(record(values, take_along_axis_vjp, (x,), (indices, axis, x.shape)), indices)


def searchsorted(x1: Any, x2: Any, side: str = "left", sorter: Any = None) -> Tensor:
    """The int64 places at which the values ``x2`` would go into ``x1``, sorted in ascending order, so that it stays so.

    In front of equal elements for ``side`` "left", behind them for "right". x1 has one dimension and x2 any; or both
    have as many, and each line along the last axis of x1 is for that of x2. ``sorter`` are the indices that sort x1.
    Raises ValueError for shapes that don't fit.

    >>> import steep as st
    >>> st.searchsorted(st.tensor([1, 3, 3, 5]), st.tensor([3, 6])), st.searchsorted([1, 3, 3, 5], 3, side="right")
    (tensor([1, 4]), tensor(3))
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side={side!r} must be 'left' or 'right'")
    x1, x2 = as_tensors(x1, x2)
    if sorter is not None:
        x1 = take_along_axis(x1, sorter, -1)
    return _core.searchsorted(x1, x2, side == "right")


class UniqueAll(NamedTuple):
    """What ``unique_all`` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What ``unique_counts`` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What ``unique_inverse`` returns."""

    values: Tensor
    inverse_indices: Tensor


def _runs(ordered: Tensor) -> tuple[Tensor, Tensor]:
    """Of sorted elements: which are the first of their value, and the places of these."""
    n = ordered.size
    is_first = concat([ones(min(n, 1), dtype=dtypes.bool, device=ordered.device), not_equal(ordered[1:], ordered[:-1])])
    return is_first, _core.flat_nonzero(is_first)


def _counts(begins: Tensor, n: int) -> Tensor:
    return diff(begins, append=[n] if begins.size else None)


def _inverse(is_first: Tensor, order: Tensor, shape: tuple[int, ...]) -> Tensor:
    number = cumulative_sum(is_first) - 1
    return reshape(_core.gather_backward(number, [order], 0, number.shape, True), shape)


def _flat(x: Any) -> Tensor:
    return reshape(as_tensor(x).detach(), -1)


def unique_all(x: Any) -> UniqueAll:
    """The distinct values of x in ascending order, as (values, indices, inverse_indices, counts).

    ``indices`` are those of the first occurrences in the flattened x, ``inverse_indices`` have x's shape and make it of
    ``values``, ``counts`` are the numbers of occurrences; all int64. NaNs are distinct from each other, -0 and +0 are
    not. On CUDA it waits for the number of values, as do the other three.

    >>> import steep as st
    >>> st.unique_all(st.tensor([3, 1, 3]))
    UniqueAll(values=tensor([1, 3]), indices=tensor([1, 0]), inverse_indices=tensor([1, 0, 1]), counts=tensor([1, 2]))
    """
    x = as_tensor(x)
    ordered, order = _core.sort_with_indices(_flat(x), 0, False)
    is_first, begins = _runs(ordered)
    return UniqueAll(
        take(ordered, begins), take(order, begins), _inverse(is_first, order, x.shape), _counts(begins, x.size)
    )


def unique_counts(x: Any) -> UniqueCounts:
    """The distinct values of x in ascending order and the int64 numbers of their occurrences; see ``unique_all``."""
    ordered = sort(_flat(x))
    _, begins = _runs(ordered)
    return UniqueCounts(take(ordered, begins), _counts(begins, ordered.size))


def unique_inverse(x: Any) -> UniqueInverse:
    """The distinct values of x in ascending order, and the int64 indices that make x of them; see ``unique_all``."""
    x = as_tensor(x)
    ordered, order = _core.sort_with_indices(_flat(x), 0, False)
    is_first, begins = _runs(ordered)
    return UniqueInverse(take(ordered, begins), _inverse(is_first, order, x.shape))


def unique_values(x: Any) -> Tensor:
    """The distinct values of x in ascending order; see ``unique_all``.

    >>> import steep as st
    >>> st.unique_values(st.tensor([[3, 1], [1, 2]]))
    tensor([1, 2, 3])
    """
    ordered = sort(_flat(x))
    return take(ordered, _runs(ordered)[1])
