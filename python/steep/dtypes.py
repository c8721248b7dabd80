"""Element types: the objects ``steep.float32``, ``steep.int64`` and so on."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

__all__ = [
    "DType",
    "as_dtype",
    "bfloat16",
    "bool",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]


class DType:
    """An element type. There is one object for each; compare them with ``==`` or ``is``.

    >>> import steep as st
    >>> st.float32.itemsize, st.zeros(2).dtype == st.float32
    (4, True)
    """

    __slots__ = ("itemsize", "kind", "name")

    def __init__(self, name: str, kind: str, itemsize: int) -> None:
        self.name = name
        self.kind = kind  # "bool", "int", "uint" or "float"
        self.itemsize = itemsize  # bytes

    @property
    def is_floating_point(self) -> builtins.bool:
        """Whether it is a real floating-point type."""
        return self.kind == "float"

    @property
    def is_integer(self) -> builtins.bool:
        """Whether it is an integer type, signed or unsigned."""
        return self.kind in ("int", "uint")

    def __repr__(self) -> str:
        return f"steep.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)


bool = DType("bool", "bool", 1)
int8 = DType("int8", "int", 1)
int16 = DType("int16", "int", 2)
int32 = DType("int32", "int", 4)
int64 = DType("int64", "int", 8)
uint8 = DType("uint8", "uint", 1)
uint16 = DType("uint16", "uint", 2)
uint32 = DType("uint32", "uint", 4)
uint64 = DType("uint64", "uint", 8)
float16 = DType("float16", "float", 2)
bfloat16 = DType("bfloat16", "float", 2)
float32 = DType("float32", "float", 4)
float64 = DType("float64", "float", 8)

# In the order of the engine's enumeration.
ALL = (bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16, float32, float64)
_BY_NAME = {t.name: t for t in ALL}
_BY_PYTHON_TYPE = {builtins.bool: bool, int: int64, float: float32}


def as_dtype(x: Any) -> DType:
    """The steep dtype that ``x`` names: a steep dtype, a string, a Python type or a NumPy dtype.

    Raises TypeError for types that steep doesn't have.

    >>> from steep.dtypes import as_dtype
    >>> as_dtype("float64"), as_dtype(int)
    (steep.float64, steep.int64)
    """
    if isinstance(x, DType):
        return x
    name = x
    if isinstance(x, type) and x in _BY_PYTHON_TYPE:
        return _BY_PYTHON_TYPE[x]
    if isinstance(x, np.dtype) or (isinstance(x, type) and issubclass(x, np.generic)):
        name = np.dtype(x).name
    if isinstance(name, str) and name in _BY_NAME:
        return _BY_NAME[name]
    if x is complex or (isinstance(name, str) and name.startswith("complex")):
        raise TypeError("steep has no complex numbers: keep them in NumPy, which shares a tensor's memory")
    raise TypeError(f"{x!r} is not a dtype of steep: use one of {', '.join(_BY_NAME)}")
