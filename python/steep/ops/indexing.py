"""Indexing, gathering and one-hot encoding. Each vjp is directly beneath its forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core, dtypes
from .._core import record
from ..dtypes import as_dtype
from ..tensor import Tensor
from . import elementwise, logic, manipulation
from ._apply import as_tensor, as_tensors

__all__ = [
    "argwhere",
    "embedding",
    "gather",
    "masked_select",
    "nonzero",
    "one_hot",
    "take",
    "take_along_axis",
]

_BASIC = (int, slice, type(None), type(...), np.integer)
_ARRAYS = (list, tuple, range, np.ndarray, bool, np.bool_)
_ALL = slice(None)


def _array_index(key: Any, x: Tensor) -> Any:
    """Lists, arrays and truth values in an index, as tensors beside x."""
    if not isinstance(key, _ARRAYS):
        return key
    empty = not isinstance(key, np.ndarray) and np.size(key) == 0
    return as_indices(key, x) if empty else as_tensor(key, x)


def _parts(key: Any, x: Tensor) -> tuple[Any, ...]:
    return tuple([_array_index(k, x) for k in key]) if isinstance(key, tuple) else (_array_index(key, x),)


def _is_array(key: Any) -> bool:
    return isinstance(key, Tensor) and (key.ndim > 0 or not key.dtype.is_integer)


def getitem(x: Tensor, key: Any) -> Tensor:
    """x[key], as in NumPy: integers, slices, None and ... give a view; index tensors, lists and masks a new tensor.

    The index tensors of a key are broadcast together, and their axes stand in the place of the axes that they index;
    in front of all others, if a slice, None or ... stands between them. An integer beside them counts as one of them.
    A mask, a bool tensor over some axes, stands for the coordinates of its true elements. Raises IndexError for an
    index out of range, a mask of another shape than its axes, and index tensors that don't broadcast.

    >>> import steep as st
    >>> x = st.arange(12).reshape(3, 4)
    >>> x[1, ::2], x[[0, 2], 0]
    (tensor([4, 6]), tensor([0, 8]))
    >>> x[[0, 2], [1, -1]], x[x % 5 == 0]
    (tensor([ 1, 11]), tensor([ 0,  5, 10]))
    """
    if isinstance(key, Tensor) and key.dtype.is_integer and key.ndim and x.ndim:  # the most frequent of index tensors
        return _gathered(x, 0, False, (key,))
    parts = _parts(key, x)
    if not any(map(_is_array, parts)):
        _check_basic(parts)
        return record(_core.basic_index(x, parts), _getitem_vjp, (x,), (parts, x.shape))
    view, axis, arrays, names = _choose(x, parts)
    if not _is_one_mask(arrays):
        return _gathered(view, axis, False, _coordinates(arrays), names)
    (mask,) = arrays
    if mask.ndim > 1:  # positions over its axes as one: fewer numbers than coordinates
        view = manipulation.reshape(view, (*view.shape[:axis], mask.size, *view.shape[axis + mask.ndim :]))
    return _gathered(view, axis, True, (_core.flat_nonzero(mask),))


def _getitem_vjp(g: Tensor, key: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Tensor]:
    return (_scatter(g, key, shape),)


def _scatter(g: Tensor, key: tuple[Any, ...], shape: tuple[int, ...]) -> Tensor:
    return record(_core.basic_index_backward(g, key, shape), _scatter_vjp, (g,), (key,))


def _scatter_vjp(g: Tensor, key: tuple[Any, ...]) -> tuple[Tensor]:
    return (getitem(g, key),)


def _gathered(x: Tensor, axis: int, distinct: bool, indices: Sequence[Tensor], names: Sequence[int] = ()) -> Tensor:
    """x with the index tensors in place of its axes from ``axis`` on, which errors call by ``names``."""
    y = _core.gather(x, indices, axis, names, distinct)
    return record(y, _gathered_vjp, (x,), (axis, distinct, x.shape, *indices))


def _gathered_vjp(g: Tensor, axis: int, distinct: bool, shape: tuple[int, ...], *indices: Tensor) -> tuple[Tensor]:
    dx = _core.gather_backward(g, indices, axis, shape, distinct)
    return (record(dx, _gathered_backward_vjp, (g,), (axis, distinct, *indices)),)


def _gathered_backward_vjp(g: Tensor, axis: int, distinct: bool, *indices: Tensor) -> tuple[Tensor]:
    return (_gathered(g, axis, distinct, indices),)


def _check_basic(parts: tuple[Any, ...]) -> None:
    for part in parts:
        if not isinstance(part, (*_BASIC, Tensor)):
            raise IndexError(
                "an index must be an integer, a slice, None, ..., an integer tensor or a mask, "
                f"not {type(part).__name__}"
            )


def _choose(x: Tensor, parts: tuple[Any, ...]) -> tuple[Tensor, int, list[Tensor], list[int]]:
    """For a key with index tensors: a view of x, in which they index its axes from a certain one on; those tensors and
    masks, of one dimension or more; and the axes' numbers in x."""
    taken = [0 if k is None or k is ... else k.ndim if _is_mask(k) else 1 for k in parts]
    if sum(taken) > x.ndim:
        raise IndexError(f"too many indices: {sum(taken)} for a tensor of shape {x.shape}")
    if sum(k is ... for k in parts) > 1:
        raise IndexError("an index can have only one ellipsis ('...')")
    basic: list[Any] = []
    arrays: list[Tensor] = []
    axes: list[int] = []  # that are indexed, in the view
    names: list[int] = []  # the same ones, in x
    places: list[int] = []  # in the key, of index tensors and the integers beside them
    axis = source = 0  # of the view and of x
    for place, (part, count) in enumerate(zip(parts, taken, strict=True)):
        if _is_array(part):
            new = 1 if part.ndim == 0 else 0  # a truth value is a mask over a new axis of one element
            if _is_mask(part):
                _check_mask(part, x.shape, source)
            elif not part.dtype.is_integer:
                raise TypeError(f"an index tensor must hold integers, or truth values as a mask, not {part.dtype.name}")
            basic += [None] * new + [_ALL] * count
            arrays.append(manipulation.reshape(part, (1,)) if new else part)
            axes += range(axis, axis + count + new)
            names += range(source, source + count + new)
            places.append(place)
            axis += count + new
        elif part is ...:
            count = x.ndim - sum(taken)
            basic += [_ALL] * count
            axis += count
        else:
            basic.append(part)
            if part is None or isinstance(part, slice):
                axis += 1
            else:
                places.append(place)
        source += count
    _check_basic(tuple(basic))
    view = x if all(isinstance(k, slice) and k == _ALL for k in basic) else getitem(x, tuple(basic))
    if places[-1] - places[0] == len(places) - 1:
        return view, axes[0], arrays, names
    order = (*axes, *(i for i in range(view.ndim) if i not in axes))
    return manipulation.permute_dims(view, order), 0, arrays, names


