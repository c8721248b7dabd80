"""Every row of the kernel table's elementwise operations, one line each. A new operation needs its line here.

The reference is the definition, evaluated by mpmath with 120 bits. Errors are in ulp: units in the last place.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mpmath import mp

import steep as st
from compare import Array, ulp_error

inf, nan = float("inf"), float("nan")


def inside(x: Array, domain: tuple[float, float]) -> Array:
    """x, with the numbers outside of the domain replaced by their opposites, or else by others from inside."""
    low, high = domain
    x = np.where((low < x) & (x < high), x, -x)
    other = 0.95 * np.sin(x) * min(high, 1) if np.isfinite(high) else np.maximum(low, 0) + np.abs(x) + 0.05
    return np.where((low < x) & (x < high), x, other.astype(x.dtype))


@dataclass(frozen=True)
class Unary:
    """A differentiable function of one argument."""

    name: str  # of the row
    exact: Callable[[Any], Any]  # the definition for mpmath numbers
    specials: tuple[float, float, float, float]  # the values at -∞, -0, +0 and +∞; NaN always gives NaN
    ulp: float = 4.0  # largest error of the value
    floor: float = 0.0  # of |value|, in smallest normal numbers: below, the error is measured in ulp of this
    condition: Callable[[Any], Any] = lambda x: 1.0  # by which the bound grows with x
    slope_floor: float = 0.0  # the derivative's error is measured in ulp of this where |derivative| is smaller
    domain: tuple[float, float] = (-inf, inf)  # where it is differentiable
    kinks: dict[float, float] = field(default_factory=dict)  # the convention for the derivative at a kink
    function: str = ""  # the Python function, if it has another name
    args: tuple[Any, ...] = ()

    def __call__(self, x: Any) -> st.Tensor:
        return getattr(st, self.function or self.name)(x, *self.args)

    def error(self, x: Array, y: Array, rounded: Array, rest: Any = 0.0) -> Array:
        """The error of y, to be compared with ``ulp``."""
        floor = self.floor * float(np.finfo(y.dtype).smallest_normal)
        return ulp_error(y, rounded, rest, floor) / self.condition(x)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Binary:
    """A differentiable function of two arguments."""

    name: str
    exact: Callable[[Any, Any], Any]
    numpy: Callable[..., Any]  # for integers and special values
    ulp: float = 4.0
    domain: tuple[float, float] = (-inf, inf)
    tie: tuple[float, float] | None = None  # the convention for both derivatives where a = b
    integers: bool = True  # are they defined too
    floor: float = 0.0  # the error is measured in ulp of this where |value| is smaller

    def __call__(self, a: Any, b: Any) -> st.Tensor:
        return getattr(st, self.name)(a, b)

    def __str__(self) -> str:
        return self.name


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def _gelu_tanh(x: Any) -> Any:  # ½·x·(1 + tanh(u)) = x·sigmoid(2u)
    return x * _sigmoid(2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf(0.044715) * x**3))


def _remainder(a: Any, b: Any) -> Any:
    with mp.workprec(4400):  # the quotient of two float64 numbers may have so many bits
        return a - b * mp.floor(a / b)


def _logaddexp(a: Any, b: Any) -> Any:
    return max(a, b) + mp.log1p(mp.exp(-abs(a - b)))


def _tail(x: Array) -> Array:
    """1 + |2u| for x < 0."""
    t = np.clip(-x, 0, 40)
    return 1 + 1.6 * t + 0.0714 * t**3


# Correctly rounded operations have at most ½ ulp.
# gelu and silu multiply x by a probability that becomes subnormal first, with an error of half the smallest number; |x|
# is at most 746 there, hence their floor. gelu_tanh rounds the exponent 2u a few times, by which e^2u errs 2u times.
# The derivatives that are computed from the result y (tanh: 1 - y²) or
# by a sum (silu, gelu) are absolutely, not relatively accurate where they vanish: their floor is about the largest.
UNARY = [
    Unary("neg", lambda x: -x, (inf, 0.0, -0.0, -inf), ulp=0.5),
    Unary("abs", abs, (inf, 0.0, 0.0, inf), ulp=0.5, kinks={0.0: 0.0}),
    Unary("sign", mp.sign, (-1.0, 0.0, 0.0, 1.0), ulp=0.5, kinks={0.0: 0.0}),
    Unary("floor", mp.floor, (-inf, -0.0, 0.0, inf), ulp=0.5),
    Unary("ceil", mp.ceil, (-inf, -0.0, 0.0, inf), ulp=0.5),
    Unary("trunc", lambda x: mp.floor(x) if x > 0 else mp.ceil(x), (-inf, -0.0, 0.0, inf), ulp=0.5),
    Unary("round", mp.nint, (-inf, -0.0, 0.0, inf), ulp=0.5),
    Unary("square", lambda x: x * x, (inf, 0.0, 0.0, inf), ulp=0.5),
    Unary("sqrt", mp.sqrt, (nan, -0.0, 0.0, inf), ulp=0.5, domain=(0, inf)),
    Unary("rsqrt", lambda x: 1 / mp.sqrt(x), (nan, -inf, inf, 0.0), domain=(0, inf)),
    Unary("reciprocal", lambda x: 1 / x, (-0.0, -inf, inf, 0.0), ulp=0.5),
    Unary("exp", mp.exp, (0.0, 1.0, 1.0, inf)),
    Unary("exp2", lambda x: mp.power(2, x), (0.0, 1.0, 1.0, inf)),
    Unary("expm1", mp.expm1, (-1.0, -0.0, 0.0, inf)),
    Unary("log", mp.log, (nan, -inf, -inf, inf), domain=(0, inf)),
    Unary("log2", lambda x: mp.log(x, 2), (nan, -inf, -inf, inf), domain=(0, inf)),
    Unary("log10", mp.log10, (nan, -inf, -inf, inf), domain=(0, inf)),
    Unary("log1p", mp.log1p, (nan, -0.0, 0.0, inf), domain=(-1, inf)),
    Unary("sin", mp.sin, (nan, -0.0, 0.0, nan)),
    Unary("cos", mp.cos, (nan, 1.0, 1.0, nan)),
    Unary("tan", mp.tan, (nan, -0.0, 0.0, nan), slope_floor=1.0),
    Unary("asin", mp.asin, (nan, -0.0, 0.0, nan), domain=(-1, 1)),
    Unary("acos", mp.acos, (nan, np.pi / 2, np.pi / 2, nan), domain=(-1, 1)),
    Unary("atan", mp.atan, (-np.pi / 2, -0.0, 0.0, np.pi / 2)),
    Unary("sinh", mp.sinh, (-inf, -0.0, 0.0, inf)),
    Unary("cosh", mp.cosh, (inf, 1.0, 1.0, inf)),
    Unary("asinh", mp.asinh, (-inf, -0.0, 0.0, inf)),
    Unary("acosh", mp.acosh, (nan, nan, nan, inf), domain=(1, inf)),
    Unary("atanh", mp.atanh, (nan, -0.0, 0.0, nan), domain=(-1, 1)),
    Unary("tanh", mp.tanh, (-1.0, -0.0, 0.0, 1.0), slope_floor=1.0),
    Unary("erf", mp.erf, (-1.0, -0.0, 0.0, 1.0), slope_floor=1.0),
    Unary("erfc", lambda x: mp.erfc(min(x, 1000)), (2.0, 1.0, 1.0, 0.0), slope_floor=1.0),
    Unary("sigmoid", _sigmoid, (0.0, 0.5, 0.5, 1.0), slope_floor=0.25),
    Unary("log_sigmoid", lambda x: -mp.log1p(mp.exp(-x)), (-inf, -np.log(2), -np.log(2), 0.0)),
    Unary("softplus", lambda x: mp.log1p(mp.exp(x)), (0.0, np.log(2), np.log(2), inf)),
    Unary("relu", lambda x: max(x, 0), (0.0, -0.0, 0.0, inf), ulp=0.5, kinks={0.0: 0.0}),
    Unary("leaky_relu", lambda x: max(x, x * mp.mpf(0.2)), (-inf, -0.0, 0.0, inf), kinks={0.0: 0.2}, args=(0.2,)),
    Unary("elu", lambda x: x if x > 0 else 1.5 * mp.expm1(x), (-1.5, -0.0, 0.0, inf), kinks={0.0: 1.5}, args=(1.5,)),
    Unary("gelu", lambda x: x * mp.ncdf(max(x, -1000)), (-0.0, -0.0, 0.0, inf), 4, 1024, slope_floor=1.0),
    Unary("gelu_tanh", _gelu_tanh, (-0.0, -0.0, 0.0, inf), 4, 1024, _tail, 1.0, function="gelu", args=("tanh",)),
    Unary("silu", lambda x: x * _sigmoid(x), (-0.0, -0.0, 0.0, inf), floor=1024, slope_floor=1.0),
    Unary("clip", lambda x: min(max(x, -0.5), 2), (-0.5, -0.0, 0.0, 2.0), 0.5, kinks={-0.5: 1, 2.0: 1}, args=(-0.5, 2)),
]

BINARY = [
    Binary("add", operator.add, np.add, ulp=0.5),
    Binary("subtract", operator.sub, np.subtract, ulp=0.5),
    Binary("multiply", operator.mul, np.multiply, ulp=0.5),
    Binary("divide", operator.truediv, np.divide, ulp=0.5, integers=False),
    Binary("pow", operator.pow, np.power, domain=(0, inf)),
    Binary("maximum", max, np.maximum, ulp=0.5, tie=(0.5, 0.5)),
    Binary("minimum", min, np.minimum, ulp=0.5, tie=(0.5, 0.5)),
    Binary("atan2", mp.atan2, np.arctan2, integers=False),
    Binary("hypot", mp.hypot, np.hypot, integers=False),
    Binary("logaddexp", _logaddexp, np.logaddexp, integers=False, floor=1.0),
    Binary("copysign", lambda a, b: abs(a) * (-1 if b < 0 else 1), np.copysign, ulp=0.5, integers=False),
    Binary("remainder", _remainder, np.remainder, ulp=0.5),
]

# Without a derivative: the operations of two arguments by their names and NumPy's functions, for these dtypes.
STEPS = {
    "floor_divide": (np.floor_divide, ("int32", "int64", "float32", "float64")),
    "nextafter": (np.nextafter, ("float32", "float64")),
    **{f.__name__: (f, ("bool", "int32", "int64")) for f in (np.bitwise_and, np.bitwise_or, np.bitwise_xor)},
    "bitwise_left_shift": (np.left_shift, ("int32", "int64")),
    "bitwise_right_shift": (np.right_shift, ("int32", "int64")),
}

PREDICATES = {f.__name__: f for f in (np.isnan, np.isinf, np.isfinite, np.signbit, np.logical_not)}

COMPARISONS = {
    f.__name__: f
    for f in (
        *(np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal),
        *(np.logical_and, np.logical_or, np.logical_xor),
    )
}
