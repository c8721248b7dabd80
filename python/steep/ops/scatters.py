"""Tensors with elements replaced or added to at given places. Each vjp is directly beneath its forward."""

from __future__ import annotations

from typing import Any

from .. import _core, dtypes
from .._core import record
from ..tensor import Tensor
from ._apply import as_tensor
from .creation import arange, constant_part, number_like, zeros
from .elementwise import where
from .indexing import as_indices, gather, take
from .logic import equal
from .manipulation import as_axis, reshape, with_extent

__all__ = [
    "index_add",
    "index_copy",
    "scatter",
    "scatter_add",
]


def scatter(x: Any, axis: int, index: Any, src: Any) -> Tensor:
    """A copy of x with y[i, index[i, j]] = src[i, j] for axis 1 of two, and so on; ``src`` may be a number.

    Of several values for one element the last stays, and it alone gets the gradient. The other axes of ``index`` may be
    shorter than x's, and all of them than those of ``src``. Raises ValueError if they are longer, TypeError if the
    dtypes of x and ``src`` differ, IndexError for an index out of range.

    >>> import steep as st
    >>> st.scatter(st.zeros((2, 3)), 1, st.tensor([[2], [0]]), 1)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    x, axis, index, src = _operands("scatter", x, axis, index, src)
    y = _core.scatter_along_axis(x, index, axis, src)
    return record(y, _scatter_vjp, (x, src), (axis, index, src.requires_grad))


def _scatter_vjp(g: Tensor, axis: int, index: Tensor, needs_src: bool) -> tuple[Tensor, Tensor | None]:
    dx = scatter(g, axis, index, 0)
    if not needs_src:
        return dx, None
    order = reshape(arange(index.size, device=g.device), index.shape)
    last = _core.scatter_along_axis(zeros(g.shape, dtype=dtypes.int64, device=g.device), index, axis, order)
    stayed = equal(_core.gather_along_axis(last, index, axis), order)
    return dx, where(stayed, gather(g, axis, index), 0.0)


def scatter_add(x: Any, axis: int, index: Any, src: Any) -> Tensor:
    """A copy of x with y[i, index[i, j]] += src[i, j] for axis 1 of two, and so on; ``src`` may be a number.

    Sums are in the order of ``index``, the same every time. Shapes and errors are those of ``scatter``.

    >>> import steep as st
    >>> st.scatter_add(st.zeros(3), 0, st.tensor([2, 0, 2]), st.tensor([1.0, 2.0, 3.0]))
    tensor([2., 0., 4.])
    """
    x, axis, index, src = _operands("scatter_add", x, axis, index, src)
    _check_sums("scatter_add", x)
    y = _core.scatter_add_along_axis(x, index, axis, src)
    return record(y, _scatter_add_vjp, (x, src), (axis, index, src.requires_grad))


def _scatter_add_vjp(g: Tensor, axis: int, index: Tensor, needs_src: bool) -> tuple[Tensor, Tensor | None]:
    return g, gather(g, axis, index) if needs_src else None


def _operands(name: str, x: Any, axis: int, index: Any, src: Any) -> tuple[Tensor, int, Tensor, Tensor]:
    x = as_tensor(x, index)
    index = as_indices(index, x)
    axis = as_axis(name, axis, x.ndim)
    if isinstance(src, bool | int | float):
        return x, axis, index, number_like(src, x)
    src = as_tensor(src, x)
    _check_dtypes(name, x, src)
    if src.ndim != index.ndim or any(n < extent for n, extent in zip(src.shape, index.shape, strict=True)):
        raise ValueError(f"{name}: src of shape {src.shape} has too few elements for indices of shape {index.shape}")
    return x, axis, index, src if src.shape == index.shape else src[tuple(slice(n) for n in index.shape)]


def _check_dtypes(name: str, x: Tensor, values: Tensor) -> None:
    if x.dtype is not values.dtype:
        raise TypeError(f"{name}: {values.dtype.name} values for a {x.dtype.name} tensor: convert one with .astype")


def _check_sums(name: str, x: Tensor) -> None:
    if x.dtype is dtypes.bool:
        raise TypeError(f"{name}: truth values cannot be added: convert them with .astype")


def index_add(x: Any, axis: int, index: Any, source: Any, alpha: float = 1) -> Tensor:
    """A copy of x with alpha · source[:, k] added to y[:, index[k]] for axis 1 of two, and so on, in the order of k.

    ``index`` has one dimension, and ``source`` has x's shape but for that axis. Raises ValueError for other shapes,
    TypeError if the dtypes of x and ``source`` differ, IndexError for an index out of range.

    >>> import steep as st
    >>> st.index_add(st.zeros((2, 2)), 0, st.tensor([1, 1]), st.ones((2, 2)))
    tensor([[0., 0.],
            [2., 2.]])
    """
    x, axis, index, source = _lines("index_add", x, axis, index, source)
    _check_sums("index_add", x)
    if alpha != 1:
        source = source * alpha
        _check_dtypes("index_add", x, source)
    y = _core.index_add(x, index, axis, source)
    return record(y, _index_add_vjp, (x, source), (axis, index, source.requires_grad))


def _index_add_vjp(g: Tensor, axis: int, index: Tensor, needs_source: bool) -> tuple[Tensor, Tensor | None]:
    return g, take(g, index, axis) if needs_source else None


def index_copy(x: Any, axis: int, index: Any, source: Any) -> Tensor:
    """A copy of x with y[:, index[k]] = source[:, k] for axis 1 of two, and so on; of several for one, the last stays.

    Shapes and errors are those of ``index_add``.

    >>> import steep as st
    >>> st.index_copy(st.zeros((2, 2)), 0, st.tensor([1]), st.ones((1, 2)))
    tensor([[0., 0.],
            [1., 1.]])
    """
    x, axis, index, source = _lines("index_copy", x, axis, index, source)
    y = _core.index_copy(x, index, axis, source)
    return record(y, _index_copy_vjp, (x, source), (axis, index, source.requires_grad))


def _index_copy_vjp(g: Tensor, axis: int, index: Tensor, needs_source: bool) -> tuple[Tensor, Tensor | None]:
    dx = index_copy(g, axis, index, constant_part(0, g, axis, index.size))
    if not needs_source:
        return dx, None
    order = arange(index.size, device=g.device)
    last = _core.index_copy(zeros(g.shape[axis], dtype=dtypes.int64, device=g.device), index, 0, order)
    stayed = reshape(equal(_core.take(last, index, 0), order), (-1, *(1,) * (g.ndim - axis - 1)))
    return dx, where(stayed, take(g, index, axis), 0.0)


def _lines(name: str, x: Any, axis: int, index: Any, source: Any) -> tuple[Tensor, int, Tensor, Tensor]:
    x = as_tensor(x, source)
    index = as_indices(index, x)
    source = as_tensor(source, x)
    axis = as_axis(name, axis, x.ndim)
    _check_dtypes(name, x, source)
    if index.ndim != 1 or source.shape != with_extent(x.shape, axis, index.size):
        raise ValueError(
            f"{name}: {index.shape} indices and a source of shape {source.shape} do not fit axis {axis} of a tensor of "
            f"shape {x.shape}: there must be one index for each of the source's elements on that axis, and the other "
            "axes must be equal"
        )
    return x, axis, index, source
