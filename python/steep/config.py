"""What this installation is made of: version, instruction set, threads, devices."""

from __future__ import annotations

import platform

import numpy as np

from . import _core
from .checks import shown

__all__ = [
    "get_float32_matmul_precision",
    "get_num_threads",
    "set_float32_matmul_precision",
    "set_num_threads",
    "show_config",
]

_PRECISIONS = ("highest", "high", "medium")  # in the order of csrc/cuda/table.h


def get_num_threads() -> int:
    """How many threads an operation may use."""
    return _core.num_threads()


def set_num_threads(n: int) -> None:
    """Sets how many threads an operation may use; STEEP_NUM_THREADS sets it at the start. Results don't depend on it.

    Raises ValueError unless 1 ≤ n ≤ 1024.
    """
    if not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n must be an integer, not {shown(n)}")
    _core.set_num_threads(n)


def get_float32_matmul_precision() -> str:
    """What ``set_float32_matmul_precision`` has set: "highest" at first."""
    return _PRECISIONS[_core.float32_matmul_precision()]


def set_float32_matmul_precision(precision: str) -> None:
    """Sets how exact matrix products of float32 are on CUDA, from now on and for all threads.

    - ``"highest"``: every product is rounded to float32, and so is every sum, as on the CPU.
    - ``"high"``: by tensor cores where these are faster, as products of three bfloat16 parts of each element. The error
      is no larger; only numbers below 2⁻¹¹⁰ lose bits.
    - ``"medium"``: by tensor cores, with the elements rounded to TF32, which has 11 bits of float32's 24: relative
      errors of some 3e-4. Sums are float32.

    It counts for ``@``, ``matmul``, ``linear`` and all that is made of them, forward and backward. The CPU computes the
    same whatever is set, and so do GPUs before compute capability 8.0, products with a vector, and other dtypes. The
    names are PyTorch's. How large the errors are: docs/numerics.md.

    Raises ValueError for another name.

    >>> import steep as st
    >>> st.set_float32_matmul_precision("high")
    >>> st.get_float32_matmul_precision()
    'high'
    >>> st.set_float32_matmul_precision("highest")
    """
    if precision not in _PRECISIONS:
        raise ValueError(f"set_float32_matmul_precision: {precision!r} is none of 'highest', 'high', 'medium'")
    _core.set_float32_matmul_precision(_PRECISIONS.index(precision))


def config_lines() -> list[tuple[str, str]]:
    """The rows of ``show_config``."""
    isas = _core.available_isas()
    return [
        ("steep", _core.version),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("numpy", np.__version__),
        ("compiler", _core.compiler),
        ("instruction set", f"{_core.isa} (available: {', '.join(isas)}; STEEP_ISA chooses)"),
        ("threads", f"{_core.num_threads()} (STEEP_NUM_THREADS or steep.set_num_threads chooses)"),
        ("device cpu", "available"),
        ("float32 matmul", f"{get_float32_matmul_precision()} (set_float32_matmul_precision chooses)"),
        *_cuda_lines(),
    ]


def _cuda_lines() -> list[tuple[str, str]]:
    """How many CUDA devices there are and what they are, or why there is none."""
    count = _core.cuda.device_count()
    if not count:
        return [("device cuda", _core.cuda.unavailable_reason())]
    how = ", emulated on the CPU" if _core.cuda.is_emulated() else ""
    runtime, driver = (_version(v) for v in (_core.cuda.runtime_version(), _core.cuda.driver_version()))
    lines = [("device cuda", f"{count} available{how} (CUDA {runtime}, the driver supports {driver})")]
    for i in range(count):
        p = _core.cuda.properties(i)
        memory, capability = p["total_memory"] / 2**30, f"{p['major']}.{p['minor']}"
        lines.append((f"device cuda:{i}", f"{p['name']}, {memory:.1f} GiB, compute capability {capability}"))
    return lines


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def show_config() -> None:
    """Prints version, instruction set, threads and devices, and why a device is absent."""
    for name, value in config_lines():
        print(f"{name:16} {value}")
