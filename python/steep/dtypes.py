"""Element types: the objects ``steep.float32``, ``steep.int64`` and so on."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

__all__ = ["DType", "as_dtype", "bool", "float32", "float64", "int32", "int64"]


class DType:
    """An element type. There is one object for each; compare them with ``==`` or ``is``.

    >>> import steep as st
    >>> st.float32.itemsize, st.zeros(2).dtype == st.float32
    (4, True)
    """

    __slots__ = ("itemsize", "kind", "name")

    def __init__(self, name: str, kind: str, itemsize: int) -> None:
        self.name = name
        self.kind = kind  # "bool", "int" or "float"
        self.itemsize = itemsize  # bytes

    @property
    def is_floating_point(self) -> builtins.bool:
        """Whether it is a real floating-point type."""
        return self.kind == "float"

    def __repr__(self) -> str:
        return f"steep.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)


bool = DType("bool", "bool", 1)
int32 = DType("int32", "int", 4)
int64 = DType("int64", "int", 8)
float32 = DType("float32", "float", 4)
float64 = DType("float64", "float", 8)

ALL = (bool, int32, int64, float32, float64)  # in the order of the engine's enumeration
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
    raise TypeError(f"{x!r} is not a dtype of steep: use one of {', '.join(_BY_NAME)}")
