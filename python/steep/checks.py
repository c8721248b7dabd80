"""Checks of options, which all that take some share."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any

__all__ = ["check_count", "check_no_generator", "check_number"]


def check_count(label: str, value: Any, least: int = 1) -> int:
    """``value`` as an int. Raises ValueError, which begins with ``label``, for all but integers from ``least`` on."""
    try:
        count = operator.index(value)
    except TypeError:
        count = least - 1
    if count < least:
        must = "a positive integer" if least == 1 else f"an integer of {least} or more"
        raise ValueError(f"{label}={value!r} must be {must}")
    return count


def check_number(label: str, value: Any, low: float = 0.0, high: float = math.inf, open_low: bool = False) -> Any:
    """``value``, if it is a finite number from ``low``, or above it, to ``high``.

    Raises ValueError for other numbers and TypeError for anything else; both begin with ``label``.
    """
    if not isinstance(value, Real):
        raise TypeError(f"{label} must be a number, not {value!r:.60}")
    number = float(value)
    if not low <= number <= high or math.isinf(number) or (open_low and number == low):
        least = f"above {low:g}" if open_low else f"at least {low:g}"
        most = "" if math.isinf(high) else f" and at most {high:g}"
        raise ValueError(f"{label}={value} must be {least}{most}, and finite")
    return value


def check_no_generator(name: str, function: Any) -> None:
    """Raises TypeError for a generator, which ``steep.<name>`` would leave before it has begun."""
    if getattr(getattr(function, "__code__", None), "co_flags", 0) & 0x20:  # inspect.CO_GENERATOR
        raise TypeError(f"{name} cannot decorate a generator: use 'with steep.{name}():' inside it")
