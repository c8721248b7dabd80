"""Shapes: views where possible, and joining and splitting. Each vjp is directly beneath its forward."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

from .. import _core
from .._core import record
from ..checks import shown
from ..tensor import Tensor
from ._apply import as_tensor, as_tensors

__all__ = [
    "broadcast_arrays",
    "broadcast_to",
    "concat",
    "expand_dims",
    "flatten",
    "permute_dims",
    "reshape",
    "split",
    "squeeze",
    "stack",
    "transpose",
]


def as_axis(name: str, axis: Any, ndim: int) -> int:
    """An axis counted from the front. Raises TypeError unless it is an integer, IndexError if it is out of range."""
    try:
        axis = operator.index(axis)
    except TypeError:
        raise TypeError(f"{name}: an axis must be an integer, not {axis!r}") from None
    if not -ndim <= axis < ndim:
        raise IndexError(f"{name}: axis {axis} is out of range for a tensor of {ndim} dimension{'s' * (ndim != 1)}")
    return int(axis % ndim)


def line_axis(name: str, axis: Any, x: Tensor) -> int:
    """``as_axis`` of one that may be left out if x has one dimension. Raises ValueError if x has others."""
    if axis is None and x.ndim != 1:
        raise ValueError(f"{name}: axis must be given for a tensor of shape {x.shape}")
    return 0 if axis is None else as_axis(name, axis, x.ndim)


def as_axes(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """One axis, several, or all of them (None), counted from the front. Raises ValueError if one is given twice."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(as_axis(name, i, ndim) for i in (axis if isinstance(axis, tuple | list) else (axis,)))
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name}: an axis is given twice in {axis}")
    return axes


def as_shape(shape: Any) -> tuple[int, ...]:
    """A shape given as an integer or a sequence of integers. Raises TypeError for anything else."""
    try:
        if isinstance(shape, tuple | list | range):
            return tuple(map(operator.index, shape))
        return (operator.index(shape),)
    except TypeError:
        raise TypeError(f"a shape must be an integer or a sequence of integers, not {shape!r}") from None


def reshape(x: Any, shape: Any, copy: bool | None = None) -> Tensor:
    """The same elements in C order in another shape, in which one extent may be -1. A view where the strides allow it.

    ``copy`` is True for a copy in any case. Raises ValueError if the numbers of elements differ, and where ``copy`` is
    False and there is no such view.

    >>> import steep as st
    >>> st.reshape(st.arange(6), (2, -1))
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    x = as_tensor(x)
    y = _core.reshape(x, as_shape(shape))
    if copy is not None:
        shared = _core.shares_memory(x, y)
        if copy is False and not shared and y.size:
            raise ValueError(f"reshape: {x.shape} to {y.shape} needs a copy of these strides; copy=False forbids it")
        y = _core.copy(y) if copy and shared else y
    return record(y, _reshape_vjp, (x,), (x.shape,))


def _reshape_vjp(g: Tensor, shape: tuple[int, ...]) -> tuple[Tensor]:
    return (reshape(g, shape),)


def flatten(x: Any, start_axis: int = 0, end_axis: int = -1) -> Tensor:
    """The axes from ``start_axis`` to ``end_axis`` as one. Raises IndexError for an axis out of range."""
    x = as_tensor(x)
    if x.ndim == 0:
        return reshape(x, (1,))
    first, last = (as_axis("flatten", axis, x.ndim) for axis in (start_axis, end_axis))
    if first > last:
        raise ValueError(f"flatten: start_axis={start_axis} is behind end_axis={end_axis}")
    return reshape(x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def permute_dims(x: Any, axes: Sequence[int]) -> Tensor:
    """A view whose axis i is x's axis ``axes[i]``. Raises ValueError unless ``axes`` names each axis once."""
    x = as_tensor(x)
    axes = as_shape(axes)
    return record(_core.permute(x, axes), _permute_dims_vjp, (x,), (axes,))


def _permute_dims_vjp(g: Tensor, axes: tuple[int, ...]) -> tuple[Tensor]:
    inverse = [0] * len(axes)
    for i, axis in enumerate(axes):
        inverse[axis] = i
    return (permute_dims(g, inverse),)


def transpose(x: Any, axis0: int, axis1: int) -> Tensor:
    """A view with two axes exchanged. Raises IndexError for an axis out of range."""
    x = as_tensor(x)
    i, j = (as_axis("transpose", axis, x.ndim) for axis in (axis0, axis1))
    axes = list(range(x.ndim))
    axes[i], axes[j] = j, i
    return permute_dims(x, axes)


def squeeze(x: Any, axis: Any = None) -> Tensor:
    """A view without the given axes (all of them, for None), which must have one element each.

    Raises ValueError if one has more.
    """
    x = as_tensor(x)
    axes = tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None else as_shape(axis)
    return record(_core.squeeze(x, axes), _reshape_vjp, (x,), (x.shape,))


