"""Elementwise questions, comparisons, and operations on truth values and bits. None has a derivative."""

from __future__ import annotations

from typing import Any

from .. import _core, dtypes
from ..tensor import Tensor
from ._apply import as_tensor, as_tensors, operands

__all__ = [
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "equal",
    "greater",
    "greater_equal",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "signbit",
]


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


def logical_not(x: Any) -> Tensor:
    """Whether each element is 0 (False), as a bool tensor."""
    return _core.logical_not(as_tensor(x).astype(dtypes.bool))


def isnan(x: Any) -> Tensor:
    """Whether each element is NaN, as a bool tensor."""
    return _core.isnan(as_tensor(x))


def isinf(x: Any) -> Tensor:
    """Whether each element is infinite, as a bool tensor."""
    return _core.isinf(as_tensor(x))


def isfinite(x: Any) -> Tensor:
    """Whether each element is neither infinite nor NaN, as a bool tensor."""
    return _core.isfinite(as_tensor(x))


def signbit(x: Any) -> Tensor:
    """Whether the sign of each element is minus, that of −0 too, as a bool tensor."""
    return _core.signbit(as_tensor(x))


def bitwise_and(a: Any, b: Any) -> Tensor:
    """a & b of integers or bool tensors, elementwise with broadcasting."""
    return _core.bitwise_and(*operands(a, b))


def bitwise_or(a: Any, b: Any) -> Tensor:
    """a | b of integers or bool tensors, elementwise with broadcasting."""
    return _core.bitwise_or(*operands(a, b))


def bitwise_xor(a: Any, b: Any) -> Tensor:
    """a ^ b of integers or bool tensors, elementwise with broadcasting."""
    return _core.bitwise_xor(*operands(a, b))


def bitwise_invert(x: Any) -> Tensor:
    """~x of integers or bool tensors, elementwise."""
    return _core.bitwise_invert(as_tensor(x))


def bitwise_left_shift(a: Any, b: Any) -> Tensor:
    """a · 2ᵇ of integers, elementwise with broadcasting; 0 where b is negative or too large."""
    return _core.bitwise_left_shift(*operands(a, b))


def bitwise_right_shift(a: Any, b: Any) -> Tensor:
    """⌊a / 2ᵇ⌋ of integers, elementwise with broadcasting; 0 or −1 where b is negative or too large."""
    return _core.bitwise_right_shift(*operands(a, b))


def _truths(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    a, b = as_tensors(a, b)
    return a.astype(dtypes.bool), b.astype(dtypes.bool)
