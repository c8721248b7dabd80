"""The operations of random programs, one entry each: how its arguments are drawn, and NumPy's form of it.

The functions that draw are in ``draws``. They get the builder of the program and the place of the operand that
it has chosen, and return all operands (places of values, or Python numbers) and the other arguments, or None.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import steep as st
from steep.dtypes import DType

from . import draws, forms

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
    singular: bool = False  # has it no derivative where the first operand is 0
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


def _in_place(
    name: str, numpy: Callable[..., Any], steep: Callable[..., Any], draw: Any = draws.value, **rest: Any
) -> Operation:
    return Operation(name, numpy, draw, steep=steep, in_place=True, smooth=False, **rest)


def _assignment(name: str, steep: Callable[..., Any], draw: Any) -> Operation:
    return _in_place(name, lambda x, value, key=...: value, steep, draw, promotes=(0, 1), moves="copy")


def _set(x: st.Tensor, value: Any, key: Any) -> st.Tensor:
    x[key] = value
    return x


TABLE: dict[str, list[Operation]] = {
    "views": [
        _view("reshape", np.reshape, draws.reshape),
        _view("getitem", forms.index, draws.slices, steep=lambda x, key: x[key]),
        _view("permute_dims", np.transpose, draws.permutation),
        _view("flip", forms.flip, draws.flips),
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
        _exact("floor", forms.of_fractions(np.floor)),
        _exact("ceil", forms.of_fractions(np.ceil)),
        _exact("trunc", forms.of_fractions(np.trunc)),
        _exact("round", forms.of_fractions(np.rint)),
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
        _unary("erf", forms.erf),
        _unary("erfc", forms.erfc, -5, 5),
        _unary("sigmoid", lambda x: 1 / (1 + np.exp(-x)), -80, 80),
        _unary("log_sigmoid", lambda x: -np.logaddexp(0, -x)),
        _unary("softplus", lambda x: np.logaddexp(0, x), -80, 80),
        _unary("silu", lambda x: np.where(x == -inf, 0, x / (1 + np.exp(-x))), -20, 20),
        _unary("gelu", forms.gelu, -5, 5, error=forms.of_gelu),
        _unary("elu", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
        _unary("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x)),
        Operation("clip", forms.clip, draws.limits, "numbers", error=0.5),
        _copy("astype", lambda x, dtype: x, draws.dtype, smooth=False, steep=lambda x, dtype: x.astype(dtype, True)),
        _copy("copy", np.copy, draws.alone),
    ],
    "binary": [
        _exact("add", np.add, draw=draws.beside),
        _exact("subtract", np.subtract, draw=draws.beside),
        _exact("multiply", np.multiply, draw=draws.beside),
        Operation("divide", np.divide, draws.beside, result="float", error=0.5),
        Operation("pow", forms.power, draws.powers, "numbers", domain=(0.05, 1e4)),
        _exact("maximum", np.maximum, draw=draws.beside),
        _exact("minimum", np.minimum, draw=draws.beside),
        Operation("remainder", np.remainder, draws.beside, "numbers"),
        Operation("floor_divide", np.floor_divide, draws.beside, "numbers", smooth=False),
        Operation("logaddexp", np.logaddexp, draws.beside, result="float", error=forms.of_logaddexp),
        Operation("copysign", np.copysign, draws.beside, result="float", error=0.5),
        Operation("hypot", np.hypot, draws.beside, result="float", singular=True),
        Operation("atan2", np.arctan2, draws.beside, result="float", singular=True),
        Operation("where", np.where, draws.choice, moves="copy", promotes=(1, None)),
        Operation("masked_fill", forms.masked_fill, draws.mask, moves="copy", promotes=(0, 1)),
    ],
    "questions": [
        _question("equal", np.equal),
        _question("not_equal", np.not_equal),
        _question("less", np.less),
        _question("less_equal", np.less_equal),
        _question("greater", np.greater),
        _question("greater_equal", np.greater_equal),
        _question("logical_and", forms.logical(np.logical_and)),
        _question("logical_or", forms.logical(np.logical_or)),
        _question("logical_xor", forms.logical(np.logical_xor)),
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
        _reduction("sum", np.sum, result="sum", error=forms.of_sum),
        _reduction("mean", forms.mean, result="float", error=forms.of_mean),
        _reduction("prod", np.prod, result="sum", error=forms.of_prod, domain=(-5, 5)),
        _reduction("max", np.max, error=0.5, draw=draws.over_filled_axes),
        _reduction("min", np.min, error=0.5, draw=draws.over_filled_axes),
        _reduction("any", np.any, result="bool", smooth=False),
        _reduction("all", np.all, result="bool", smooth=False),
        _reduction("count_nonzero", np.count_nonzero, result="index", smooth=False),
        _reduction("argmax", np.argmax, result="index", smooth=False, draw=draws.over_filled_axis),
        _reduction("argmin", np.argmin, result="index", smooth=False, draw=draws.over_filled_axis),
        _reduction("var", forms.var, result="float", error=forms.of_var, domain=(-1e4, 1e4)),
        _reduction("std", forms.std, result="float", error=forms.of_std, domain=(-1e4, 1e4)),
        _reduction("logsumexp", forms.logsumexp, takes="floats", error=forms.of_rows, domain=(-100, 100)),
        Operation("softmax", forms.softmax, draws.axis, "floats", error=forms.of_rows),
        Operation("log_softmax", forms.log_softmax, draws.axis, "floats", error=forms.of_rows),
        Operation("cumulative_sum", np.cumsum, draws.axis, result="sum", error=forms.of_scan),
        Operation("cumulative_prod", np.cumprod, draws.axis, result="sum", error=forms.of_prod, domain=(-5, 5)),
        Operation("sort", np.sort, draws.axis, error=0.5),
        Operation("argsort", forms.argsort, draws.axis, result="index", smooth=False),
    ],
    "products": [
        Operation("matmul", forms.matmul, draws.factors, "numbers", error=forms.of_matmul, steep=operator.matmul),
        Operation("tensordot", forms.tensordot, draws.contracted, "numbers", error=forms.of_tensordot),
        Operation("outer", np.outer, draws.two_lines, "numbers", error=0.5),
        Operation("vecdot", forms.vecdot, draws.lines, "numbers", error=forms.of_vecdot),
        Operation("trace", forms.trace, draws.diagonal, result="sum", error=forms.of_trace),
    ],
    "moves": [
        _copy("concat", forms.one_by_one(np.concatenate), draws.joined, steep=forms.one_by_one(st.concat)),
        _copy("stack", forms.one_by_one(np.stack), draws.stacked, steep=forms.one_by_one(st.stack)),
        _copy("roll", np.roll, draws.rolls),
        _copy("pad", np.pad, draws.paddings),
        _copy("tile", lambda x, repetitions: np.tile(x, repetitions), draws.tiles),
        _copy("repeat", np.repeat, draws.repeats),
        _copy("tril", np.tril, draws.diagonal_of_triangle),
        _copy("triu", np.triu, draws.diagonal_of_triangle),
        Operation("diff", np.diff, draws.differences, "numbers", error=forms.of_diff),
        _copy("take", np.take, draws.places),
        _copy("take_along_axis", np.take_along_axis, draws.places_on_lines),
        _copy("getitem", forms.index, draws.gathered, steep=lambda x, key: x[key]),
    ],
    "in place": [
        _in_place("iadd", np.add, operator.iadd, takes="numbers", error=0.5),
        _in_place("isub", np.subtract, operator.isub, takes="numbers", error=0.5),
        _in_place("imul", np.multiply, operator.imul, takes="numbers", error=0.5),
        _in_place("itruediv", np.divide, operator.itruediv, result="float", error=0.5),
        _in_place("ifloordiv", np.floor_divide, operator.ifloordiv, takes="numbers"),
        _in_place("imod", np.remainder, operator.imod, takes="numbers"),
        _in_place("ipow", np.power, operator.ipow, draws.squared, takes="numbers"),
        _in_place("iand", np.bitwise_and, operator.iand, takes="bits"),
        _in_place("ior", np.bitwise_or, operator.ior, takes="bits"),
        _in_place("ixor", np.bitwise_xor, operator.ixor, takes="bits"),
        _in_place("ilshift", np.left_shift, operator.ilshift, draws.shifted, takes="integers"),
        _in_place("irshift", np.right_shift, operator.irshift, draws.shifted, takes="integers"),
        _assignment("copy_", lambda x, value: x.copy_(value), draws.value),
        _assignment("setitem", _set, draws.assigned),
        _assignment("fill_", lambda x, value: x.fill_(value), draws.constant),
    ],
}  # fmt: skip
for _group in TABLE.values():
    _group[:] = [operation for operation in _group if operation.exists]
