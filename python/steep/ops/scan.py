"""Scans along an axis: each element of the result is made of those up to its place. Each vjp is beneath its forward."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import _core, autocasting
from .._core import record
from ..dtypes import as_dtype
from ..tensor import Tensor
from ._apply import as_tensor
from .creation import constant_part
from .elementwise import exp, where
from .indexing import take_along_axis_vjp
from .logic import equal
from .manipulation import concat, line_axis, slice_axis
from .rearrange import flip, roll

__all__ = [
    "cummax",
    "cummin",
    "cumulative_prod",
    "cumulative_sum",
    "logcumsumexp",
]


class ValuesAndIndices(NamedTuple):
    """Elements, and their int64 places along the axis."""

    values: Tensor
    indices: Tensor


def _shifted(x: Tensor, axis: int, first: float) -> Tensor:
    """Every element one place later, behind a first one."""
    n = x.shape[axis]
    return concat([constant_part(first, x, axis, min(n, 1)), slice_axis(x, axis, slice(0, max(n - 1, 0)))], axis)


def cumulative_sum(x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """The sums of the elements up to each place along ``axis``; with ``include_initial`` behind a 0 for no elements.

    ``axis`` may be left out for 1-D x. As ``sum``, integers and booleans give int64 and wrap, and float32 is summed in
    float64; ``dtype`` is what x is converted to before. Raises ValueError for an axis that is missing, IndexError for
    one out of range.

    >>> import steep as st
    >>> st.cumulative_sum(st.tensor([1.0, 2.0, 3.0]), include_initial=True)
    tensor([0., 1., 3., 6.])
    """
    x = as_tensor(x)
    axis = line_axis("cumulative_sum", axis, x)
    if dtype is not None:
        x = x.astype(as_dtype(dtype))
    elif autocasting.blocks:
        x = autocasting.in_float32(x)
    y = record(_core.cumulative_sum(x, axis), _cumulative_sum_vjp, (x,), (axis,))
    if dtype is not None:
        y = y.astype(x.dtype)
    return concat([constant_part(0, y, axis, 1), y], axis) if include_initial else y


def _cumulative_sum_vjp(g: Tensor, axis: int) -> tuple[Tensor]:
    return (flip(cumulative_sum(flip(g, axis), axis), axis),)


def cumulative_prod(x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """The products of the elements up to each place along ``axis``; with ``include_initial`` behind a 1 for none.

    Everything else is as in ``cumulative_sum``. The gradient needs no division: it is right beside zeros too.

    >>> import steep as st
    >>> st.cumulative_prod(st.tensor([2, 3, 4]))
    tensor([ 2,  6, 24])
    """
    x = as_tensor(x)
    axis = line_axis("cumulative_prod", axis, x)
    if dtype is not None:
        x = x.astype(as_dtype(dtype))
    elif autocasting.blocks:
        x = autocasting.in_float32(x)
    y = _core.cumulative_prod(x, axis)
    y = record(y, _cumulative_prod_vjp, (x,), (x, y, axis))
    if dtype is not None:
        y = y.astype(x.dtype)
    return concat([constant_part(1, y, axis, 1), y], axis) if include_initial else y


def _cumulative_prod_vjp(g: Tensor, x: Tensor, y: Tensor, axis: int) -> tuple[Tensor]:
    # With y[-1] = 1: dx[j] = y[j-1] · r[j], where r[j] = g[j] + x[j+1] · (g[j+1] + x[j+2] · (…)).
    return (_shifted(y, axis, 1) * _backward_recurrence(roll(x, -1, axis), g, axis),)


def _recurrence(a: Tensor, b: Tensor, axis: int) -> Tensor:
    """y[k] = b[k] + a[k] · y[k-1] along the axis; a[0] is not read."""
    y = _core.linear_scan(a, b, axis)
    return record(y, _recurrence_vjp, (a, b), (a, y, axis))


def _recurrence_vjp(g: Tensor, a: Tensor, y: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    db = _backward_recurrence(roll(a, -1, axis), g, axis)
    return db * _shifted(y, axis, 0), db


def _backward_recurrence(a: Tensor, b: Tensor, axis: int) -> Tensor:
    """y[k] = b[k] + a[k] · y[k+1] along the axis; the last of a is not read."""
    return flip(_recurrence(flip(a, axis), flip(b, axis), axis), axis)


def logcumsumexp(x: Any, axis: int | None = None) -> Tensor:
    """log Σ exp(x) over the elements up to each place along ``axis``, without overflow; in float64 within.

    ``axis`` may be left out for 1-D x. Raises TypeError for integers.

    >>> import steep as st
    >>> st.logcumsumexp(st.tensor([0.0, 0.0]))
    tensor([0.       , 0.6931472])
    """
    x = as_tensor(x)
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    axis = line_axis("logcumsumexp", axis, x)
    y = _core.logcumsumexp(x, axis)
    return record(y, _logcumsumexp_vjp, (x,), (x, y, axis))


def _logcumsumexp_vjp(g: Tensor, x: Tensor, y: Tensor, axis: int) -> tuple[Tensor]:
    # dx[j] = Σ g[i] exp(x[j] - y[i]) over i ≥ j, in factors of at most 1: exp(x[j] - y[j]) and exp(y[i] - y[i+1]).
    following = concat([slice_axis(y, axis, slice(1, None)), slice_axis(y, axis, slice(-1, None))], axis)
    total = _backward_recurrence(exp(_difference(y, following)), g, axis)
    return (exp(_difference(x, y)) * total,)


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """a - b, and 0 between equal infinities."""
    return where(equal(a, b), 0.0, a - b)


def cummax(x: Any, axis: int | None = None) -> ValuesAndIndices:
    """The largest element up to each place along ``axis``, and its int64 index there: of equal ones the last.

    A NaN counts as the largest. ``axis`` may be left out for 1-D x. The gradient goes to the element at the index.

    >>> import steep as st
    >>> values, indices = st.cummax(st.tensor([1, 3, 2, 3]))
    >>> values, indices
    (tensor([1, 3, 3, 3]), tensor([0, 1, 1, 3]))
    """
    return _cumulative_extreme("cummax", x, axis)


def cummin(x: Any, axis: int | None = None) -> ValuesAndIndices:
    """The smallest element up to each place along ``axis``, and its int64 index there: of equal ones the last.

    A NaN counts as the smallest. ``axis`` may be left out for 1-D x. The gradient goes to the element at the index.
    """
    return _cumulative_extreme("cummin", x, axis)


def _cumulative_extreme(name: str, x: Any, axis: int | None) -> ValuesAndIndices:
    x = as_tensor(x)
    axis = line_axis(name, axis, x)
    values, indices = (_core.cummax if name == "cummax" else _core.cummin)(x, axis)
    return ValuesAndIndices(record(values, take_along_axis_vjp, (x,), (indices, axis, x.shape)), indices)
