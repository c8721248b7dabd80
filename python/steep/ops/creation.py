"""New tensors. ``dtype`` is anything that ``steep.dtypes.as_dtype`` takes; the default for floats is float32.

``device`` is anything that ``steep.device`` takes; without it they go to the default device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _core, dtypes
from .._core import record
from ..checks import check_count
from ..devices import Device, cpu, resolve
from ..dtypes import DType, as_dtype
from ..tensor import Tensor
from ._apply import as_tensor, host_tensor
from .manipulation import as_shape, with_extent

__all__ = [
    "arange",
    "asarray",
    "astype",
    "copy",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of ``data``: a number, nested lists, a NumPy array or a tensor.

    Without ``dtype``, arrays keep theirs, and Python numbers become bool, int64 or float32. Without ``device``, a
    tensor stays on its device.
    Raises TypeError or ValueError for data that is not a regular array of numbers.

    >>> import steep as st
    >>> st.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    given = isinstance(data, Tensor)
    asked = None if dtype is None else as_dtype(dtype)
    x: Tensor = data if given else host_tensor(data, asked)
    wanted = x.dtype if asked is None else _checked(data, x, asked)
    target = x.device if given and device is None else resolve(device)
    out = x if x.device is target else _core.to_device(x, target)
    if out is data or out.dtype is not wanted:
        out = _core.astype(out, wanted)
    out.requires_grad = requires_grad
    return out


def _checked(data: Any, x: Tensor, dtype: DType) -> DType:
    """``dtype``, if it holds the Python integers that x was made of. Raises OverflowError if not."""
    if not isinstance(data, Tensor | np.ndarray):
        check_fits(data, x.numpy(), dtype)
    return dtype


def check_fits(data: Any, values: np.ndarray[Any, Any], dtype: DType) -> None:
    """Raises OverflowError if one of the integers that ``data`` holds is none of the integer ``dtype``."""
    if dtype.is_integer and values.dtype.kind in "iu" and values.size:
        limits = np.iinfo(dtype.name)
        if values.min() < limits.min or values.max() > limits.max:
            raise OverflowError(f"{data!r:.60} does not fit in {dtype.name}")


def asarray(x: Any, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """``x`` as a tensor, over the same memory where it is a tensor or NumPy array of that dtype, unless ``copy``.

    Raises ValueError if ``copy=False`` and a copy is needed, which includes a move to another device.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    target = x.device if isinstance(x, Tensor) and device is None else resolve(device)
    if isinstance(x, Tensor):
        shared = x
    elif isinstance(x, np.ndarray) and copy is not True:
        try:
            shared = _core.from_numpy(x, True)
        except ValueError:  # its strides or alignment
            if copy is False:
                raise
            shared = host_tensor(x)
    else:
        if copy is False:
            raise ValueError(f"asarray: a {type(x).__name__} needs a copy, and copy=False forbids it")
        shared = host_tensor(x, wanted)
    if shared.device is not target:
        if copy is False:
            raise ValueError(f"asarray: from {shared.device} to {target} needs a copy, and copy=False forbids it")
        return astype(to_device(shared, target), wanted or shared.dtype, copy=False)
    if copy or (wanted is not None and shared.dtype != wanted):
        if copy is False:
            raise ValueError(f"asarray: {shared.dtype.name} as {dtype!r} needs a copy, and copy=False forbids it")
        return astype(shared, wanted or shared.dtype, copy=True)
    return shared


def astype(x: Any, dtype: Any, copy: bool = True, device: Any = None) -> Tensor:
    """The elements in another dtype, on a device if given; differentiable between floats.

    A copy, unless ``copy`` is False and nothing changes: then it is x itself, as by the method of the same name.

    >>> import steep as st
    >>> st.astype([1.5, -1.5], st.int64)
    tensor([ 1, -1])
    """
    x, wanted = as_tensor(x), as_dtype(dtype)
    if device is not None and x.device is not resolve(device):
        return astype(to_device(x, device), wanted, copy=False)
    if x.dtype == wanted and not copy:
        return x
    y = _core.astype(x, wanted)
    # The vjp is the identity: the tape casts a gradient to the dtype of its input.
    return record(y, _astype_vjp, (x,)) if wanted.is_floating_point else y


def _astype_vjp(g: Tensor) -> tuple[Tensor]:
    return (g,)


def to_device(x: Any, device: Any) -> Tensor:
    """The elements on another device; x itself if it is there. Its gradient comes back to x's device."""
    x, target = as_tensor(x), resolve(device)
    before = x.device
    return x if before is target else record(_core.to_device(x, target), _to_device_vjp, (x,), (before,))


def _to_device_vjp(g: Tensor, device: Device) -> tuple[Tensor]:
    return (to_device(g, device),)


def copy(x: Any) -> Tensor:
    """A contiguous copy with memory of its own; differentiable."""
    x = as_tensor(x)
    return record(_core.copy(x), _copy_vjp, (x,))


def _copy_vjp(g: Tensor) -> tuple[Tensor]:
    return (g,)


