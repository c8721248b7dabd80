"""Indexing, gathering and one-hot encoding. Each vjp is directly beneath its forward."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core, dtypes
from .._core import record
from ..dtypes import as_dtype
from ..tensor import Tensor
from . import elementwise, logic, manipulation
from ._apply import as_tensor

__all__ = [
    "embedding",
    "one_hot",
    "take",
    "take_along_axis",
]

_BASIC = (int, slice, type(None), type(...), np.integer)


def _array_index(key: Any, x: Tensor) -> Any:
    """Lists and arrays in an index, as tensors beside x."""
    if not isinstance(key, list | np.ndarray):
        return key
    return _integer_indices(key, x) if np.size(key) == 0 else as_tensor(key, x)


def _is_array(key: Any) -> bool:
    return isinstance(key, Tensor) and (key.ndim > 0 or not key.dtype.is_integer)


def getitem(x: Tensor, key: Any) -> Tensor:
    """x[key]: integers, slices, None and ... give a view; one integer tensor or list among them gathers along its axis.

    >>> import steep as st
    >>> x = st.arange(12).reshape(3, 4)
    >>> x[1, ::2], x[[0, 2], 0]
    (tensor([4, 6]), tensor([0, 8]))
    """
    parts = tuple([_array_index(k, x) for k in key]) if isinstance(key, tuple) else (_array_index(key, x),)
    arrays = [i for i, part in enumerate(parts) if _is_array(part)]
    if not arrays:
        _check_basic(parts)
        return record(_core.basic_index(x, parts), _getitem_vjp, (x,), (parts, x.shape))
    if len(arrays) > 1 or any(part is None for part in parts):
        raise NotImplementedError(
            "indexing with several index tensors, or one beside None: use take or take_along_axis"
        )
    at = arrays[0]
    index = parts[at]
    if not index.dtype.is_integer:
        raise TypeError(
            f"an index tensor must be of integers, not {index.dtype.name}"
            + (": use steep.where to choose by a condition" if index.dtype == dtypes.bool else "")
        )
    # The gathered axis first, as a slice of everything; then the gather along the axis it has in the view.
    view = getitem(x, (*parts[:at], slice(None), *parts[at + 1 :]))
    before, after = parts[:at], parts[at + 1 :]
    if any(part is ... for part in before):
        axis = view.ndim - 1 - sum(isinstance(part, slice) for part in after)
    else:
        axis = sum(isinstance(part, slice) for part in before)
    return take(view, index, axis)


def _getitem_vjp(g: Tensor, key: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Tensor]:
    return (_scatter(g, key, shape),)


def _scatter(g: Tensor, key: tuple[Any, ...], shape: tuple[int, ...]) -> Tensor:
    return record(_core.basic_index_backward(g, key, shape), _scatter_vjp, (g,), (key,))


def _scatter_vjp(g: Tensor, key: tuple[Any, ...]) -> tuple[Tensor]:
    return (getitem(g, key),)


def _check_basic(parts: tuple[Any, ...]) -> None:
    for part in parts:
        if isinstance(part, bool | np.bool_) or not isinstance(part, (*_BASIC, Tensor)):
            raise IndexError(
                f"an index must be an integer, a slice, None, ... or an integer tensor, not {type(part).__name__}"
            )


def setitem(x: Tensor, key: Any, value: Tensor) -> None:
    """x[key] = value in place, for integers, slices, None and ...; value is broadcast and cast to x's dtype."""
    parts = key if isinstance(key, tuple) else (key,)
    if any(_is_array(_array_index(part, x)) for part in parts):
        raise NotImplementedError("assignment through an index tensor is not supported: use steep.where")
    _check_basic(parts)
    view = _core.basic_index(x, parts)
    try:
        _core.assign(view, value)
    except ValueError as error:
        if "broadcast" not in str(error):
            raise
        raise ValueError(f"cannot assign a value of shape {value.shape} to elements of shape {view.shape}") from None


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """x's elements at the integer ``indices`` along ``axis``: shape x.shape[:axis] + indices.shape + x.shape[axis+1:].

    ``axis`` may be left out for 1-D x. Raises IndexError for an index out of range, TypeError for other dtypes.

    >>> import steep as st
    >>> st.take(st.tensor([10, 20, 30]), st.tensor([2, 0]))
    tensor([30, 10])
    """
    x = as_tensor(x, indices)
    indices = _integer_indices(indices, x)
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"take: axis must be given for a tensor of shape {x.shape}")
        axis = 0
    axis = manipulation.as_axis("take", axis, x.ndim)
    return record(_core.take(x, indices, axis), _take_vjp, (x,), (indices, axis, x.shape))


