"""Targets as arrays, and the classes that they mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from .dtypes import bfloat16, float32
from .ops._apply import host_array
from .tensor import Tensor

__all__ = ["Array", "as_array", "labels_of"]

Array = np.ndarray[Any, Any]


def as_array(x: Any) -> Array:
    """A tensor on any device, an array, a list or a DataFrame as a NumPy array; bfloat16 as float32."""
    if isinstance(x, Tensor):
        x = x.detach().astype(float32) if x.dtype is bfloat16 else x.detach()
    return host_array(x)


def labels_of(y: Array) -> Array | None:
    """The class of each target (n,), if they are labels, one-hot rows, or zeros and ones; None for other numbers."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 1:
        if y.dtype.kind != "f":
            return y
        return y.astype(np.int64) if np.isin(y, (0, 1)).all() else None
    one_hot = y.ndim == 2 and np.isin(y, (0, 1)).all() and (y.sum(1) == 1).all()
    return y.argmax(1) if one_hot else None
