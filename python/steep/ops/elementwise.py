"""Elementwise operations. Value and derivative are the record of the same name in csrc/ops/unary.h or binary.h."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core, dtypes
from .._core import record
from ..tensor import Tensor
from ._apply import BINARY, as_tensor, binary, first_tensor, operand, operands, unary

__all__ = [
    "abs",
    "add",
    "clip",
    "cos",
    "divide",
    "elu",
    "equal",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "gelu",
    "greater",
    "greater_equal",
    "isfinite",
    "isnan",
    "leaky_relu",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log_sigmoid",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "neg",
    "not_equal",
    "pow",
    "reciprocal",
    "relu",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softplus",
    "sqrt",
    "square",
    "subtract",
    "tanh",
    "where",
]

# --- one argument -----------------------------------------------------------------------------------------------------


def neg(x: Any) -> Tensor:
    """−x, elementwise."""
    return unary("neg", x)


def abs(x: Any) -> Tensor:
    """|x|, elementwise; the derivative at 0 is 0."""
    return unary("abs", x)


def sign(x: Any) -> Tensor:
    """−1, 0 or 1 by the sign of x, elementwise; NaN stays NaN, and the derivative is 0."""
    return unary("sign", x)


def square(x: Any) -> Tensor:
    """x², elementwise."""
    return unary("square", x)


def sqrt(x: Any) -> Tensor:
    """√x, elementwise; NaN for negative x."""
    return unary("sqrt", x)


def reciprocal(x: Any) -> Tensor:
    """1/x, elementwise."""
    return unary("reciprocal", x)


def exp(x: Any) -> Tensor:
    """eˣ, elementwise.

    >>> import steep as st
    >>> st.exp(st.tensor([0.0, 1.0]))
    tensor([1.       , 2.7182817])
    """
    return unary("exp", x)


def expm1(x: Any) -> Tensor:
    """eˣ − 1, elementwise, accurate near 0."""
    return unary("expm1", x)


def log(x: Any) -> Tensor:
    """Natural logarithm, elementwise; −inf at 0, NaN below."""
    return unary("log", x)


def log1p(x: Any) -> Tensor:
    """log(1 + x), elementwise, accurate near 0."""
    return unary("log1p", x)


def sin(x: Any) -> Tensor:
    """Sine of x in radians, elementwise."""
    return unary("sin", x)


def cos(x: Any) -> Tensor:
    """Cosine of x in radians, elementwise."""
    return unary("cos", x)


def tanh(x: Any) -> Tensor:
    """Hyperbolic tangent, elementwise."""
    return unary("tanh", x)


def erf(x: Any) -> Tensor:
    """Error function 2/√π · ∫₀ˣ exp(−t²) dt, elementwise."""
    return unary("erf", x)


def erfc(x: Any) -> Tensor:
    """1 − erf(x), elementwise, accurate where erf is near 1."""
    return unary("erfc", x)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + e⁻ˣ), elementwise.

    >>> import steep as st
    >>> st.sigmoid(st.tensor([0.0]))
    tensor([0.5])
    """
    return unary("sigmoid", x)


def log_sigmoid(x: Any) -> Tensor:
    """log(sigmoid(x)), elementwise, without overflow."""
    return unary("log_sigmoid", x)


