"""The operations of random programs, one entry each: how its arguments are drawn, and NumPy's form of it.

The functions that draw are in ``program_draws``. They get the builder of the program and the place of the operand that
it has chosen, and return all operands (places of values, or Python numbers) and the other arguments, or None.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import program_draws as draws
import steep as st
from program_values import Array
from steep.dtypes import DType

inf = math.inf


@dataclass(frozen=True)
class Operation:
    """An operation of steep, and the same in NumPy."""

    name: str
    numpy: Callable[..., Any]  # floats come as float64, so that only steep rounds
    draw: Callable[..., Any] = draws.alone
    takes: str = "any"  # or "numbers" (no bool), "floats", "integers", "bits" (integers and bool)
    result: str = "common"  # dtype, or "float", "bool", "sum" (64 bits for integers), "index" (int64)
    error: float | Callable[..., Any] = 8.0  # in ulp, or a bound: error(epsilon, result, *operands, **arguments)
    domain: tuple[float, float] = (-inf, inf)  # of the first operand, so that few results are NaN or infinite
    smooth: bool = True  # has it a derivative almost everywhere
    moves: str = ""  # "view" or "copy": elements are moved, not computed; a view shares memory where NumPy's does
    promotes: tuple[int, int | None] = (0, None)  # from and to: the operands that are brought to a common dtype
    in_place: bool = False  # changes its first operand
    steep: Callable[..., Any] | None = None  # if it is not the function of that name

    def __call__(self, *operands: Any, **arguments: Any) -> Any:
        return (self.steep or getattr(st, self.name))(*operands, **arguments)

    @property
    def exists(self) -> bool:
        return self.steep is not None or hasattr(st, self.name)

    def accepts(self, t: DType) -> bool:
        """Whether it is defined for the common dtype t."""
        return {
            "any": True,
            "numbers": t is not st.bool,
            "floats": t.is_floating_point,
            "integers": t.is_integer,
            "bits": not t.is_floating_point,
        }[self.takes]

    def result_dtype(self, t: DType) -> DType:
        if self.result == "bool":
            return st.bool
        if self.result == "index":
            return st.int64
        if self.result == "sum" and not t.is_floating_point:
            return st.uint64 if t.kind == "uint" else st.int64
        return t


def finite(x: Array) -> Array:
    return np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)


# --- bounds of errors -------------------------------------------------------------------------------------------------


def of_sum(eps: float, y: Array, x: Array, **over: Any) -> Any:
    return 16 * eps * np.sum(np.abs(finite(x)), **over)


def of_mean(eps: float, y: Array, x: Array, **over: Any) -> Any:
    return 16 * eps * _mean(np.abs(finite(x)), **over)


def of_var(eps: float, y: Array, x: Array, **over: Any) -> Any:
    size = np.abs(finite(x))
    axis = {"axis": over.get("axis")}
    return 16 * eps * _mean((size + _mean(size, keepdims=True, **axis)) ** 2, **over)


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


def of_scan(eps: float, y: Array, x: Array, axis: int) -> Any:
    return 16 * eps * np.cumsum(np.abs(finite(x)), axis=axis)


def of_logaddexp(eps: float, y: Array, a: Array, b: Array) -> Any:
    return 8 * eps * (1 + np.abs(np.maximum(a, b)))


# --- NumPy's forms where NumPy has none -------------------------------------------------------------------------------

_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _mean(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    total = np.asarray(np.sum(x, axis=axis, keepdims=keepdims))
    return total / (x.size / total.size if total.size else 1.0)


def _var(x: Array, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
    total = np.sum((x - _mean(x, axis, True)) ** 2, axis=axis, keepdims=keepdims)
    count = x.size // max(np.asarray(total).size, 1)
    return total / np.float64(max(count - correction, 0))


def _logsumexp(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    return np.logaddexp.reduce(x, axis=axis, keepdims=keepdims) if np.isscalar(axis) else _logsumexp_of_all(x, axis, keepdims)


def _logsumexp_of_all(x: Array, axis: Any, keepdims: bool) -> Any:
    most = np.max(x, axis=axis, keepdims=True, initial=-inf)
    most = np.where(np.isfinite(most), most, 0.0)
    total = np.log(np.sum(np.exp(x - most), axis=axis, keepdims=True)) + most
    return total if keepdims else np.squeeze(total, tuple(range(x.ndim)) if axis is None else axis)


def _log_softmax(x: Array, axis: int) -> Any:
    most = np.max(x, axis=axis, keepdims=True, initial=-inf)
    return x - most - np.log(np.sum(np.exp(x - most), axis=axis, keepdims=True))


def _logical(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *x: f(*(y != 0 for y in x))


def _index(x: Array, key: Any) -> Any:
    key = key if isinstance(key, tuple) else (key,)
    return x[key if any(k is ... for k in key) else (*key, ...)]  # an array in any case: a view of 0 dimensions


def _flip(x: Array, axis: Any) -> Any:
    axes = [i % x.ndim for i in (range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,))]
    return x[(*(slice(None, None, -1 if i in axes else None) for i in range(x.ndim)), ...)]


def _as_in_numpy(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a list of arrays that gets them one by one."""
    return lambda *x, **rest: f(x, **rest)


