"""How an operation of the kernel table is run and recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import _core, autocasting
from .._core import is_recording, record, record_binary
from ..devices import cpu, get_default_device
from ..dtypes import DType, float32, uint64
from ..dtypes import bool as bool_
from ..tensor import Tensor

_FILLED = {bool: bool_, float: float32}
NUMBERS = (bool, int, float)  # NumPy's float64 scalars are floats too
TENSOR_OR_NUMBER = (Tensor, *NUMBERS)
READS_X, READS_Y, IS_ONE = 1, 4, 8


def is_operand(x: object) -> bool:
    """Whether x can stand beside a tensor in an operation."""
    return isinstance(x, (Tensor, *NUMBERS, np.ndarray, np.generic))


def as_tensor(x: Any, beside: Any = None, dtype: DType | None = None) -> Tensor:
    """x itself if it is a Tensor, else a new one: arrays keep their dtype, numbers and lists take the default one.

    It is on the device of ``beside``, if that is a Tensor, else on the default device.
    """
    if isinstance(x, Tensor):
        return x
    device = beside.device if isinstance(beside, Tensor) else get_default_device()
    if device is not cpu and dtype is None and type(x) in _FILLED:  # no copy, which no CUDA graph could have
        return _core.full(_FILLED[type(x)], (), x, device)
    made = host_tensor(x, dtype)
    return made if device is cpu else _core.to_device(made, device)


def host_array(x: Any) -> np.ndarray[Any, Any]:
    """``np.asarray(x)``; of a DataFrame with several kinds of numbers, such as floats and bools, in their common dtype.

    NumPy would make objects of these. Raises TypeError for a column that doesn't hold numbers.
    """
    array = np.asarray(x)
    if array.dtype != object or not hasattr(x, "columns"):
        return array
    common = [getattr(dtype, "numpy_dtype", dtype) for dtype in x.dtypes]  # pandas' Int64, which may have gaps: int64
    for name, dtype in zip(x.columns, common, strict=True):
        if not isinstance(dtype, np.dtype) or dtype.kind not in "biuf":
            raise TypeError(
                f"column {name!r} holds {dtype} values, not numbers: encode it first, for example with "
                "pandas.get_dummies, or leave it out"
            )
    numbers: np.ndarray[Any, Any] = x.to_numpy(np.result_type(*common))
    return numbers


def host_tensor(x: Any, dtype: DType | None = None) -> Tensor:
    """A new tensor of what is no Tensor, on the CPU.

    Arrays keep their dtype; Python's integers become int64, or uint64 where ``dtype`` is that; Python's floats become
    float32, or float64 on the way to any ``dtype``.
    """
    if isinstance(x, np.ndarray | np.generic) or hasattr(x, "__array__"):  # another library's array keeps its dtype
        return _core.from_numpy(host_array(x), False)
    if isinstance(x, list | tuple) and any(isinstance(item, Tensor) for item in x):
        raise TypeError("cannot make a tensor of a list of tensors: use steep.stack or steep.concat")
    try:
        array = np.asarray(x)
    except ValueError as error:  # ragged lists
        raise ValueError(f"cannot make a tensor of this {type(x).__name__}: {error}") from None
    if array.dtype.kind in "uO" and _has_huge_integer(x) and (dtype is not uint64 or array.dtype.kind == "O"):
        raise OverflowError(f"{x!r:.60} does not fit in int64" + (", nor in uint64" if dtype is uint64 else ""))
    if array.dtype.kind == "f" and (dtype is None or dtype.is_integer) and _are_huge_integers(x, array):
        array = _unsigned(x, dtype)
    if array.dtype.kind == "f" and dtype is None:
        array = array.astype(np.float32)
    elif array.dtype == object or array.dtype.kind not in "biuf":
        raise TypeError(f"cannot make a tensor of {type(x).__name__} {x!r:.60}: expected numbers, a list or an array")
    elif array.size == 0 and isinstance(x, list | tuple):
        array = array.astype(np.float32)
    return _core.from_numpy(array, False)


def _has_huge_integer(x: Any) -> bool:
    if isinstance(x, list | tuple):
        return any(map(_has_huge_integer, x))
    return isinstance(x, int) and not -(2**63) <= x < 2**63


def _are_huge_integers(x: Any, array: np.ndarray[Any, Any]) -> bool:
    """Whether NumPy has made floats of integers, as it does where no integer type of its own holds all of them."""
    return bool((np.abs(array) >= 2.0**63).any()) and _are_integers(x)


def _are_integers(x: Any) -> bool:
    return all(map(_are_integers, x)) if isinstance(x, list | tuple) else isinstance(x, int | np.integer)


def _unsigned(x: Any, dtype: DType | None) -> np.ndarray[Any, Any]:
    if dtype is uint64:
        try:
            return np.asarray(x, np.uint64)
        except OverflowError:
            pass
    raise OverflowError(f"{x!r:.60} does not fit in {'uint64' if dtype is uint64 else 'int64'}")


def operand(x: Any, beside: Any = None) -> Any:
    """A Tensor or a Python number, which takes the dtype of the tensor beside it."""
    return x if isinstance(x, TENSOR_OR_NUMBER) else as_tensor(x, beside)


def operands(a: Any, b: Any) -> tuple[Any, Any]:
    """Both operands of a binary operation. Arrays and lists go to the device of the tensor beside them."""
    if not isinstance(a, TENSOR_OR_NUMBER):
        a = as_tensor(a, b)
    if not isinstance(b, TENSOR_OR_NUMBER):
        b = as_tensor(b, a)
    elif not isinstance(a, Tensor) and not isinstance(b, Tensor) and get_default_device() is not cpu:
        a = as_tensor(a)  # of two numbers, or the engine would put the result on the CPU
    return a, b


def first_tensor(items: Iterable[Any]) -> Tensor | None:
    """The one whose device the others take."""
    for x in items:  # in a fifth of the time that a generator takes
        if isinstance(x, Tensor):
            return x
    return None


def as_tensors(*items: Any) -> tuple[Tensor, ...]:
    """All as tensors, on the device of the first that is one."""
    beside = first_tensor(items)
    return tuple([as_tensor(x, beside) for x in items])


def check_floating(name: str, x: Tensor, called: str = "input") -> None:
    """Raises TypeError for other dtypes."""
    if not x.dtype.is_floating_point:
        raise TypeError(f"{name}: {called} must be floating-point, not {x.dtype.name}")


class UnaryRule:
    """A row of the unary table: its kernel and its vjp."""

    def __init__(self, name: str, reads: int) -> None:
        self.forward: Callable[..., Tensor] = getattr(_core, name)
        self.in_float32 = name in autocasting.IN_FLOAT32
        self.reads_x = bool(reads & READS_X)
        self.reads_y = bool(reads & READS_Y)
        kernel: Callable[..., Tensor] = getattr(_core, f"{name}_backward")

        def vjp(g: Tensor, x: Tensor | None, y: Tensor | None, params: tuple[float, ...]) -> tuple[Tensor]:
            if is_recording():
                return (g * _core.derivative(name, x, y, params),)
            return (kernel(g, x, y, *params),)

        vjp.__name__ = name
        self.vjp = vjp


class BinaryRule:
    """A row of the binary table: its kernel and its vjp."""

    def __init__(self, name: str, reads_a: int, reads_b: int) -> None:
        self.forward: Callable[[Any, Any], Tensor] = getattr(_core, name)
        self.in_float32 = name in autocasting.IN_FLOAT32
        self.reads_a, self.reads_b = reads_a, reads_b
        kernel_a: Callable[..., Tensor] = getattr(_core, f"{name}_backward_a")
        kernel_b: Callable[..., Tensor] = getattr(_core, f"{name}_backward_b")
        one_a, one_b = bool(reads_a & IS_ONE), bool(reads_b & IS_ONE)

        def vjp(
            g: Tensor, needs_a: bool, needs_b: bool, a: Any, b: Any, y: Tensor | None
        ) -> tuple[Tensor | None, Tensor | None]:
            da = db = g
            if is_recording():
                # The formula runs on tensors: in the dtype of the result, or integers in it would wrap.
                a, b = (x.astype(g.dtype) if isinstance(x, Tensor) else x for x in (a, b))
                if not one_a and needs_a:
                    da = g * _core.derivative_a(name, a, b, y)
                if not one_b and needs_b:
                    db = g * _core.derivative_b(name, a, b, y)
            else:
                if not one_a and needs_a:
                    da = kernel_a(g, a, b, y)
                if not one_b and needs_b:
                    db = kernel_b(g, a, b, y)
            return da if needs_a else None, db if needs_b else None

        vjp.__name__ = name
        self.vjp = vjp


UNARY = {name: UnaryRule(name, row["reads"]) for name, row in _core.unary.items() if row["differentiable"]}
BINARY = {
    name: BinaryRule(name, row["reads_a"], row["reads_b"])
    for name, row in _core.binary.items()
    if row["differentiable"]
}


def unary(name: str, x: Any, *params: float) -> Tensor:
    """Runs and records the operation ``name`` of the unary table on a tensor or array-like."""
    rule = UNARY[name]
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    if autocasting.blocks and rule.in_float32:
        x = autocasting.in_float32(x)
    y = rule.forward(x, *params)
    return record(y, rule.vjp, (x,), (x if rule.reads_x else None, y if rule.reads_y else None, params))


def binary(name: str, a: Any, b: Any) -> Tensor:
    """Runs and records the operation ``name`` of the binary table, with broadcasting and type promotion."""
    rule = BINARY[name]
    a, b = operands(a, b)
    if autocasting.blocks and rule.in_float32:
        a, b = (autocasting.in_float32(x) if isinstance(x, Tensor) else x for x in (a, b))
    return record_binary(rule.forward(a, b), rule.vjp, a, b, rule.reads_a, rule.reads_b)
