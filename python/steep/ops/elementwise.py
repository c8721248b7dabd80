"""Elementwise arithmetic. Value and derivative are the record of the same name in csrc/ops/unary.h or binary.h."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core, dtypes
from .._core import record
from ..tensor import Tensor
from . import indexing
from ._apply import BINARY, as_tensor, binary, first_tensor, operand, operands, unary

__all__ = [
    "abs",
    "add",
    "ceil",
    "clip",
    "copysign",
    "divide",
    "elu",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "floor_divide",
    "gelu",
    "leaky_relu",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_sigmoid",
    "logaddexp",
    "maximum",
    "minimum",
    "multiply",
    "neg",
    "negative",
    "nextafter",
    "positive",
    "pow",
    "reciprocal",
    "relu",
    "remainder",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "silu",
    "softplus",
    "sqrt",
    "square",
    "subtract",
    "trunc",
    "where",
]

# --- one argument -----------------------------------------------------------------------------------------------------


def neg(x: Any) -> Tensor:
    """−x, elementwise. ``negative`` is the same."""
    return unary("neg", x)


negative = neg


def positive(x: Any) -> Tensor:
    """x itself, as a tensor."""
    return as_tensor(x)


def abs(x: Any) -> Tensor:
    """|x|, elementwise; the derivative at 0 is 0."""
    return unary("abs", x)


def sign(x: Any) -> Tensor:
    """−1, 0 or 1 by the sign of x, elementwise; NaN stays NaN, and the derivative is 0."""
    return unary("sign", x)


def floor(x: Any) -> Tensor:
    """The largest integer that is not greater than x, elementwise; the derivative is 0."""
    return unary("floor", x)


def ceil(x: Any) -> Tensor:
    """The smallest integer that is not less than x, elementwise; the derivative is 0."""
    return unary("ceil", x)


def trunc(x: Any) -> Tensor:
    """x without its fraction, elementwise; the derivative is 0."""
    return unary("trunc", x)


def round(x: Any) -> Tensor:
    """The integer nearest to x, elementwise, of two the even one; the derivative is 0."""
    return unary("round", x)


def square(x: Any) -> Tensor:
    """x², elementwise."""
    return unary("square", x)


def sqrt(x: Any) -> Tensor:
    """√x, elementwise; NaN for negative x."""
    return unary("sqrt", x)


def rsqrt(x: Any) -> Tensor:
    """1/√x, elementwise; NaN for negative x."""
    return unary("rsqrt", x)


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


def exp2(x: Any) -> Tensor:
    """2ˣ, elementwise."""
    return unary("exp2", x)


def expm1(x: Any) -> Tensor:
    """eˣ − 1, elementwise, accurate near 0."""
    return unary("expm1", x)


def log(x: Any) -> Tensor:
    """Natural logarithm, elementwise; −inf at 0, NaN below."""
    return unary("log", x)


def log1p(x: Any) -> Tensor:
    """log(1 + x), elementwise, accurate near 0."""
    return unary("log1p", x)


def log2(x: Any) -> Tensor:
    """Logarithm to base 2, elementwise; exact for powers of 2."""
    return unary("log2", x)


def log10(x: Any) -> Tensor:
    """Logarithm to base 10, elementwise."""
    return unary("log10", x)


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

    The derivative is 1 inside and at the bounds, 0 outside. Raises ValueError if min > max.

    >>> import steep as st
    >>> st.clip(st.tensor([-2.0, 0.5, 3.0]), 0, 1)
    tensor([0. , 0.5, 1. ])
    """
    beside = first_tensor((x, min, max))
    low, high = (None if bound is None else operand(bound, beside) for bound in (min, max))
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        y = as_tensor(x, high) if low is None else maximum(x, low)
        return y if high is None else minimum(y, high)
    x = as_tensor(x)
    if not x.dtype.is_floating_point and (isinstance(low, float) or isinstance(high, float)):
        x = x.astype(dtypes.float32)  # as x + 1.5 would be
    elif x.dtype is dtypes.bool and (type(low) is int or type(high) is int):
        x = x.astype(dtypes.int64)
    low, high = float("-inf") if low is None else low, float("inf") if high is None else high
    if not low <= high:
        raise ValueError(f"clip: min={low} must not be greater than max={high}, and neither may be NaN")
    return unary("clip", x, low, high)


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


def remainder(a: Any, b: Any) -> Tensor:
    """a − b · ⌊a/b⌋, elementwise with broadcasting: what ⌊a/b⌋ leaves, with the sign of b.

    Of integers it is 0 where b is 0.

    >>> import steep as st
    >>> st.remainder(st.tensor([7, -7]), 3)
    tensor([1, 2])
    """
    return binary("remainder", a, b)


def floor_divide(a: Any, b: Any) -> Tensor:
    """⌊a/b⌋, elementwise with broadcasting; not differentiable. Of integers it is 0 where b is 0."""
    return _core.floor_divide(*operands(a, b))


def logaddexp(a: Any, b: Any) -> Tensor:
    """log(eᵃ + eᵇ), elementwise with broadcasting, without overflow."""
    return binary("logaddexp", a, b)


def copysign(a: Any, b: Any) -> Tensor:
    """|a| with the sign of b, elementwise with broadcasting."""
    return binary("copysign", a, b)


def nextafter(a: Any, b: Any) -> Tensor:
    """The floating-point number after a on the way to b, elementwise with broadcasting; not differentiable."""
    return _core.nextafter(*operands(a, b))


# --- three arguments --------------------------------------------------------------------------------------------------


def where(condition: Any, a: Any = None, b: Any = None) -> Any:
    """a where condition is true (not 0), b elsewhere, all broadcast together; of a condition alone ``nonzero``.

    >>> import steep as st
    >>> st.where(st.tensor([True, False]), st.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    """
    if a is None and b is None:
        return indexing.nonzero(condition)
    if a is None or b is None:
        raise ValueError("where: the condition stands alone, or with values for both cases")
    beside = first_tensor((condition, a, b))
    c, a, b = as_tensor(condition, beside), operand(a, beside), operand(b, beside)
    return record(_core.where(c, a, b), _where_vjp, (a, b), (c,))


def _where_vjp(g: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
    return where(condition, g, 0.0), where(condition, 0.0, g)


def _operator(function: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Any]:
    def run(a: Any, b: Any) -> Any:
        # By NumPy's convention such an operand wants Python to ask it: a symbolic value of a graph of layers does.
        if not isinstance(b, Tensor) and getattr(type(b), "__array_ufunc__", b) is None:
            return NotImplemented
        return function(a, b)

    return run


for _function in (add, subtract, multiply, divide):
    _core.set_operator(_function.__name__, BINARY[_function.__name__].vjp, _operator(_function))
