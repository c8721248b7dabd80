"""Distances between points."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from .. import _core, autocasting
from .._core import is_recording, record
from ..devices import cpu
from ..dtypes import float32
from ..tensor import Tensor
from . import elementwise, linalg, logic, manipulation, reduction
from ._apply import as_tensors

__all__ = ["cdist"]

BLOCK = 1 << 18  # differences of points at a time, where they are formed in memory


def cdist(a: Any, b: Any, p: float = 2.0) -> Tensor:
    """(Σ |aᵢ − bⱼ|^p)^(1/p) between all points of a (…, n, d) and b (…, m, d), batches broadcast: shape (…, n, m).

    For p = ∞ the largest difference, for p = 0 the number of those that are not 0. The differences are formed, so that
    points close to each other lose no digits. The derivative between equal points is 0. Raises ValueError if the
    shapes don't fit or p is negative, TypeError unless both have one floating-point dtype.

    >>> import steep as st
    >>> st.cdist(st.tensor([[0.0, 0.0]]), st.tensor([[3.0, 4.0], [1.0, 0.0]]))
    tensor([[5., 1.]])
    """
    a, b = as_tensors(a, b)
    if autocasting.blocks:
        a, b = autocasting.in_float32(a), autocasting.in_float32(b)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"cdist: shapes {a.shape} and {b.shape} must be (…, n, d) and (…, m, d)")
    number: Any = p
    if not isinstance(number, Real):
        raise TypeError(f"cdist: p must be a number, not {number!r:.60}")
    if not p >= 0:
        raise ValueError(f"cdist: p={p} must not be negative")
    if a.dtype is not b.dtype or not a.dtype.is_floating_point:
        raise TypeError(f"cdist: both tensors must have one floating-point dtype, not {a.dtype.name}, {b.dtype.name}")
    if a.dtype.itemsize == 2:  # whose squares may not be finite
        return cdist(a.astype(float32), b.astype(float32), p).astype(a.dtype)
    y = (_core.cdist if _on_cpu(a, b) else _composed)(a.detach(), b.detach(), float(p))
    return record(y, _cdist_vjp, (a, b), (a, b, y, float(p))) if p > 0 else y


def _on_cpu(*tensors: Tensor) -> bool:
    return all(x.device is cpu for x in tensors)


def _cdist_vjp(g: Tensor, a: Tensor, b: Tensor, y: Tensor, p: float) -> tuple[Tensor, Tensor]:
    if is_recording():
        dx = _slopes(g, a, b, y, p)
        return reduction.sum(dx, -1).mT, -reduction.sum(dx, -2).mT
    if _on_cpu(a):
        return _core.cdist_backward(g.mT, b, a, y.mT, p), _core.cdist_backward(g, a, b, y, p)
    return _composed_vjp(g, a, b, y, p)


def _composed(a: Tensor, b: Tensor, p: float) -> Tensor:
    if a.shape[-1] == 0:
        p = 1.0  # all the distances are 0, the largest of no differences too
    blocks = [linalg.vector_norm(_differences(part, b), -3, ord=p) for part in _blocks(a, b)]
    return blocks[0] if len(blocks) == 1 else manipulation.concat(blocks, -2)


def _composed_vjp(g: Tensor, a: Tensor, b: Tensor, y: Tensor, p: float) -> tuple[Tensor, Tensor]:
    da, db = [], None
    for part, g_part, y_part in _blocks(a, b, g, y):
        dx = _slopes(g_part, part, b, y_part, p)
        da.append(reduction.sum(dx, -1).mT)
        total = reduction.sum(dx, -2).mT
        db = total if db is None else db + total
    assert db is not None
    return manipulation.concat(da, -2), -db


def _differences(a: Tensor, b: Tensor) -> Tensor:
    """a − b for all pairs, of shape (…, d, n, m): sums over an axis in front go along the points, which are many."""
    return manipulation.expand_dims(a.mT, -1) - manipulation.expand_dims(b.mT, -2)


def _blocks(a: Tensor, b: Tensor, *others: Tensor) -> list[Any]:
    """a, or tuples of a and others, cut along the axis of a's points so that a block has few differences."""
    n = a.shape[-2]
    each = max(1, BLOCK // max(1, math.prod(b.shape) * math.prod(a.shape[:-2])))
    keys = [(..., slice(begin, begin + each), slice(None)) for begin in range(0, max(n, 1), each)]
    return [tuple(x[key] for x in (a, *others)) if others else a[key] for key in keys]


def _slopes(g: Tensor, a: Tensor, b: Tensor, y: Tensor, p: float) -> Tensor:
    """g · ∂y/∂(a − b), for each difference."""
    x = _differences(a, b)
    g, y = manipulation.expand_dims(g, -3), manipulation.expand_dims(y, -3)
    if p == 1:
        return g * elementwise.sign(x)
    if p == math.inf:
        return g * elementwise.where(logic.equal(elementwise.abs(x), y), elementwise.sign(x), 0.0)
    apart = logic.not_equal(y, 0)
    y = elementwise.where(apart, y, 1.0)
    if p == 2:
        return x * elementwise.where(apart, g / y, 0.0)
    moved = logic.logical_and(apart, logic.not_equal(x, 0))
    size = elementwise.where(moved, elementwise.abs(x), 1.0)
    return elementwise.where(moved, g * elementwise.sign(x) * (size / y) ** (p - 1), 0.0)
