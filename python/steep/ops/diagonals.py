"""Diagonals and triangles of matrices. Each vjp is directly beneath its forward."""

from __future__ import annotations

import operator
from typing import Any

from .. import _core
from .._core import record
from ..tensor import Tensor
from ._apply import as_tensor
from .creation import arange
from .indexing import nonzero
from .manipulation import as_axis, expand_dims

__all__ = [
    "diag",
    "diag_embed",
    "diagonal",
    "tril_indices",
    "triu_indices",
]


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """A view of the elements x[i, i + offset] of two axes, as a new last axis in place of both.

    Raises IndexError for an axis out of range, ValueError if both are the same.

    >>> import steep as st
    >>> st.diagonal(st.arange(9).reshape(3, 3), offset=1)
    tensor([1, 5])
    """
    x = as_tensor(x)
    first, second = _two_axes("diagonal", axis1, axis2, x.ndim)
    return _diagonal(x, operator.index(offset), first, second)


def _diagonal(x: Tensor, offset: int, axis1: int, axis2: int) -> Tensor:
    offset = max(-(2**62), min(offset, 2**62))  # beyond which there are no elements either
    y = _core.diagonal(x, offset, axis1, axis2)
    return record(y, _diagonal_vjp, (x,), (offset, axis1, axis2, x.shape))


def _diagonal_vjp(g: Tensor, offset: int, axis1: int, axis2: int, shape: tuple[int, ...]) -> tuple[Tensor]:
    return (_embedded(g, offset, axis1, axis2, shape),)


def _embedded(x: Tensor, offset: int, axis1: int, axis2: int, shape: tuple[int, ...]) -> Tensor:
    """Zeros of a shape, with x as the diagonal."""
    y = _core.diagonal_backward(x, offset, axis1, axis2, shape)
    return record(y, _embedded_vjp, (x,), (offset, axis1, axis2))


def _embedded_vjp(g: Tensor, offset: int, axis1: int, axis2: int) -> tuple[Tensor]:
    return (_diagonal(g, offset, axis1, axis2),)


def diag_embed(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """Square matrices over two new axes, with the last axis of x as the diagonal ``offset`` above the main one, and 0
    elsewhere. Raises ValueError for a 0-d tensor.

    >>> import steep as st
    >>> st.diag_embed(st.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    x = as_tensor(x)
    if x.ndim == 0:
        raise ValueError("diag_embed: a 0-d tensor has no elements for a diagonal")
    first, second = _two_axes("diag_embed", axis1, axis2, x.ndim + 1)
    offset = operator.index(offset)
    n = x.shape[-1] + abs(offset)
    shape = list(x.shape[:-1])
    for axis in sorted((first, second)):
        shape.insert(axis, n)
    return _embedded(x, offset, first, second, tuple(shape))


def _two_axes(name: str, axis1: int, axis2: int, ndim: int) -> tuple[int, int]:
    first, second = as_axis(name, axis1, ndim), as_axis(name, axis2, ndim)
    if first == second:
        raise ValueError(f"{name}: the axes {axis1} and {axis2} are the same one")
    return first, second


def diag(x: Any, k: int = 0) -> Tensor:
    """The k-th diagonal above the main one of a matrix, as a copy; or the matrix with a 1-D tensor as that diagonal.

    Raises ValueError for other numbers of dimensions.

    >>> import steep as st
    >>> st.diag(st.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    x = as_tensor(x)
    if x.ndim == 1:
        return diag_embed(x, k)
    if x.ndim != 2:
        raise ValueError(f"diag: shape {x.shape} must have one or two dimensions; see diagonal and diag_embed")
    return diagonal(x, k).copy()


def tril_indices(n: int, k: int = 0, m: int | None = None, device: Any = None) -> tuple[Tensor, Tensor]:
    """The rows and the columns of the lower triangle of an (n, m) matrix, up to the k-th diagonal above the main."""
    rows, columns = nonzero(_distance(n, m, device) <= operator.index(k))
    return rows, columns


def triu_indices(n: int, k: int = 0, m: int | None = None, device: Any = None) -> tuple[Tensor, Tensor]:
    """The rows and the columns of the upper triangle of an (n, m) matrix, from the k-th diagonal above the main one on.

    >>> import steep as st
    >>> st.triu_indices(2)
    (tensor([0, 0, 1]), tensor([0, 1, 1]))
    """
    rows, columns = nonzero(_distance(n, m, device) >= operator.index(k))
    return rows, columns


def _distance(n: int, m: int | None, device: Any) -> Tensor:
    """How far each element of an (n, m) matrix is to the right of the main diagonal."""
    return arange(n if m is None else m, device=device) - expand_dims(arange(n, device=device), 1)