def expand_dims(x: Any, axis: int) -> Tensor:
    """A view with a new axis of one element at position ``axis``. Raises IndexError if that is out of range."""
    x = as_tensor(x)
    axis = as_axis("expand_dims", axis, x.ndim + 1)
    return record(_core.expand_dims(x, axis), _reshape_vjp, (x,), (x.shape,))


def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """The tensors as views of their common shape. Raises ValueError if there is none.

    >>> import steep as st
    >>> [x.shape for x in st.broadcast_arrays(st.ones(3), st.ones((2, 1)))]
    [(2, 3), (2, 3)]
    """
    tensors = as_tensors(*arrays)
    shape = _core.broadcast_shapes("broadcast_arrays", [x.shape for x in tensors])
    return [broadcast_to(x, shape) for x in tensors]


def broadcast_to(x: Any, shape: Any) -> Tensor:
    """A view in which axes of one element, and new ones in front, are repeated. Raises ValueError if that can't be."""
    x = as_tensor(x)
    # The vjp is the identity: the tape sums a gradient to the shape of its input.
    return record(_core.broadcast_to(x, as_shape(shape)), _broadcast_to_vjp, (x,))


def _broadcast_to_vjp(g: Tensor) -> tuple[Tensor]:
    return (g,)


def concat(tensors: Sequence[Any], axis: int | None = 0) -> Tensor:
    """Tensors joined along an existing axis (flattened first, for None).

    Raises ValueError if the other axes differ or there are no tensors.

    >>> import steep as st
    >>> st.concat([st.zeros(2), st.ones(1)])
    tensor([0., 0., 1.])
    """
    tensors = as_tensors(*tensors)
    if not tensors:
        raise ValueError("concat: there are no tensors to join")
    if axis is None:
        tensors, axis = tuple(reshape(x, (-1,)) for x in tensors), 0
    _check_joined("concat", axis)
    if tensors[0].ndim == 0:
        raise ValueError("concat: 0-d tensors have no axis to be joined along; use steep.stack")
    axis = as_axis("concat", axis, tensors[0].ndim)
    extents = tuple(x.shape[axis] if x.ndim > axis else 0 for x in tensors)
    return record(_core.concat(tensors, axis), _concat_vjp, tensors, (axis, extents))


def _concat_vjp(g: Tensor, axis: int, extents: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(_parts(g, extents, axis))


def _check_joined(name: str, axis: Any) -> None:
    """Raises TypeError for a second tensor in the place of an axis."""
    if not hasattr(axis, "__index__") or (isinstance(axis, Tensor) and axis.ndim):
        raise TypeError(
            f"{name}: axis must be an integer, not {shown(axis)}: the tensors are in a list, {name}([a, b])"
        )


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis. Raises ValueError if the shapes differ or there are no tensors."""
    tensors = as_tensors(*tensors)
    if not tensors:
        raise ValueError("stack: there are no tensors to join")
    _check_joined("stack", axis)
    for x in tensors:
        if x.shape != tensors[0].shape:
            raise ValueError(f"stack: shapes {tensors[0].shape} and {x.shape} differ")
    return concat([expand_dims(x, axis) for x in tensors], axis)


def with_extent(shape: tuple[int, ...], axis: int, extent: int) -> tuple[int, ...]:
    """The shape with another extent of an axis, which is counted from the front."""
    return (*shape[:axis], extent, *shape[axis + 1 :])


def slice_axis(x: Tensor, axis: int, part: slice) -> Tensor:
    """A view of a part of an axis, which is counted from the front."""
    return x[(slice(None),) * axis + (part,)]


def _parts(x: Tensor, extents: Sequence[int], axis: int) -> list[Tensor]:
    ends = itertools.accumulate(extents)
    return [slice_axis(x, axis, slice(end - n, end)) for n, end in zip(extents, ends, strict=True)]


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Views of consecutive parts along an axis: ``sections`` equal ones, or of the extents that a sequence lists.

    Raises ValueError if the parts don't add up.

    >>> import steep as st
    >>> [part.shape for part in st.split(st.zeros((5, 2)), [2, 3])]
    [(2, 2), (3, 2)]
    """
    x = as_tensor(x)
    axis = as_axis("split", axis, x.ndim)
    n = x.shape[axis]
    if isinstance(sections, Sequence):
        extents = as_shape(sections)
        fits = sum(extents) == n and all(extent >= 0 for extent in extents)
    else:
        count = operator.index(sections)
        fits = count > 0 and n % count == 0
        extents = (n // count,) * count if fits else ()
    if not fits:
        raise ValueError(f"split: axis {axis} of shape {x.shape} has {n} elements, which don't divide into {sections}")
    return _parts(x, extents, axis)
