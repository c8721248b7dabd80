"""Checks of options, which all that take some share."""

from __future__ import annotations

import math
import operator
import os
from numbers import Real
from typing import Any

__all__ = ["check_count", "check_no_generator", "check_number", "check_path", "check_real", "check_share", "shown"]


def shown(value: Any) -> str:
    """``value`` in an error: one line, and not a long one."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def check_count(label: str, value: Any, least: int = 1) -> int:
    """``value`` as an int. Raises ValueError, which begins with ``label``, for all but integers from ``least`` on."""
    try:
        count = operator.index(value)
    except TypeError:
        count = least - 1
    if count < least:
        must = "a positive integer" if least == 1 else f"an integer of {least} or more"
        raise ValueError(f"{label}={shown(value)} must be {must}")
    return count


def check_real(label: str, value: Any) -> None:
    """Raises TypeError, which begins with ``label``, for what is no number."""
    if not isinstance(value, Real):
        raise TypeError(f"{label} must be a number, not {shown(value)}")


def check_number(label: str, value: Any, low: float = 0.0, high: float = math.inf, open_low: bool = False) -> Any:
    """``value``, if it is a finite number from ``low``, or above it, to ``high``.

    Raises ValueError for other numbers and TypeError for anything else; both begin with ``label``.
    """
    check_real(label, value)
    number = float(value)
    if not low <= number <= high or math.isinf(number) or (open_low and number == low):
        least = f"above {low:g}" if open_low else f"at least {low:g}"
        most = "" if math.isinf(high) else f" and at most {high:g}"
        raise ValueError(f"{label}={value} must be {least}{most}, and finite")
    return value


def check_share(label: str, value: Any, what: str = "share") -> Any:
    """``value``, if it is a number from 0 to 1. Raises ValueError for other numbers and TypeError for anything else."""
    check_real(label, value)
    if not 0 <= float(value) <= 1:
        raise ValueError(f"{label}={value} is a {what}: it must be between 0 and 1")
    return value


def check_path(label: str, path: Any, hint: str = "") -> str:
    """``path`` as a string. Raises TypeError for what is no path."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"{label} must be a path, a str or a pathlib.Path, not {shown(path)}{hint}")
    return os.fsdecode(path)


def check_no_generator(name: str, function: Any) -> None:
    """Raises TypeError for a generator, which ``steep.<name>`` would leave before it has begun."""
    if getattr(getattr(function, "__code__", None), "co_flags", 0) & 0x20:  # inspect.CO_GENERATOR
        raise TypeError(f"{name} cannot decorate a generator: use 'with steep.{name}():' inside it")
