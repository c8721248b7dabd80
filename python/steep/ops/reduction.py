"""Reductions over axes: None for all of them, an integer or a tuple. Each vjp is directly beneath its forward."""

from __future__ import annotations

import builtins
import math
from typing import Any

from .. import _core, autocasting, dtypes
from .._core import is_recording, record
from ..checks import check_real
from ..tensor import Tensor
from . import creation, elementwise, indexing, logic, manipulation
from ._apply import as_tensor
from .manipulation import as_axes

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "logsumexp",
    "max",
    "mean",
    "min",
    "prod",
    "std",
    "sum",
    "var",
]


def _count(x: Tensor, axes: tuple[int, ...]) -> int:
    """The number of elements behind each result."""
    return math.prod(x.shape[i] for i in axes)


def _kept(x: Tensor, shape: tuple[int, ...], axes: tuple[int, ...]) -> Tensor:
    """x with the axes of ``shape`` that were reduced back in their places, with one element each."""
    return manipulation.reshape(x, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def sum(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """Sum over axes, in ``dtype`` if given; integers and booleans sum as int64, unsigned ones as uint64.

    Floats narrower than float64 are accumulated in float32 and, in blocks, in float64.

    >>> import steep as st
    >>> st.sum(st.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """
    if dtype is not None:
        return sum(as_tensor(x).astype(dtype), axis, keepdims).astype(dtype)
    x = as_tensor(x)
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    return record(_core.sum(x, axis, keepdims), _sum_vjp, (x,), (x.shape, axis))


def _sum_vjp(g: Tensor, shape: tuple[int, ...], axis: Any) -> tuple[Tensor]:
    return (manipulation.broadcast_to(_kept(g, shape, as_axes("sum", axis, len(shape))), shape),)


def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """Product over axes, in ``dtype`` if given; integers and booleans multiply as int64, unsigned ones as uint64."""
    if dtype is not None:
        return prod(as_tensor(x).astype(dtype), axis, keepdims).astype(dtype)
    x = as_tensor(x)
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    return record(_core.prod(x, axis, keepdims), _prod_vjp, (x,), (x, axis))


def _prod_vjp(g: Tensor, x: Tensor, axis: Any) -> tuple[Tensor]:
    axes = as_axes("prod", axis, x.ndim)
    g = _kept(g, x.shape, axes)
    zero = logic.equal(x, 0)
    if is_recording() and bool(any(zero)):
        return (g * _products_of_others(x, axes),)
    # The product of the others is prod / x, but beside one zero only the zero's own is not 0, and beside two none is.
    # Not even these are 0 where the rest is infinite or NaN.
    nonzero = elementwise.where(zero, 1.0, x)
    product = prod(nonzero, axes, keepdims=True)
    zeros = sum(zero, axes, keepdims=True)
    alone = logic.logical_and(zero, logic.equal(zeros, 1))
    others = elementwise.where(
        logic.equal(zeros, 0), product / nonzero, elementwise.where(alone, product, product * 0.0)
    )
    return (g * others,)


def _products_of_others(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The same as an expression that is differentiable at zeros too, at the cost of n² elements.

    The reduced axes become lines, in copies of which each element in turn is replaced by 1.
    """
    kept = [i for i in range(x.ndim) if i not in axes]
    order = (*kept, *axes)
    moved = manipulation.permute_dims(x, order)
    n = _count(x, axes)
    lines = manipulation.reshape(moved, (math.prod(moved.shape[: len(kept)]), 1, n))
    diagonal = indexing.one_hot(creation.arange(n, device=x.device), n, dtypes.bool)
    others = manipulation.reshape(prod(elementwise.where(diagonal, 1.0, lines), -1), moved.shape)
    inverse = sorted(range(x.ndim), key=order.__getitem__)
    return manipulation.permute_dims(others, inverse)


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean over axes; integers and booleans average as float32. NaN over no elements."""
    x = as_tensor(x)
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    if x.dtype.is_integer and x.dtype.itemsize == 8:  # whose sum may overflow
        x = x.astype(dtypes.float32)
    if x.dtype.is_floating_point and x.dtype.itemsize == 2:  # whose sum may, too
        return mean(x.astype(dtypes.float32), axis, keepdims).astype(x.dtype)
    total = sum(x, axis if axis is None else as_axes("mean", axis, x.ndim), keepdims)
    return total / (x.size / total.size if total.size else 1.0)


def var(x: Any, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """Variance over axes: the mean squared distance from the mean, with n − correction instead of n."""
    x = as_tensor(x)
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    if not x.dtype.is_floating_point:
        x = x.astype(dtypes.float32)
    if x.dtype.itemsize == 2:
        return var(x.astype(dtypes.float32), axis, correction, keepdims).astype(x.dtype)
    check_real("var: correction", correction)
    axis = as_axes("var", axis, x.ndim)
    squares = sum(elementwise.square(x - mean(x, axis, keepdims=True)), axis, keepdims)
    return squares / builtins.max(_count(x, axis) - correction, 0.0)


def std(x: Any, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """Standard deviation over axes: the square root of ``var``. The derivative of equal elements is 0."""
    x = as_tensor(x)
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    if x.dtype.is_floating_point and x.dtype.itemsize == 2:  # whose variance may overflow or vanish
        return std(x.astype(dtypes.float32), axis, correction, keepdims).astype(x.dtype)
    return root(var(x, axis, correction, keepdims))


def root(x: Tensor, exponent: float = 0.5) -> Tensor:
    """x^exponent of x ≥ 0, whose derivative at 0 is 0 where the true one is infinite, or 0·∞ = NaN would come of it."""
    zero = logic.equal(x, 0) if x.requires_grad else None
    base = x if zero is None else elementwise.where(zero, 1.0, x)
    y = elementwise.sqrt(base) if exponent == 0.5 else base**exponent
    return y if zero is None else elementwise.where(zero, 0.0, y)


def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """How many elements over axes are not 0, as int64."""
    x = as_tensor(x)
    return sum(logic.not_equal(x, 0), as_axes("count_nonzero", axis, x.ndim), keepdims)


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Largest element over axes; NaN if there is one. Equal maxima share the gradient. Raises ValueError over none."""
    x = as_tensor(x)
    y = _core.max(x, axis, keepdims)
    return record(y, _extremum_vjp, (x,), (x, y, axis))


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Smallest element over axes; NaN if there is one. Equal minima share the gradient. Raises ValueError over none."""
    x = as_tensor(x)
    y = _core.min(x, axis, keepdims)
    return record(y, _extremum_vjp, (x,), (x, y, axis))


def _extremum_vjp(g: Tensor, x: Tensor, y: Tensor, axis: Any) -> tuple[Tensor]:
    axes = as_axes("max", axis, x.ndim)
    hit = logic.equal(x, _kept(y, x.shape, axes)).astype(x.dtype)
    return (_kept(g, x.shape, axes) * (hit / sum(hit, axes, keepdims=True)),)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """int64 index of the first largest element, or NaN, along an axis (of the flattened tensor, for None)."""
    return _core.argmax(as_tensor(x), axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """int64 index of the first smallest element, or NaN, along an axis (of the flattened tensor, for None)."""
    return _core.argmin(as_tensor(x), axis, keepdims)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether any element over axes is true (not 0), as a bool tensor."""
    return _core.any(as_tensor(x), axis, keepdims)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether all elements over axes are true (not 0), as a bool tensor."""
    return _core.all(as_tensor(x), axis, keepdims)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """log(Σ exp(x)) over axes, without overflow; −inf over no elements.

    >>> import steep as st
    >>> st.logsumexp(st.tensor([0.0, 0.0]))
    tensor(0.6931472)
    """
    x = as_tensor(x)
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    axes = as_axes("logsumexp", axis, x.ndim)
    kept = [i for i in range(x.ndim) if i not in axes]
    lines = manipulation.permute_dims(x, (*kept, *axes))
    lines = manipulation.reshape(lines, (*lines.shape[: len(kept)], _count(x, axes)))
    y = _core.logsumexp(lines, -1)
    y = record(y, _logsumexp_vjp, (lines,), (lines, y))
    return _kept(y, x.shape, axes) if keepdims else y


def _logsumexp_vjp(g: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor]:
    return (g.expand_dims(-1) * elementwise.exp(x - y.expand_dims(-1)),)
