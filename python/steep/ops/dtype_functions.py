"""Functions of dtypes: what they are, what they hold, and what becomes of two of them in one operation."""

from __future__ import annotations

from functools import reduce
from typing import Any

from .. import _core
from ..devices import cpu
from ..dtypes import DType, as_dtype, uint64
from ..dtypes import bool as boolean
from ..tensor import Tensor

__all__ = ["can_cast", "finfo", "iinfo", "isdtype", "result_type"]

# Bits of the exponent and of the fraction: IEEE 754's, and bfloat16's.
_FORMATS = {"float16": (5, 10), "bfloat16": (8, 7), "float32": (8, 23), "float64": (11, 52)}


class finfo:
    """The limits of a floating-point dtype, which is given itself, by its name, or by a tensor of it.

    ``bits``, ``eps`` (from 1 to the next greater number), ``max``, ``min``, ``smallest_normal``,
    ``smallest_subnormal`` and ``dtype``. Raises TypeError for other dtypes.

    >>> import steep as st
    >>> st.finfo(st.float32).eps == 2.0**-23
    True
    """

    def __init__(self, type: Any) -> None:
        self.dtype = _dtype_of(type)
        if self.dtype.name not in _FORMATS:
            raise TypeError(f"finfo: {self.dtype.name} is not a floating-point dtype: use iinfo for integers")
        exponent, fraction = _FORMATS[self.dtype.name]
        least = 2 - 2 ** (exponent - 1)  # the exponent of the smallest normal number
        self.bits = 8 * self.dtype.itemsize
        self.eps = 2.0**-fraction
        self.max = (2 - self.eps) * 2.0 ** (1 - least)
        self.min = -self.max
        self.smallest_normal = 2.0**least
        self.smallest_subnormal = 2.0 ** (least - fraction)

    def __repr__(self) -> str:
        return f"finfo(eps={self.eps}, min={self.min}, max={self.max}, dtype={self.dtype.name})"


class iinfo:
    """The limits of an integer dtype, which is given itself, by its name, or by a tensor of it.

    ``bits``, ``max``, ``min`` and ``dtype``. Raises TypeError for other dtypes.

    >>> import steep as st
    >>> st.iinfo(st.int32)
    iinfo(min=-2147483648, max=2147483647, dtype=int32)
    """

    def __init__(self, type: Any) -> None:
        self.dtype = _dtype_of(type)
        if not isdtype(self.dtype, "integral"):
            raise TypeError(f"iinfo: {self.dtype.name} is not an integer dtype: use finfo for floating-point numbers")
        self.bits = 8 * self.dtype.itemsize
        unsigned = isdtype(self.dtype, "unsigned integer")
        self.max = 2 ** (self.bits if unsigned else self.bits - 1) - 1
        self.min = 0 if unsigned else -self.max - 1

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype.name})"


def _kinds(dtype: DType) -> tuple[str, ...]:
    """What the Array API calls the kinds of a dtype."""
    if dtype == boolean:
        return ("bool",)
    if dtype.is_floating_point:
        return ("real floating", "numeric")
    return (f"{'un' if dtype.name.startswith('u') else ''}signed integer", "integral", "numeric")


_KINDS = ("bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric")


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: a dtype, a kind's name, or a tuple of those, one of which it must be.

    The kinds: "bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating" (which
    steep doesn't have) and "numeric". Raises ValueError for other names.

    >>> import steep as st
    >>> st.isdtype(st.int32, "integral"), st.isdtype(st.int32, (st.int64, "real floating"))
    (True, False)
    """
    t = as_dtype(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(t, k) for k in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ValueError(f"isdtype: there is no kind {kind!r}; there are {', '.join(map(repr, _KINDS))}")
        return kind in _kinds(t)
    return t == as_dtype(kind)


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype of an operation's result, for tensors, dtypes and Python numbers (which follow the others) together.

    Raises ValueError if there are no tensors or dtypes, TypeError for other objects.

    >>> import steep as st
    >>> st.result_type(st.int32, st.float32), st.result_type(st.int64, 2.0), st.result_type(st.int32, 1)
    (steep.float32, steep.float32, steep.int32)
    """
    numbers = [x for x in arrays_and_dtypes if isinstance(x, int | float)]
    types = [_dtype_of(x) for x in arrays_and_dtypes if not isinstance(x, int | float)]
    if not types:
        raise ValueError("result_type: there must be a tensor or a dtype among the arguments")
    return reduce(_promoted, numbers, reduce(_promoted, types))


def _promoted(a: DType, b: Any) -> DType:
    """As the engine does it, to no elements."""
    none = _core.empty(a, (0,), cpu)
    other = _core.empty(b, (0,), cpu) if isinstance(b, DType) else type(b)(1)
    return _core.where(_core.empty(boolean, (0,), cpu), none, other).dtype


def can_cast(from_: Any, to: Any) -> bool:
    """Whether a tensor or dtype becomes the dtype ``to`` by promotion, beside a tensor of that dtype.

    >>> import steep as st
    >>> st.can_cast(st.int32, st.int64), st.can_cast(st.float64, st.float32)
    (True, False)
    """
    source, to = _dtype_of(from_), as_dtype(to)
    if {source.kind, to.kind} == {"int", "uint"} and uint64 in (source, to):
        return False  # nothing holds the values of both
    return result_type(source, to) == to


def _dtype_of(x: Any) -> DType:
    return x.dtype if isinstance(x, Tensor) else as_dtype(getattr(x, "dtype", x))
