"""What the table of random programs needs: forms that NumPy has not, and bounds of the errors of steep's results.

A bound gets the distance from 1 to the next number of the dtype that steep computes in, the result, the operands and
the other arguments; it is absolute. The roundings of 16-bit results are added to it elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .values import Array

inf = math.inf


def finite(x: Array) -> Array:
    return np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)


# --- bounds of errors -------------------------------------------------------------------------------------------------


def of_sum(eps: float, y: Array, x: Array, **over: Any) -> Any:
    return 16 * eps * np.sum(np.abs(finite(x)), **over)


def of_mean(eps: float, y: Array, x: Array, **over: Any) -> Any:
    return 16 * eps * mean(np.abs(finite(x)), **over)


def of_var(eps: float, y: Array, x: Array, **over: Any) -> Any:
    size = np.abs(finite(x))
    axis = {"axis": over.get("axis")}
    return 16 * eps * mean((size + mean(size, keepdims=True, **axis)) ** 2, **over)


def of_std(eps: float, y: Array, x: Array, **over: Any) -> Any:
    error = of_var(eps, y, x, **over)
    return 4 * eps * y + np.sqrt(y * y + error) - np.sqrt(np.maximum(y * y - error, 0))


def of_prod(eps: float, y: Array, x: Array, **over: Any) -> Any:
    return 2 * (x.size + 1) * eps * np.abs(y) + 1e-40


def of_rows(eps: float, y: Array, x: Array, **over: Any) -> Any:
    """Of what subtracts the largest element of a row first."""
    return 16 * eps * (1 + np.max(np.abs(finite(x)), initial=0) + np.log1p(x.size)) * (1 + np.abs(y))


def of_matmul(eps: float, y: Array, a: Array, b: Array, product: Any = np.matmul, **rest: Any) -> Any:
    return (a.size + 4) * eps * product(np.abs(finite(a)), np.abs(finite(b)), **rest) + 1e-37


def of_tensordot(eps: float, y: Array, a: Array, b: Array, axes: Any) -> Any:
    return of_matmul(eps, y, a, b, np.tensordot, axes=axes)


def of_vecdot(eps: float, y: Array, a: Array, b: Array, axis: int) -> Any:
    return 16 * eps * np.sum(np.abs(finite(a * b)), axis=axis)


def of_trace(eps: float, y: Array, x: Array, offset: int) -> Any:
    return of_sum(eps, y, x, axis=(-2, -1))


def of_diff(eps: float, y: Array, x: Array, **rest: Any) -> Any:
    return 8 * eps * np.max(np.abs(finite(x)), initial=0)


def of_scan(eps: float, y: Array, x: Array, axis: int) -> Any:
    return 16 * eps * np.cumsum(np.abs(finite(x)), axis=axis)


def of_gelu(eps: float, y: Array, x: Array) -> Any:
    return 4 * eps * (2 + x * x) * np.abs(y)  # of NumPy's form, from the rounding of x/√2


def of_logaddexp(eps: float, y: Array, a: Array, b: Array) -> Any:
    return 8 * eps * (1 + np.abs(np.maximum(a, b)))


# --- NumPy's forms where NumPy has none -------------------------------------------------------------------------------

erf = np.vectorize(math.erf, otypes=[np.float64])
erfc = np.vectorize(math.erfc, otypes=[np.float64])


def mean(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    total = np.asarray(np.sum(x, axis=axis, keepdims=keepdims))
    return total / (x.size / total.size if total.size else 1.0)


def var(x: Array, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
    total = np.sum((x - mean(x, axis, True)) ** 2, axis=axis, keepdims=keepdims)
    count = x.size // max(np.asarray(total).size, 1)
    return total / np.float64(max(count - correction, 0))


def std(x: Array, **over: Any) -> Any:
    return np.sqrt(var(x, **over))


def logsumexp(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    most = np.max(x, axis=axis, keepdims=True, initial=-inf)
    most = np.where(np.isfinite(most), most, 0.0)
    total = np.log(np.sum(np.exp(x - most), axis=axis, keepdims=True)) + most
    return total if keepdims else np.squeeze(total, tuple(range(x.ndim)) if axis is None else axis)


def softmax(x: Array, axis: int) -> Any:
    return np.exp(log_softmax(x, axis))


def log_softmax(x: Array, axis: int) -> Any:
    most = np.max(x, axis=axis, keepdims=True, initial=-inf)
    return x - most - np.log(np.sum(np.exp(x - most), axis=axis, keepdims=True))


def logical(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *x: f(*(y != 0 for y in x))


def of_fractions(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: f(x) if x.dtype.kind == "f" else x


def index(x: Array, key: Any) -> Any:
    key = key if isinstance(key, tuple) else (key,)
    return x[key if any(k is ... for k in key) else (*key, ...)]  # an array in any case: a view of 0 dimensions


def flip(x: Array, axis: Any) -> Any:
    axes = [i % x.ndim for i in (range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,))]
    return x[(*(slice(None, None, -1 if i in axes else None) for i in range(x.ndim)), ...)]


def one_by_one(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a list of arrays that gets them one by one."""
    return lambda *x, **rest: f(x, **rest)


def vecdot(a: Array, b: Array, axis: int) -> Any:
    return np.sum(a * b, axis=axis, dtype=np.result_type(a, b))


def matmul(a: Array, b: Array) -> Any:
    if a.dtype.kind != "f" or (np.isfinite(a).all() and np.isfinite(b).all()):
        return np.matmul(a, b)
    rows, columns = np.atleast_2d(a), b[:, None] if b.ndim == 1 else b
    y = np.sum(rows[..., :, :, None] * columns[..., None, :, :], axis=-2)  # a BLAS may take 0·∞ for 0
    y = y if b.ndim > 1 else y[..., 0]
    return y if a.ndim > 1 else y[..., 0, :] if b.ndim > 1 else y[..., 0]


def tensordot(a: Array, b: Array, axes: int) -> Any:
    inner = math.prod(b.shape[:axes])
    shape = a.shape[: a.ndim - axes] + b.shape[axes:]
    rows, columns = math.prod(a.shape[: a.ndim - axes]), math.prod(b.shape[axes:])
    return matmul(a.reshape(rows, inner), b.reshape(inner, columns)).reshape(shape)


def trace(x: Array, offset: int) -> Any:
    return np.trace(x, offset, -2, -1)


def masked_fill(x: Array, mask: Array, value: Any) -> Any:
    return np.where(mask, np.array(value, x.dtype), x)


def argsort(x: Array, axis: int) -> Any:
    return np.argsort(x, axis, kind="stable")


def clip(x: Array, low: Any, high: Any) -> Any:
    return np.minimum(np.maximum(x, low), high)


def gelu(x: Array) -> Any:
    return np.where(x == -inf, 0, 0.5 * x * erfc(-x / math.sqrt(2)))


def power(a: Array, b: Array) -> Any:
    """C's pow: with a single exponent of 0.5 NumPy takes the square root, which is NaN of −∞ instead of ∞."""
    a, b = np.broadcast_arrays(a, b)
    return np.power(np.atleast_1d(a), np.atleast_1d(b).copy()).reshape(a.shape)
