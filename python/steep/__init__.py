"""steep: a deep-learning framework small enough to read and fast enough to use.

    import steep as st

Low level: tensors (``st.tensor``), operations (``st.exp``, ``@``, …), gradients (``backward``, ``st.grad``).
High level: layers (``st.nn``), optimizers (``st.optim``), ``model.compile(…)`` and ``model.fit(…)``.
"""

from . import _core, autograd, cuda, dtypes, kernels, nn, ops, optim, random, train
from ._core import empty_cache, memory_stats
from .autograd import enable_grad, grad, is_grad_enabled, no_grad, value_and_grad
from .config import get_num_threads, set_num_threads, show_config
from .devices import Device, device, get_default_device, set_default_device
from .dtypes import DType, bool, float32, float64, int32, int64
from .ops import __all__ as _operations
from .ops.creation import *
from .ops.creation import tensor as tensor  # the function, not the module of that name
from .ops.einsum import einsum as einsum  # the function, not the module of that name
from .ops.elementwise import *
from .ops.indexing import *
from .ops.linalg import *
from .ops.logic import *
from .ops.losses import *
from .ops.manipulation import *
from .ops.rearrange import *
from .ops.reduction import *
from .ops.rows import *
from .ops.scan import *
from .ops.sorting import *
from .ops.trigonometry import *
from .random import manual_seed
from .tensor import Parameter, Tensor

__version__: str = _core.version

__all__ = [
    "DType",
    "Device",
    "Parameter",
    "Tensor",
    "autograd",
    "cuda",
    "bool",
    "device",
    "dtypes",
    "empty_cache",
    "enable_grad",
    "float32",
    "float64",
    "from_dlpack",
    "get_default_device",
    "get_num_threads",
    "grad",
    "int32",
    "int64",
    "is_grad_enabled",
    "kernels",
    "manual_seed",
    "memory_stats",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "random",
    "set_default_device",
    "set_num_threads",
    "show_config",
    "train",
    "value_and_grad",
    *_operations,
]


def from_dlpack(x: object) -> Tensor:
    """A tensor over the memory of an array of another library that supports DLPack, on the device where that is.

    Raises TypeError for dtypes that steep doesn't have, and for memory that is neither the CPU's nor CUDA's.

    >>> import numpy as np, steep as st
    >>> st.from_dlpack(np.arange(3.0)).tolist()
    [0.0, 1.0, 2.0]
    """
    return _core.from_dlpack(x)
