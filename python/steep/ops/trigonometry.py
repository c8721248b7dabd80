"""Trigonometric and hyperbolic operations, as those in elementwise.py. Angles are in radians."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ._apply import binary, unary

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cos",
    "cosh",
    "hypot",
    "sin",
    "sinh",
    "tan",
    "tanh",
]


def sin(x: Any) -> Tensor:
    """Sine of x in radians, elementwise."""
    return unary("sin", x)


def cos(x: Any) -> Tensor:
    """Cosine of x in radians, elementwise."""
    return unary("cos", x)


def tan(x: Any) -> Tensor:
    """Tangent, elementwise."""
    return unary("tan", x)


def asin(x: Any) -> Tensor:
    """Inverse sine, in [−π/2, π/2], elementwise; NaN for |x| > 1."""
    return unary("asin", x)


def acos(x: Any) -> Tensor:
    """Inverse cosine, in [0, π], elementwise; NaN for |x| > 1."""
    return unary("acos", x)


def atan(x: Any) -> Tensor:
    """Inverse tangent, in [−π/2, π/2], elementwise."""
    return unary("atan", x)


def sinh(x: Any) -> Tensor:
    """Hyperbolic sine, elementwise."""
    return unary("sinh", x)


def cosh(x: Any) -> Tensor:
    """Hyperbolic cosine, elementwise."""
    return unary("cosh", x)


def tanh(x: Any) -> Tensor:
    """Hyperbolic tangent, elementwise."""
    return unary("tanh", x)


def asinh(x: Any) -> Tensor:
    """Inverse hyperbolic sine, elementwise."""
    return unary("asinh", x)


def acosh(x: Any) -> Tensor:
    """Inverse hyperbolic cosine, elementwise; NaN for x < 1."""
    return unary("acosh", x)


def atanh(x: Any) -> Tensor:
    """Inverse hyperbolic tangent, elementwise; NaN for |x| > 1."""
    return unary("atanh", x)


def atan2(a: Any, b: Any) -> Tensor:
    """The angle of the point (b, a) with the axis of b, in [−π, π], elementwise with broadcasting."""
    return binary("atan2", a, b)


def hypot(a: Any, b: Any) -> Tensor:
    """√(a² + b²), elementwise with broadcasting, without overflow; the derivatives at 0 are 0."""
    return binary("hypot", a, b)