def _vecdot(a: Array, b: Array, axis: int) -> Any:
    return np.sum(a * b, axis=axis, dtype=np.result_type(a, b))


def _trace(x: Array, offset: int) -> Any:
    return np.trace(x, offset, -2, -1)


def _masked_fill(x: Array, mask: Array, value: Any) -> Any:
    return np.where(mask, np.array(value, x.dtype), x)


def _with_initial(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, axis: f(x, axis=axis)


# --- the table --------------------------------------------------------------------------------------------------------


def _unary(name: str, numpy: Callable[..., Any], *domain: float, **rest: Any) -> Operation:
    return Operation(name, numpy, takes="any", result="float", domain=domain or (-inf, inf), **rest)


def _exact(name: str, numpy: Callable[..., Any], **rest: Any) -> Operation:
    return Operation(name, numpy, **{"takes": "numbers", "error": 0.5, **rest})


def _question(name: str, numpy: Callable[..., Any], draw: Any = draws.beside) -> Operation:
    return Operation(name, numpy, draw, result="bool", smooth=False)


def _reduction(name: str, numpy: Callable[..., Any], **rest: Any) -> Operation:
    return Operation(name, numpy, rest.pop("draw", draws.over_axes), **rest)


def _view(name: str, numpy: Callable[..., Any], draw: Any, **rest: Any) -> Operation:
    return Operation(name, numpy, draw, moves="view", **rest)


def _copy(name: str, numpy: Callable[..., Any], draw: Any, **rest: Any) -> Operation:
    return Operation(name, numpy, draw, moves="copy", **rest)


def _in_place(name: str, numpy: Callable[..., Any], steep: Callable[..., Any], draw: Any = draws.onto, **rest: Any) -> Operation:
    return Operation(name, numpy, draw, steep=steep, in_place=True, smooth=False, **rest)


def _assign(x: st.Tensor, value: Any, key: Any) -> st.Tensor:
    x[key] = value
    return x


TABLE: dict[str, list[Operation]] = {
    "views": [
        _view("reshape", np.reshape, draws.reshape),
        _view("getitem", _index, draws.slices, steep=lambda x, key: x[key]),
        _view("permute_dims", np.transpose, draws.permutation),
        _view("flip", _flip, draws.flips),
        _view("squeeze", np.squeeze, draws.squeezable),
        _view("expand_dims", np.expand_dims, draws.new_axis),
        _view("broadcast_to", np.broadcast_to, draws.wider),
        _view("moveaxis", np.moveaxis, draws.two_axes),
        _view("matrix_transpose", lambda x: x.swapaxes(-2, -1), draws.matrix),
        _view("flatten", lambda x: x.reshape(-1), draws.alone),
        _view("split", lambda x, sections, axis, part: np.split(x, np.cumsum(sections)[:-1], axis)[part], draws.parts,
              steep=lambda x, sections, axis, part: st.split(x, sections, axis)[part]),
        _view("unstack", lambda x, axis, part: np.moveaxis(x, axis, 0)[part, ...], draws.part,
              steep=lambda x, axis, part: st.unstack(x, axis)[part]),
    ],
    "unary": [
        _exact("neg", np.negative),
        _exact("abs", np.abs),
        _exact("square", np.square),
        _exact("sign", np.sign),
        _exact("floor", np.floor),
        _exact("ceil", np.ceil),
        _exact("trunc", np.trunc),
        _exact("round", np.rint),
        _exact("relu", lambda x: np.maximum(x, 0)),
        _unary("sqrt", np.sqrt, 0.05, inf, error=0.5),
        _unary("reciprocal", lambda x: 1 / x, error=0.5),
        _unary("rsqrt", lambda x: 1 / np.sqrt(x), 0.05, inf),
        _unary("exp", np.exp, -20, 10),
        _unary("exp2", np.exp2, -20, 10),
        _unary("expm1", np.expm1, -20, 10),
        _unary("log", np.log, 0.05, inf),
        _unary("log1p", np.log1p, -0.9, inf),
        _unary("log2", np.log2, 0.05, inf),
        _unary("log10", np.log10, 0.05, inf),
        _unary("sin", np.sin),
        _unary("cos", np.cos),
        _unary("tan", np.tan, -1.4, 1.4),
        _unary("asin", np.arcsin, -0.95, 0.95),
        _unary("acos", np.arccos, -0.95, 0.95),
        _unary("atan", np.arctan),
        _unary("sinh", np.sinh, -10, 10),
        _unary("cosh", np.cosh, -10, 10),
        _unary("tanh", np.tanh),
        _unary("asinh", np.arcsinh),
        _unary("acosh", np.arccosh, 1.05, inf),
        _unary("atanh", np.arctanh, -0.95, 0.95),
        _unary("erf", _erf),
        _unary("erfc", _erfc, -5, 5),
        _unary("sigmoid", lambda x: 1 / (1 + np.exp(-x)), -80, 80),
        _unary("log_sigmoid", lambda x: -np.logaddexp(0, -x)),
        _unary("softplus", lambda x: np.logaddexp(0, x), -80, 80),
        _unary("silu", lambda x: x / (1 + np.exp(-x)), -20, 20),
        _unary("gelu", lambda x: 0.5 * x * _erfc(-x / math.sqrt(2)), -5, 5),
        _unary("elu", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
        _unary("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x)),
        Operation("clip", lambda x, low, high: np.minimum(np.maximum(x, low), high), draws.limits, "numbers", error=0.5),
        Operation("astype", lambda x, dtype: x, draws.dtype, smooth=False, steep=lambda x, dtype: x.astype(dtype, copy=True)),
        _copy("copy", np.copy, draws.alone),
    ],
    "binary": [
        _exact("add", np.add, draw=draws.beside),
        _exact("subtract", np.subtract, draw=draws.beside),
        _exact("multiply", np.multiply, draw=draws.beside),
        Operation("divide", np.divide, draws.beside, result="float", error=0.5),
        Operation("pow", np.power, draws.powers, "numbers", domain=(0.05, 1e4)),
        _exact("maximum", np.maximum, draw=draws.beside),
        _exact("minimum", np.minimum, draw=draws.beside),
        Operation("remainder", np.remainder, draws.beside, "numbers"),
        Operation("floor_divide", np.floor_divide, draws.beside, "numbers", smooth=False),
        Operation("logaddexp", np.logaddexp, draws.beside, result="float", error=of_logaddexp),
        Operation("copysign", np.copysign, draws.beside, result="float", error=0.5),
        Operation("hypot", np.hypot, draws.beside, result="float"),
        Operation("atan2", np.arctan2, draws.beside, result="float"),
        Operation("where", np.where, draws.choice, moves="copy", promotes=(1, None)),
        Operation("masked_fill", _masked_fill, draws.mask, moves="copy", promotes=(0, 1)),
    ],
    "questions": [
        _question("equal", np.equal),
        _question("not_equal", np.not_equal),
        _question("less", np.less),
        _question("less_equal", np.less_equal),
        _question("greater", np.greater),
        _question("greater_equal", np.greater_equal),
        _question("logical_and", _logical(np.logical_and)),
        _question("logical_or", _logical(np.logical_or)),
        _question("logical_xor", _logical(np.logical_xor)),
        _question("logical_not", np.logical_not, draws.alone),
        _question("isnan", np.isnan, draws.alone),
        _question("isinf", np.isinf, draws.alone),
        _question("isfinite", np.isfinite, draws.alone),
        _question("signbit", lambda x: np.signbit(x) if x.dtype.kind == "f" else x < 0, draws.alone),
        Operation("bitwise_and", np.bitwise_and, draws.beside, "bits", smooth=False),
        Operation("bitwise_or", np.bitwise_or, draws.beside, "bits", smooth=False),
        Operation("bitwise_xor", np.bitwise_xor, draws.beside, "bits", smooth=False),
        Operation("bitwise_invert", np.invert, draws.alone, "bits", smooth=False),
        Operation("bitwise_left_shift", np.left_shift, draws.shifts, "integers", smooth=False),
        Operation("bitwise_right_shift", np.right_shift, draws.shifts, "integers", smooth=False),
    ],
    "reductions": [
        _reduction("sum", np.sum, result="sum", error=of_sum),
        _reduction("mean", _mean, result="float", error=of_mean),
        _reduction("prod", np.prod, result="sum", error=of_prod, domain=(-5, 5)),
        _reduction("max", np.max, error=0.5, draw=draws.over_filled_axes),
        _reduction("min", np.min, error=0.5, draw=draws.over_filled_axes),
        _reduction("any", np.any, result="bool", smooth=False),
        _reduction("all", np.all, result="bool", smooth=False),
        _reduction("count_nonzero", np.count_nonzero, result="index", smooth=False),
        _reduction("argmax", np.argmax, result="index", smooth=False, draw=draws.over_filled_axis),
        _reduction("argmin", np.argmin, result="index", smooth=False, draw=draws.over_filled_axis),
        _reduction("var", _var, result="float", error=of_var, domain=(-1e4, 1e4)),
        _reduction("std", lambda x, **over: np.sqrt(_var(x, **over)), result="float", error=of_std, domain=(-1e4, 1e4)),
        _reduction("logsumexp", _logsumexp, takes="floats", error=of_rows, domain=(-100, 100)),
        Operation("softmax", lambda x, axis: np.exp(_log_softmax(x, axis)), draws.axis, "floats", error=of_rows),
        Operation("log_softmax", _log_softmax, draws.axis, "floats", error=of_rows),
        Operation("cumulative_sum", np.cumsum, draws.axis, result="sum", error=of_scan),
        Operation("cumulative_prod", np.cumprod, draws.axis, result="sum", error=of_prod, domain=(-5, 5)),
        Operation("sort", np.sort, draws.axis, error=0.5),
        Operation("argsort", lambda x, axis: np.argsort(x, axis, kind="stable"), draws.axis, result="index", smooth=False),
    ],
    "products": [
        Operation("matmul", np.matmul, draws.factors, "numbers", error=of_matmul, steep=operator.matmul),
        Operation("tensordot", np.tensordot, draws.contracted, "numbers", error=of_tensordot),
        Operation("outer", np.outer, draws.two_lines, "numbers", error=0.5),
        Operation("vecdot", _vecdot, draws.lines, "numbers", error=of_vecdot),
        Operation("trace", _trace, draws.diagonal, result="sum", error=lambda eps, y, x, offset: of_sum(eps, y, x, axis=(-2, -1))),
    ],
    "moves": [
        _copy("concat", _as_in_numpy(np.concatenate), draws.joined, steep=_as_in_numpy(st.concat)),
        _copy("stack", _as_in_numpy(np.stack), draws.stacked, steep=_as_in_numpy(st.stack)),
        _copy("roll", np.roll, draws.rolls),
        _copy("pad", np.pad, draws.paddings),
        _copy("tile", lambda x, repetitions: np.tile(x, repetitions), draws.tiles),
        _copy("repeat", np.repeat, draws.repeats),
        _copy("tril", np.tril, draws.diagonal_of_triangle),
        _copy("triu", np.triu, draws.diagonal_of_triangle),
        Operation("diff", lambda x, n, axis: np.diff(x, n, axis), draws.differences, "numbers", error=lambda eps, y, x, **rest: 8 * eps * np.max(np.abs(finite(x)), initial=0)),
        _copy("take", np.take, draws.places),
        _copy("take_along_axis", np.take_along_axis, draws.places_on_lines),
        _copy("getitem", _index, draws.gathered, steep=lambda x, key: x[key]),
    ],
    "in place": [
        _in_place("iadd", np.add, operator.iadd, takes="numbers", error=0.5),
        _in_place("isub", np.subtract, operator.isub, takes="numbers", error=0.5),
        _in_place("imul", np.multiply, operator.imul, takes="numbers", error=0.5),
        _in_place("itruediv", np.divide, operator.itruediv, result="float", error=0.5),
        _in_place("copy_", lambda x, value: value, lambda x, value: x.copy_(value), draws.value, promotes=(0, 1), moves="copy"),
        _in_place("setitem", lambda x, value, key: value, _assign, draws.assigned, promotes=(0, 1), moves="copy"),
        _in_place("fill_", lambda x, value: value, lambda x, value: x.fill_(value), draws.constant, promotes=(0, 1), moves="copy"),
    ],
}  # fmt: skip
for _group in TABLE.values():
    _group[:] = [operation for operation in _group if operation.exists]
