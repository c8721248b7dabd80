"""steep: a deep-learning framework small enough to read and fast enough to use.

    import steep as st

Low level: tensors (``st.tensor``), operations (``st.exp``, ``@``, …), gradients (``backward``, ``st.grad``).
High level: layers (``st.nn``), optimizers (``st.optim``), ``model.compile(…)`` and ``model.fit(…)``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from . import _core, amp, autograd, cuda, dtypes, io, kernels, nn, ops, optim, random, train
from . import hints as _hints
from ._core import empty_cache, memory_stats
from .array_api import __array_api_version__, __array_namespace_info__, e, from_dlpack, inf, nan, newaxis, pi
from .autocasting import autocast, is_autocast_enabled
from .autograd import enable_grad, grad, is_grad_enabled, no_grad, value_and_grad
from .config import (
    get_float32_matmul_precision,
    get_num_threads,
    set_float32_matmul_precision,
    set_num_threads,
    show_config,
)
from .devices import Device, device, get_default_device, set_default_device
from .dtypes import *
from .dtypes import __all__ as _dtypes
from .io import load, save
from .nn import Input
from .ops import __all__ as _operations
from .ops.creation import *
from .ops.creation import tensor as tensor  # the function, not the module of that name
from .ops.diagonals import *
from .ops.distances import *
from .ops.dtype_functions import *
from .ops.einsum import einsum as einsum  # the function, not the module of that name
from .ops.elementwise import *
from .ops.indexing import *
from .ops.linalg import *
from .ops.logic import *
from .ops.losses import *
from .ops.manipulation import *
from .ops.normalization import *
from .ops.rearrange import *
from .ops.reduction import *
from .ops.rows import *
from .ops.scan import *
from .ops.scatters import *
from .ops.sorting import *
from .ops.trigonometry import *
from .random import manual_seed
from .tensor import Parameter, Tensor

if TYPE_CHECKING:
    from . import analysis, callbacks, data, metrics, plots, sklearn

__version__: str = _core.version

__all__ = [
    "Device",
    "Input",
    "Parameter",
    "Tensor",
    "__array_api_version__",
    "__array_namespace_info__",
    "amp",
    "analysis",
    "autocast",
    "autograd",
    "callbacks",
    "cuda",
    "data",
    "device",
    "dtypes",
    "e",
    "empty_cache",
    "enable_grad",
    "from_dlpack",
    "get_default_device",
    "get_float32_matmul_precision",
    "get_num_threads",
    "grad",
    "inf",
    "io",
    "is_autocast_enabled",
    "is_grad_enabled",
    "kernels",
    "load",
    "manual_seed",
    "memory_stats",
    "metrics",
    "nan",
    "newaxis",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "pi",
    "plots",
    "random",
    "save",
    "set_default_device",
    "set_float32_matmul_precision",
    "set_num_threads",
    "show_config",
    "sklearn",
    "train",
    "value_and_grad",
    *(name for name in _dtypes if name != "as_dtype"),
    *_operations,
]

_LAZY = (
    "analysis",
    "callbacks",
    "data",
    "metrics",
    "plots",
    "sklearn",
)  # packages that are imported when they are used first


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return import_module(f"steep.{name}")
    raise AttributeError(f"module 'steep' has no attribute {name!r}{_hints.of_function(name)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