def _integer_indices(indices: Any, beside: Any = None) -> Tensor:
    indices = as_tensor(indices, beside)
    return indices.astype(dtypes.int64) if indices.size == 0 else indices


def _take_vjp(g: Tensor, indices: Tensor, axis: int, shape: tuple[int, ...]) -> tuple[Tensor]:
    return (record(_core.take_backward(g, indices, axis, shape), _take_backward_vjp, (g,), (indices, axis)),)


def _take_backward_vjp(g: Tensor, indices: Tensor, axis: int) -> tuple[Tensor]:
    return (take(g, indices, axis),)


def embedding(indices: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """The rows of ``weight`` (num_embeddings, …) at ``indices``, of shape indices.shape + weight.shape[1:].

    The row ``padding_idx`` gets no gradient. Raises IndexError for indices out of range (negative ones too), TypeError
    unless they are integers.

    >>> import steep as st
    >>> st.embedding(st.tensor([2, 0]), st.tensor([[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]]))
    tensor([[2. , 2.5],
            [0. , 0.5]])
    """
    indices = as_tensor(indices, weight)
    weight = as_tensor(weight, indices)
    if weight.ndim == 0:
        raise ValueError("embedding: weight is a single number: it needs a first axis of rows")
    if not indices.dtype.is_integer:
        raise TypeError(f"embedding: indices must be integers, not {indices.dtype.name}: use x.astype(steep.int64)")
    rows = weight.shape[0]
    if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < rows):
        raise IndexError(
            f"embedding: indices range from {int(indices.min())} to {int(indices.max())}, but with {rows} rows "
            f"they must lie in 0…{rows - 1}"
        )
    if padding_idx is None:
        return take(weight, indices, 0)
    if not -rows <= padding_idx < rows:
        raise IndexError(f"embedding: padding_idx={padding_idx} is out of range for {rows} rows")
    y = take(weight, indices, 0)
    padding = logic.equal(indices, padding_idx % rows)
    return elementwise.where(manipulation.reshape(padding, (*indices.shape, *[1] * (weight.ndim - 1))), y.detach(), y)


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Tensor:
    """For each line along ``axis`` its elements at the line of ``indices``, whose other axes equal x's.

    Raises ValueError if they don't, IndexError for an index out of range.

    >>> import steep as st
    >>> st.take_along_axis(st.tensor([[1, 2], [3, 4]]), st.tensor([[1], [0]]))
    tensor([[2],
            [3]])
    """
    x = as_tensor(x, indices)
    indices = _integer_indices(indices, x)
    axis = manipulation.as_axis("take_along_axis", axis, x.ndim)
    return record(_core.take_along_axis(x, indices, axis), _take_along_axis_vjp, (x,), (indices, axis, x.shape))


def _take_along_axis_vjp(g: Tensor, indices: Tensor, axis: int, shape: tuple[int, ...]) -> tuple[Tensor]:
    dx = _core.take_along_axis_backward(g, indices, axis, shape)
    return (record(dx, _take_along_axis_backward_vjp, (g,), (indices, axis)),)


def _take_along_axis_backward_vjp(g: Tensor, indices: Tensor, axis: int) -> tuple[Tensor]:
    return (take_along_axis(g, indices, axis),)


def one_hot(labels: Any, num_classes: int | None = None, dtype: Any = dtypes.float32) -> Tensor:
    """A new last axis of ``num_classes`` elements (the largest label + 1, for None): 1 at the label, 0 elsewhere.

    Raises ValueError for labels out of range, TypeError unless they are integers.

    >>> import steep as st
    >>> st.one_hot(st.tensor([1, 0]), 3)
    tensor([[0., 1., 0.],
            [1., 0., 0.]])
    """
    labels = _integer_indices(labels)
    if num_classes is None:
        num_classes = int(labels.max()) + 1 if labels.size else 0
    return _core.one_hot(labels, num_classes, as_dtype(dtype))