def _is_mask(key: Any) -> bool:
    return isinstance(key, Tensor) and key.dtype is dtypes.bool


def _check_mask(mask: Tensor, shape: tuple[int, ...], axis: int) -> None:
    for i, extent in enumerate(mask.shape, axis):
        if extent != shape[i]:
            raise IndexError(
                f"a mask of shape {mask.shape} does not fit a tensor of shape {shape}: it has {extent} elements for "
                f"axis {i} with {shape[i]}"
            )


def _is_one_mask(arrays: list[Tensor]) -> bool:
    return len(arrays) == 1 and _is_mask(arrays[0])


def _coordinates(arrays: list[Tensor]) -> list[Tensor]:
    """An index tensor for each of the indexed axes."""
    out: list[Tensor] = []
    for array in arrays:
        out.extend(nonzero(array) if _is_mask(array) else (array,))
    return out


def setitem(x: Tensor, key: Any, value: Tensor) -> None:
    """x[key] = value in place; value is broadcast and cast to x's dtype.

    Where index tensors name an element several times, its last value stays, as in NumPy; so x[i] += 1 adds 1 once:
    ``index_add`` and ``scatter_add`` add every time.
    """
    parts = _parts(key, x)
    if any(map(_is_array, parts)):
        return _set_chosen(x, parts, value)
    _check_basic(parts)
    view = _core.basic_index(x, parts)
    try:
        _core.assign(view, value)
    except ValueError as error:
        if "broadcast" not in str(error):
            raise
        raise ValueError(f"cannot assign a value of shape {value.shape} to elements of shape {view.shape}") from None


