"""What the Python Array API standard asks of a module besides operations: see https://data-apis.org/array-api/."""

from __future__ import annotations

import math
from typing import Any

from . import _core, devices, dtypes
from .devices import Device
from .dtypes import DType
from .ops.dtype_functions import isdtype
from .tensor import Tensor

__all__ = [
    "__array_api_version__",
    "__array_namespace_info__",
    "e",
    "from_dlpack",
    "inf",
    "nan",
    "newaxis",
    "pi",
]

e, inf, nan, pi = math.e, math.inf, math.nan, math.pi
newaxis = None

__array_api_version__ = "2024.12"
VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


class __array_namespace_info__:
    """What steep can do, for programs that are written for any library: ``steep.__array_namespace_info__()``.

    >>> import steep as st
    >>> st.__array_namespace_info__().dtypes(kind="real floating")["float32"]
    steep.float32
    """

    def capabilities(self) -> dict[str, Any]:
        """ "boolean indexing", "data-dependent shapes" and "max dimensions"."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 8}

    def default_device(self) -> Device:
        """Where new tensors go."""
        return devices.get_default_device()

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes of new tensors: "real floating", "integral" and "indexing" (there are no complex ones)."""
        return {"real floating": dtypes.float32, "integral": dtypes.int64, "indexing": dtypes.int64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The standard's dtypes by name, or those of a ``kind``, as in ``steep.isdtype``. Steep's other two are float16
        and bfloat16."""
        standard = [t for t in dtypes.ALL if not (t.is_floating_point and t.itemsize == 2)]
        return {t.name: t for t in standard if kind is None or isdtype(t, kind)}

    def devices(self) -> list[Device]:
        """The CPU, and the CUDA devices that there are."""
        return list(devices.ALL[: 1 + _core.cuda.device_count()])


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of an array of another library that supports DLPack, on the device where that is.

    ``device`` brings it elsewhere; ``copy`` is True for a copy in any case, False for none. Raises BufferError where
    ``copy=False`` and a copy is needed, TypeError for dtypes that steep doesn't have, and ValueError for memory that is
    neither the CPU's nor CUDA's.

    >>> import numpy as np, steep as st
    >>> st.from_dlpack(np.arange(3.0)).tolist()
    [0.0, 1.0, 2.0]
    """
    shared = _core.from_dlpack(x)
    target = shared.device if device is None else devices.device(device)
    if target is not shared.device:
        if copy is False:
            raise BufferError(f"from_dlpack: from {shared.device} to {target} needs a copy, and copy=False forbids it")
        return _core.to_device(shared, target)
    return _core.copy(shared) if copy else shared
