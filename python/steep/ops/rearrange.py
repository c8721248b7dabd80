"""Reorderings, repetitions and paddings, composed of operations that have derivatives."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from ..tensor import Tensor
from ._apply import as_tensor
from .creation import arange, constant_part, copy, number_like
from .elementwise import where
from .indexing import take
from .manipulation import (
    as_axes,
    as_axis,
    as_shape,
    broadcast_to,
    concat,
    expand_dims,
    permute_dims,
    reshape,
    slice_axis,
    transpose,
)

__all__ = [
    "diff",
    "flip",
    "masked_fill",
    "meshgrid",
    "moveaxis",
    "pad",
    "repeat",
    "roll",
    "swapaxes",
    "tile",
    "tril",
    "triu",
    "unstack",
]


def _owned(y: Tensor, x: Tensor) -> Tensor:
    """y with memory of its own, so that a change of one of both doesn't reach the other."""
    return copy(y) if _core.shares_memory(y, x) else y


def flip(x: Any, axis: Any = None) -> Tensor:
    """A view with the order of the elements reversed along one axis, several, or all (None).

    >>> import steep as st
    >>> st.flip(st.tensor([1, 2, 3]))
    tensor([3, 2, 1])
    """
    x = as_tensor(x)
    axes = as_axes("flip", axis, x.ndim)
    return x[tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(x.ndim))]


def roll(x: Any, shift: int | Sequence[int], axis: Any = None) -> Tensor:
    """The elements moved on by ``shift`` places, the last ones to the front; of the flattened tensor for None.

    Several axes take a shift each, or all the same one. Raises ValueError if the numbers of both differ.

    >>> import steep as st
    >>> st.roll(st.tensor([1, 2, 3, 4]), 1)
    tensor([4, 1, 2, 3])
    """
    x = as_tensor(x)
    shifts = as_shape(shift)
    if axis is None:
        if len(shifts) != 1:
            raise ValueError(f"roll: the flattened tensor takes one shift, not {shift}")
        return reshape(roll(reshape(x, -1), shifts[0], 0), x.shape)
    axes = tuple(as_axis("roll", i, x.ndim) for i in (axis if isinstance(axis, tuple | list) else (axis,)))
    if len(shifts) == 1:
        shifts *= len(axes)
    if len(shifts) != len(axes):
        raise ValueError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    given = x
    for step, i in zip(shifts, axes, strict=True):
        n = x.shape[i]
        at = -step % n if n else 0
        if at:
            x = concat([slice_axis(x, i, slice(at, None)), slice_axis(x, i, slice(0, at))], i)
    return _owned(x, given)


def moveaxis(x: Any, source: Any, destination: Any) -> Tensor:
    """A view with axes moved to other places; the rest keep their order. Raises ValueError unless both are as many."""
    x = as_tensor(x)
    pairs = (axes if isinstance(axes, tuple | list) else (axes,) for axes in (source, destination))  # None is no axis
    sources, places = (as_axes("moveaxis", axes, x.ndim) for axes in pairs)
    if len(sources) != len(places):
        raise ValueError(f"moveaxis: {len(sources)} axes for {len(places)} places")
    order = [i for i in range(x.ndim) if i not in sources]
    for place, i in sorted(zip(places, sources, strict=True)):
        order.insert(place, i)
    return permute_dims(x, order)


def swapaxes(x: Any, axis0: int, axis1: int) -> Tensor:
    """A view with two axes exchanged: NumPy's name of ``transpose``."""
    return transpose(x, axis0, axis1)