def relu(x: Any) -> Tensor:
    """max(x, 0), elementwise; the derivative at 0 is 0, and NaN stays NaN."""
    return unary("relu", x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x for x > 0, negative_slope · x otherwise, elementwise."""
    return unary("leaky_relu", x, negative_slope)


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x for x > 0, alpha · (eˣ − 1) otherwise, elementwise. Clevert et al. 2015, arXiv:1511.07289."""
    return unary("elu", x, alpha)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """x · Φ(x) with the normal distribution function Φ, elementwise. Hendrycks and Gimpel 2016, arXiv:1606.08415.

    ``approximate="tanh"`` computes their formula with tanh instead. Raises ValueError for other values.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate={approximate!r} must be 'none' or 'tanh'")
    return unary("gelu" if approximate == "none" else "gelu_tanh", x)


def silu(x: Any) -> Tensor:
    """x · sigmoid(x), elementwise; also called swish. Elfwing et al. 2017, arXiv:1702.03118."""
    return unary("silu", x)


def softplus(x: Any) -> Tensor:
    """log(1 + eˣ), elementwise, without overflow."""
    return unary("softplus", x)


def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max], elementwise. A bound is a number, a tensor that broadcasts, or None for no bound.

    The derivative is 1 inside and at the bounds, 0 outside. Raises ValueError if both bounds are None or min > max.

    >>> import steep as st
    >>> st.clip(st.tensor([-2.0, 0.5, 3.0]), 0, 1)
    tensor([0. , 0.5, 1. ])
    """
    beside = first_tensor((x, min, max))
    low, high = (None if bound is None else operand(bound, beside) for bound in (min, max))
    if low is None and high is None:
        raise ValueError("clip: give min, max or both")
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        y = as_tensor(x, high) if low is None else maximum(x, low)
        return y if high is None else minimum(y, high)
    x = as_tensor(x)
    if not x.dtype.is_floating_point and (isinstance(low, float) or isinstance(high, float)):
        x = x.astype(dtypes.float32)  # as x + 1.5 would be
    low, high = float("-inf") if low is None else low, float("inf") if high is None else high
    if not low <= high:
        raise ValueError(f"clip: min={low} must not be greater than max={high}, and neither may be NaN")
    return unary("clip", x, low, high)


def isnan(x: Any) -> Tensor:
    """Whether each element is NaN, as a bool tensor."""
    return _core.isnan(as_tensor(x))


def isfinite(x: Any) -> Tensor:
    """Whether each element is neither infinite nor NaN, as a bool tensor."""
    return _core.isfinite(as_tensor(x))


def logical_not(x: Any) -> Tensor:
    """Whether each element is 0 (False), as a bool tensor."""
    return _core.logical_not(as_tensor(x).astype(dtypes.bool))


# --- two arguments ----------------------------------------------------------------------------------------------------


def add(a: Any, b: Any) -> Tensor:
    """a + b, elementwise with broadcasting.

    >>> import steep as st
    >>> st.add(st.tensor([[1.0], [2.0]]), st.tensor([10.0, 20.0]))
    tensor([[11., 21.],
            [12., 22.]])
    """
    return binary("add", a, b)


def subtract(a: Any, b: Any) -> Tensor:
    """a − b, elementwise with broadcasting."""
    return binary("subtract", a, b)


def multiply(a: Any, b: Any) -> Tensor:
    """a · b, elementwise with broadcasting."""
    return binary("multiply", a, b)


def divide(a: Any, b: Any) -> Tensor:
    """a / b, elementwise with broadcasting; integers divide as float32."""
    return binary("divide", a, b)


def pow(a: Any, b: Any) -> Tensor:
    """a to the power of b, elementwise with broadcasting.

    Raises ValueError for integers with a negative exponent, which have no integer result.
    """
    return binary("pow", a, b)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, elementwise with broadcasting; NaN if either is. Equal values share the gradient."""
    return binary("maximum", a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b, elementwise with broadcasting; NaN if either is. Equal values share the gradient."""
    return binary("minimum", a, b)


def equal(a: Any, b: Any) -> Tensor:
    """a == b, elementwise with broadcasting, as a bool tensor."""
    return _core.equal(*operands(a, b))


def not_equal(a: Any, b: Any) -> Tensor:
    """a != b, elementwise with broadcasting, as a bool tensor."""
    return _core.not_equal(*operands(a, b))


def less(a: Any, b: Any) -> Tensor:
    """a < b, elementwise with broadcasting, as a bool tensor."""
    return _core.less(*operands(a, b))


def less_equal(a: Any, b: Any) -> Tensor:
    """a <= b, elementwise with broadcasting, as a bool tensor."""
    return _core.less_equal(*operands(a, b))


def greater(a: Any, b: Any) -> Tensor:
    """a > b, elementwise with broadcasting, as a bool tensor."""
    return _core.greater(*operands(a, b))


def greater_equal(a: Any, b: Any) -> Tensor:
    """a >= b, elementwise with broadcasting, as a bool tensor."""
    return _core.greater_equal(*operands(a, b))


def logical_and(a: Any, b: Any) -> Tensor:
    """Whether a and b are both true (not 0), elementwise with broadcasting, as a bool tensor."""
    return _core.logical_and(*_truths(a, b))


def logical_or(a: Any, b: Any) -> Tensor:
    """Whether a or b is true (not 0), elementwise with broadcasting, as a bool tensor."""
    return _core.logical_or(*_truths(a, b))


def logical_xor(a: Any, b: Any) -> Tensor:
    """Whether exactly one of a and b is true (not 0), elementwise with broadcasting, as a bool tensor."""
    return _core.logical_xor(*_truths(a, b))


def _truths(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    a = as_tensor(a, b)
    return a.astype(dtypes.bool), as_tensor(b, a).astype(dtypes.bool)


def logical(operation: Callable[[Any, Any], Tensor], sign: str, a: Any, b: Any) -> Tensor:
    """The operators ``&``, ``|`` and ``^``, which take bool tensors only."""
    for x in (a, b):
        dtype = x.dtype.name if isinstance(x, Tensor) else type(x).__name__
        if dtype != "bool":
            raise TypeError(
                f"{sign} is defined for bool tensors, not {dtype}: compare first, e.g. (x > 0) {sign} (y > 0)"
            )
    return operation(a, b)


# --- three arguments --------------------------------------------------------------------------------------------------


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where condition is true (not 0), b elsewhere, all broadcast together.

    >>> import steep as st
    >>> st.where(st.tensor([True, False]), st.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    """
    beside = first_tensor((condition, a, b))
    c, a, b = as_tensor(condition, beside), operand(a, beside), operand(b, beside)
    return record(_core.where(c, a, b), _where_vjp, (a, b), (c,))


def _where_vjp(g: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
    return where(condition, g, 0.0), where(condition, 0.0, g)


for _function in (add, subtract, multiply, divide):
    _core.set_operator(_function.__name__, BINARY[_function.__name__].vjp, _function)
