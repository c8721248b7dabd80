"""What this installation is made of: version, instruction set, threads, devices."""

from __future__ import annotations

import platform

import numpy as np

from . import _core

__all__ = ["get_num_threads", "set_num_threads", "show_config"]


def get_num_threads() -> int:
    """How many threads an operation may use."""
    return _core.num_threads()


def set_num_threads(n: int) -> None:
    """Sets how many threads an operation may use; STEEP_NUM_THREADS sets it at the start. Results don't depend on it.

    Raises ValueError unless 1 ≤ n ≤ 1024.
    """
    _core.set_num_threads(n)


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
