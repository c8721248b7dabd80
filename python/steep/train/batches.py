"""Training data as tensors, in parts, and in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import _core, cuda
from ..devices import Device, cpu
from ..dtypes import DType, bfloat16, float32, int64
from ..ops import asarray, take, to_device
from ..tensor import Tensor

__all__ = ["Data", "as_data", "as_rows", "batches", "placed", "split"]

Data = tuple[Tensor, Tensor]


def as_rows(name: str, x: Any, dtype: DType) -> Tensor:
    """``x`` as a tensor whose first axis counts samples; floating-point numbers in ``dtype``.

    Takes tensors, arrays, lists, DataFrames and whatever else NumPy does. Raises TypeError for anything that is not
    numbers, ValueError for a single number and for no samples.
    """
    if isinstance(x, Tensor):
        rows = x.detach()
    else:
        array = np.asarray(x)
        if array.dtype.kind in "iu" and array.dtype.name not in ("int32", "int64"):
            array = array.astype(np.int64)
        elif array.dtype.kind == "f":
            array = array.astype(_in_numpy(array, dtype), copy=False)
        elif array.dtype.kind not in "biu":
            raise TypeError(
                f"{name} holds {array.dtype} values, not numbers: encode them first, classes as the integers 0, 1, 2, …"
            )
        rows = asarray(np.ascontiguousarray(array) if array.ndim else array, device=cpu)
    if rows.ndim == 0:
        raise ValueError(f"{name} is a single number: it needs a first axis that counts the samples")
    if rows.shape[0] == 0:
        raise ValueError(f"{name} of shape {rows.shape} has no samples")
    return rows.astype(dtype) if rows.dtype.is_floating_point else rows


def _in_numpy(array: np.ndarray[Any, Any], dtype: DType) -> str:
    """NumPy's dtype on the way to ``dtype``: a wider one on the way to bfloat16, which it doesn't have."""
    return dtype.name if dtype is not bfloat16 else "float32" if array.dtype.itemsize <= 4 else "float64"


def as_data(x: Any, y: Any, dtype: DType, kind: str) -> Data:
    """Inputs and targets as tensors of one length. Targets of a categorical loss may be labels; others are numbers.

    Raises ValueError if the lengths differ, and see ``as_rows``.
    """
    inputs, targets = as_rows("x", x, dtype), as_rows("y", y, dtype)
    if len(inputs) != len(targets):
        raise ValueError(
            f"x has {len(inputs)} samples and y has {len(targets)} (shapes {inputs.shape} and {targets.shape}): "
            "each sample needs one target"
        )
    if kind in ("categorical", "scores"):
        return inputs, targets.astype(int64) if targets.dtype.kind == "bool" else targets
    return inputs, targets if kind == "unknown" else targets.astype(dtype)


def placed(x: Tensor, device: Device) -> Tensor:
    """All of ``x`` on the model's device, if a copy takes at most an eighth of the memory that is free there.

    Other data stays where it is, and goes to the device batch by batch.
    """
    if device is cpu or x.device is device:
        return x
    stats = cuda.memory_stats(device)
    return to_device(x, device) if 8 * x.size * x.dtype.itemsize <= stats["free"] + stats["cached"] else x


def batches(data: Data, batch_size: int, order: Tensor | None, device: Device) -> Iterator[Data]:
    """Consecutive rows of both tensors, in their order or in that of the row numbers in ``order``, on the device."""
    # Data on a CUDA device is gathered once an epoch: each gather there checks its indices, and waits for the result.
    x, y = (x if order is None or x.device is cpu else take(x, to_device(order, x.device), 0) for x in data)
    for start in range(0, len(x), batch_size):
        stop = start + batch_size
        rows = None if order is None else _core.basic_index(order, (slice(start, stop),))
        yield _part(x, start, stop, rows, device), _part(y, start, stop, rows, device)


def _part(x: Tensor, start: int, stop: int, rows: Tensor | None, device: Device) -> Tensor:
    if rows is not None and x.device is cpu:
        part = _core.take(x, rows, 0)
    else:
        part = _core.basic_index(x, (slice(start, stop),))
    return part if part.device is device else to_device(part, device)


def split(data: Data, fraction: float) -> tuple[Data, Data]:
    """Training and validation data: ``fraction`` of the rows are held out, the same share of every class.

    The rows are chosen at random, but always the same ones for the same data, whatever the seed: a second ``fit`` must
    not train on what the first one validated with. Raises ValueError if either part would be empty.
    """
    n = len(data[0])
    if not 0 < fraction < 1:
        raise ValueError(f"validation_split={fraction} is a share of the samples: it must be between 0 and 1")
    shuffled = _core.random.permutation(n, 0, 0).numpy()
    labels = _classes(np.asarray(data[1].astype(float32) if data[1].dtype is bfloat16 else data[1]))
    if labels is not None:  # neighbours in `shuffled` get the same class, so that evenly spaced ones meet every class
        shuffled = shuffled[np.argsort(labels[shuffled], kind="stable")]
    marks = np.floor(np.arange(n + 1) * fraction + 0.5)
    held_out = marks[1:] > marks[:-1]
    if held_out.all() or not held_out.any():
        raise ValueError(f"validation_split={fraction} of {n} samples leaves one part empty")

    def part(rows: np.ndarray[Any, Any]) -> Data:
        rows = np.sort(rows)
        return take(data[0], rows, 0), take(data[1], rows, 0)

    return part(shuffled[~held_out]), part(shuffled[held_out])


def _classes(y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """A class for each row, if the targets are labels, one-hot rows, or zeros and ones."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 1:
        return y if y.dtype.kind in "biu" or np.isin(y, (0, 1)).all() else None
    one_hot = y.ndim == 2 and np.isin(y, (0, 1)).all() and (y.sum(1) == 1).all()
    return y.argmax(1) if one_hot else None