def _set_chosen(x: Tensor, parts: tuple[Any, ...], value: Tensor) -> None:
    view, axis, arrays, names = _choose(x, parts)
    distinct = _is_one_mask(arrays)
    if distinct and value.ndim == 0:  # nothing has to be found, nor waited for on a device
        mask = manipulation.reshape(arrays[0], (*arrays[0].shape, *(1,) * (view.ndim - axis - arrays[0].ndim)))
        value = _core.to_device(_core.astype(value, x.dtype), x.device)
        _core.assign(view, _core.where(mask, value, view))
    else:
        _core.scatter_(view, _coordinates(arrays), axis, names, distinct, value)


def nonzero(x: Any) -> tuple[Tensor, ...]:
    """The coordinates of the elements that are not 0 (False), in C order: an int64 tensor for each axis.

    Raises ValueError for a 0-d tensor. On a device it waits for their number.

    >>> import steep as st
    >>> st.nonzero(st.tensor([[0, 1], [2, 0]]))
    (tensor([0, 1]), tensor([1, 0]))
    """
    return tuple(_core.nonzero(_with_axes("nonzero", x)))


def argwhere(x: Any) -> Tensor:
    """The coordinates of the elements that are not 0 (False), in C order, as rows: shape (their number, x.ndim), int64.

    Raises ValueError for a 0-d tensor.

    >>> import steep as st
    >>> st.argwhere(st.tensor([[0, 1], [2, 0]]))
    tensor([[0, 1],
            [1, 0]])
    """
    return manipulation.transpose(_core.nonzero(_with_axes("argwhere", x)), 0, 1)


def _with_axes(name: str, x: Any) -> Tensor:
    x = as_tensor(x)
    if x.ndim == 0:
        raise ValueError(f"{name}: a 0-d tensor has no coordinates")
    return x


def masked_select(x: Any, mask: Any) -> Tensor:
    """The elements of x where the bool tensor ``mask`` is true, both broadcast together: one dimension, in C order.

    Raises TypeError for a mask of another dtype.

    >>> import steep as st
    >>> st.masked_select(st.tensor([[1, 2], [3, 4]]), st.tensor([True, False]))
    tensor([1, 3])
    """
    x, mask = as_tensors(x, mask)
    if mask.dtype is not dtypes.bool:
        raise TypeError(f"masked_select: the mask must be bool, not {mask.dtype.name}")
    shape = np.broadcast_shapes(x.shape, mask.shape)
    return getitem(manipulation.broadcast_to(x, shape), manipulation.broadcast_to(mask, shape))


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """x's elements at the integer ``indices`` along ``axis``: shape x.shape[:axis] + indices.shape + x.shape[axis+1:].

    ``axis`` may be left out for 1-D x. Raises IndexError for an index out of range, TypeError for other dtypes.

    >>> import steep as st
    >>> st.take(st.tensor([10, 20, 30]), st.tensor([2, 0]))
    tensor([30, 10])
    """
    x = as_tensor(x, indices)
    indices = as_indices(indices, x)
    axis = manipulation.line_axis("take", axis, x)
    return record(_core.take(x, indices, axis), _take_vjp, (x,), (indices, axis, x.shape))