def full(shape: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of one value; without ``dtype`` in the value's default dtype.

    >>> import steep as st
    >>> st.full((2,), 7.0)
    tensor([7., 7.])
    """
    asked = None if dtype is None else as_dtype(dtype)
    value = fill_value if isinstance(fill_value, Tensor) else host_tensor(fill_value, asked)
    if value.ndim:
        raise ValueError(f"full: the value must be a single number, not of shape {value.shape}")
    wanted = value.dtype if asked is None else _checked(fill_value, value, asked)
    if wanted.is_integer and value.dtype.kind == "float" and not math.isfinite(float(value)):
        raise OverflowError(f"full: {fill_value} does not fit in {wanted.name}")
    out = _core.empty(wanted, as_shape(shape), resolve(device))
    _core.assign(out, value)
    out.requires_grad = requires_grad
    return out


def number_like(value: Any, x: Tensor) -> Tensor:
    """A number in x's dtype and on its device."""
    return full((), value, x.dtype, x.device)


def constant_part(value: Any, x: Tensor, axis: int, n: int) -> Tensor:
    """One value in x's dtype and on its device, for n elements of an axis."""
    return full(with_extent(x.shape, axis, n), value, x.dtype, x.device)


def _extents(shape: Any, more: tuple[int, ...]) -> tuple[int, ...]:
    return as_shape((shape, *more) if more else shape)


def _constant(value: float, shape: tuple[int, ...], dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    out = _core.full(_or_float32(dtype), shape, value, resolve(device))
    out.requires_grad = requires_grad
    return out


def zeros(shape: Any = (), *more: int, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros, float32 by default. The extents may be given one by one or as a tuple."""
    return _constant(0.0, _extents(shape, more), dtype, device, requires_grad)


def ones(shape: Any = (), *more: int, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones, float32 by default. The extents may be given one by one or as a tuple."""
    return _constant(1.0, _extents(shape, more), dtype, device, requires_grad)


def empty(shape: Any = (), *more: int, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor whose elements are not set, float32 by default. The extents may be given one by one or as a tuple."""
    return _core.empty(_or_float32(dtype), _extents(shape, more), resolve(device))


def _or_float32(dtype: Any) -> DType:
    return dtypes.float32 if dtype is None else as_dtype(dtype)


def zeros_like(x: Tensor, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros with x's shape, and its dtype and device by default."""
    return full_like(x, 0, dtype, device)


def ones_like(x: Tensor, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones with x's shape, and its dtype and device by default."""
    return full_like(x, 1, dtype, device)


def full_like(x: Tensor, fill_value: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """One value with x's shape, and its dtype and device by default."""
    return full(x.shape, fill_value, x.dtype if dtype is None else dtype, x.device if device is None else device)


def empty_like(x: Tensor, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor whose elements are not set, with x's shape, and its dtype and device by default."""
    return empty(x.shape, dtype=x.dtype if dtype is None else dtype, device=x.device if device is None else device)


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None, device: Any = None) -> Tensor:
    """start, start + step, … below stop; int64 if all are integers, else float32.

    Raises ValueError for step 0, OverflowError for integers that the dtype doesn't hold.

    >>> import steep as st
    >>> st.arange(1, 7, 2)
    tensor([1, 3, 5])
    """
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ValueError("arange: step must not be 0")
    if not all(math.isfinite(v) for v in (start, stop, step)):
        raise ValueError(f"arange: start={start}, stop={stop} and step={step} must be finite")
    integers = all(isinstance(v, int) for v in (start, stop, step))
    if integers and not all(-(2**63) <= v < 2**63 for v in (start, stop, step)):
        raise OverflowError(f"arange: start={start}, stop={stop} and step={step} must fit in int64")
    default = dtypes.int64 if integers else dtypes.float32
    values = np.arange(start, stop, step, dtype=np.int64 if integers else np.float64)
    wanted = default if dtype is None else as_dtype(dtype)
    if wanted.is_integer and values.size:
        limits = np.iinfo(wanted.name)
        for end in (int(values[0]), int(values[-1])):
            if not limits.min <= end <= limits.max:
                raise OverflowError(f"arange: {end} does not fit in {wanted.name}")
    return _placed(values, wanted, device)


def _placed(values: np.ndarray[Any, Any], dtype: DType, device: Any) -> Tensor:
    made, target = _core.astype(_core.from_numpy(values, False), dtype), resolve(device)
    return made if target is cpu else _core.to_device(made, target)


def linspace(
    start: float, stop: float, num: int = 50, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Tensor:
    """``num`` evenly spaced numbers from start to stop (which is left out unless ``endpoint``), float32 by default.

    >>> import steep as st
    >>> st.linspace(0, 1, 3)
    tensor([0. , 0.5, 1. ])
    """
    if num < 0:
        raise ValueError(f"linspace: num={num} must not be negative")
    return _placed(np.linspace(start, stop, num, endpoint=endpoint), _or_float32(dtype), device)


def eye(n_rows: int, n_cols: int | None = None, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """A matrix with ones on the k-th diagonal and zeros elsewhere, float32 by default."""
    for label, n in (("eye: n_rows", n_rows), ("eye: n_cols", n_rows if n_cols is None else n_cols)):
        check_count(label, n, 0)
    return _placed(np.eye(n_rows, n_cols, k), _or_float32(dtype), device)