def unstack(x: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Views of all the parts along an axis, without it: what ``stack`` joins.

    >>> import steep as st
    >>> st.unstack(st.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))
    """
    x = as_tensor(x)
    axis = as_axis("unstack", axis, x.ndim)
    first = moveaxis(x, axis, 0)
    return tuple(first[i] for i in range(first.shape[0]))


def tile(x: Any, repetitions: int | Sequence[int]) -> Tensor:
    """The tensor repeated as a whole along its axes, the last ones first; new axes come in front.

    >>> import steep as st
    >>> st.tile(st.tensor([1, 2]), 2)
    tensor([1, 2, 1, 2])
    """
    x = given = as_tensor(x)
    counts = as_shape(repetitions)
    if any(n < 0 for n in counts):
        raise ValueError(f"tile: repetitions {repetitions} must not be negative")
    ndim = max(x.ndim, len(counts))
    counts = (1,) * (ndim - len(counts)) + counts
    shape = [1] * (ndim - x.ndim) + [*x.shape]
    x = reshape(x, shape)
    repeated = [axis for axis in range(ndim) if counts[axis] != 1]
    while repeated:  # three at a time: with a new axis for each, more would not fit into 8
        axes, repeated = repeated[-3:], repeated[:-3]
        narrow = [math.prod(shape[: axes[0]])]
        wide = narrow[:]
        for axis, following in zip(axes, [*axes[1:], ndim], strict=True):
            block = math.prod(shape[axis:following])
            narrow += [1, block]
            wide += [counts[axis], block]
            shape[axis] *= counts[axis]
        x = reshape(broadcast_to(reshape(x, narrow), wide), shape)
    return _owned(x.contiguous(), given)


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element repeated in its place along an axis (of the flattened tensor, for None).

    ``repeats`` is one number, or one for each element. Raises ValueError for other shapes and negative numbers.

    >>> import steep as st
    >>> st.repeat(st.tensor([1, 2]), [1, 3])
    tensor([1, 2, 2, 2])
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis = as_axis("repeat", axis, x.ndim)
    counts = np.asarray(repeats.numpy() if isinstance(repeats, Tensor) else repeats)
    n = x.shape[axis]
    if counts.dtype.kind not in "iu" and counts.size:
        raise TypeError(f"repeat: repeats must be integers, not {counts.dtype}")
    if (counts < 0).any() or counts.ndim > 1 or counts.size not in (1, n):
        raise ValueError(
            f"repeat: repeats {repeats} must be one number, or one for each of {n} elements, none negative"
        )
    total = float(counts.sum(dtype=np.float64)) * (n if counts.size == 1 else 1)
    if total >= 2**48:  # where NumPy's own sum may wrap
        raise MemoryError(f"repeat: {total:.4g} elements along an axis are more than any machine can hold")
    return take(x, np.repeat(np.arange(n), counts.astype(np.int64)), axis)


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Tensor:
    """Elements added before and after along each axis: ``pad_width`` is one number, (before, after), or one for each.

    ``mode`` "constant" adds ``constant_values``, "edge" the outermost element, "reflect" mirrors without repeating it.
    Raises ValueError for widths that don't fit, negative ones, and reflections of more than there is.

    >>> import steep as st
    >>> st.pad(st.tensor([1, 2, 3]), (1, 2), mode="reflect")
    tensor([2, 1, 2, 3, 2, 1])
    """
    x = given = as_tensor(x)
    if mode not in ("constant", "edge", "reflect"):
        raise ValueError(f"pad: mode={mode!r} must be 'constant', 'edge' or 'reflect'")
    try:
        widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))
    except ValueError:
        raise ValueError(f"pad: pad_width {pad_width} does not fit a tensor of {x.ndim} dimensions") from None
    if widths.dtype.kind not in "iu" and x.ndim:
        raise TypeError(f"pad: pad_width must be integers, not {pad_width!r}")
    if (widths < 0).any():
        raise ValueError(f"pad: pad_width {pad_width} must not be negative")
    for axis, (before, after) in enumerate(widths.tolist()):
        n = x.shape[axis]
        if not before and not after:
            continue
        if mode == "constant":
            ends = [constant_part(constant_values, x, axis, width) for width in (before, after)]
            x = concat([ends[0], x, ends[1]], axis)
        elif n == 0 or (mode == "reflect" and max(before, after) >= n):
            raise ValueError(f"pad: axis {axis} of {n} elements is too short for mode={mode!r} with {before}, {after}")
        else:
            x = take(x, np.pad(np.arange(n), (before, after), mode=mode), axis)  # type: ignore[call-overload]
    return _owned(x, given)


def meshgrid(*tensors: Any, indexing: str = "xy") -> list[Tensor]:
    """Coordinates of the points of a grid from those along its axes; "xy" has the first along axis 1, "ij" along 0.

    Raises ValueError for tensors of more than one dimension.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing={indexing!r} must be 'xy' or 'ij'")
    lines = [as_tensor(x) for x in tensors]
    if any(x.ndim > 1 for x in lines):
        raise ValueError(f"meshgrid: tensors of shapes {[x.shape for x in lines]} must have one dimension")
    lines = [reshape(x, -1) for x in lines]
    order = list(range(len(lines)))
    if indexing == "xy" and len(lines) > 1:
        order[0], order[1] = 1, 0
    shape = tuple(lines[i].size for i in order)
    return [
        broadcast_to(reshape(x, [-1 if order[i] == number else 1 for i in range(len(lines))]), shape)
        for number, x in enumerate(lines)
    ]


def tril(x: Any, k: int = 0) -> Tensor:
    """The lower triangles of the last two axes, up to the k-th diagonal above the main one, and 0 elsewhere."""
    x = as_tensor(x)
    rows, columns = _positions("tril", x)
    return where(columns - rows <= operator.index(k), x, number_like(0, x))


def triu(x: Any, k: int = 0) -> Tensor:
    """The upper triangles of the last two axes, from the k-th diagonal above the main one on, and 0 elsewhere.

    >>> import steep as st
    >>> st.triu(st.ones((2, 3)), 1)
    tensor([[0., 1., 1.],
            [0., 0., 1.]])
    """
    x = as_tensor(x)
    rows, columns = _positions("triu", x)
    return where(columns - rows >= operator.index(k), x, number_like(0, x))


def _positions(name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim < 2:
        raise ValueError(f"{name}: a tensor of shape {x.shape} has no matrices: it needs two dimensions or more")
    return expand_dims(arange(x.shape[-2], device=x.device), 1), arange(x.shape[-1], device=x.device)


def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """Differences of neighbours along an axis, ``n`` times; ``prepend`` and ``append`` are joined to it before.

    >>> import steep as st
    >>> st.diff(st.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    x = as_tensor(x)
    axis = as_axis("diff", axis, x.ndim)
    if operator.index(n) < 0:
        raise ValueError(f"diff: n={n} must not be negative")
    if n == 0:
        return x
    ends = [end if end is None else as_tensor(end, x) for end in (prepend, append)]
    parts = [part for part in (ends[0], x, ends[1]) if part is not None]
    if len(parts) > 1:
        x = concat(parts, axis)
    for _ in range(n):
        x = slice_axis(x, axis, slice(1, None)) - slice_axis(x, axis, slice(None, -1))
    return x


def masked_fill(x: Any, mask: Any, value: Any) -> Tensor:
    """x with ``value`` where the bool tensor ``mask`` is true, broadcast together; a number takes x's dtype."""
    x = as_tensor(x, mask)
    return where(mask, value if isinstance(value, Tensor) else number_like(value, x), x)