def as_indices(indices: Any, beside: Any = None) -> Tensor:
    """Indices as a tensor; an empty list is one of integers."""
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
    indices, weight = as_tensors(indices, weight)
    if weight.ndim == 0:
        raise ValueError("embedding: weight is a single number: it needs a first axis of rows")
    if not indices.dtype.is_integer:
        raise TypeError(f"embedding: indices must be integers, not {indices.dtype.name}: use x.astype(steep.int64)")
    rows = weight.shape[0]
    try:
        indices = _core.checked_labels("embedding", indices, rows)
    except ValueError:
        raise IndexError(
            f"embedding: indices range from {int(indices.min())} to {int(indices.max())}, but with {rows} rows "
            f"they must lie in 0…{rows - 1}"
        ) from None
    if padding_idx is None:
        return take(weight, indices, 0)
    if not -rows <= padding_idx < rows:
        raise IndexError(f"embedding: padding_idx={padding_idx} is out of range for {rows} rows")
    y = take(weight, indices, 0)
    padding = logic.equal(indices, padding_idx % rows)
    return elementwise.where(manipulation.reshape(padding, (*indices.shape, *[1] * (weight.ndim - 1))), y.detach(), y)


def gather(x: Any, axis: int, index: Any) -> Tensor:
    """x's elements at the integers ``index`` along an axis: y[i, j] = x[i, index[i, j]] for axis 1 of two, and so on.

    The result has the shape of ``index``, whose other axes may be shorter than x's. Raises ValueError if they are
    longer, IndexError for an index out of range.

    >>> import steep as st
    >>> st.gather(st.tensor([[1, 2], [3, 4]]), 1, st.tensor([[1, 1, 0]]))
    tensor([[2, 2, 1]])
    """
    x = as_tensor(x, index)
    index = as_indices(index, x)
    axis = manipulation.as_axis("gather", axis, x.ndim)
    return record(_core.gather_along_axis(x, index, axis), take_along_axis_vjp, (x,), (index, axis, x.shape))


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Tensor:
    """For each line along ``axis`` its elements at the line of ``indices``, whose other axes equal x's.

    Raises ValueError if they don't, IndexError for an index out of range.

    >>> import steep as st
    >>> st.take_along_axis(st.tensor([[1, 2], [3, 4]]), st.tensor([[1], [0]]))
    tensor([[2],
            [3]])
    """
    x = as_tensor(x, indices)
    indices = as_indices(indices, x)
    axis = manipulation.as_axis("take_along_axis", axis, x.ndim)
    return record(_core.take_along_axis(x, indices, axis), take_along_axis_vjp, (x,), (indices, axis, x.shape))


def take_along_axis_vjp(g: Tensor, indices: Tensor, axis: int, shape: tuple[int, ...]) -> tuple[Tensor]:
    dx = _core.take_along_axis_backward(g, indices, axis, shape)
    return (record(dx, _take_along_axis_backward_vjp, (g,), (indices, axis)),)


def _take_along_axis_backward_vjp(g: Tensor, indices: Tensor, axis: int) -> tuple[Tensor]:
    return (gather(g, axis, indices),)


def one_hot(labels: Any, num_classes: int | None = None, dtype: Any = dtypes.float32) -> Tensor:
    """A new last axis of ``num_classes`` elements (the largest label + 1, for None): 1 at the label, 0 elsewhere.

    Raises ValueError for labels out of range and a number of classes that is none, TypeError unless the labels are
    integers.

    >>> import steep as st
    >>> st.one_hot(st.tensor([1, 0]), 3)
    tensor([[0., 1., 0.],
            [1., 0., 0.]])
    """
    labels = as_indices(labels)
    if num_classes is None:
        num_classes = int(labels.max()) + 1 if labels.size else 0
    if not (hasattr(num_classes, "__index__") and 0 <= num_classes < 2**48):
        raise ValueError(f"one_hot: num_classes={num_classes!r} must be the number of classes")
    return _core.one_hot(labels, num_classes, as_dtype(dtype))
