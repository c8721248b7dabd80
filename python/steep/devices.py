"""Devices: where a tensor's elements are and its operations run."""

from __future__ import annotations

import re
import warnings
from typing import Any

from . import _core

__all__ = ["Device", "cpu", "device"]


class Device:
    """``Device("cpu")`` or ``Device("cuda", 0)``; equal to its name as a string.

    >>> import steep as st
    >>> st.zeros(3).device == "cpu"
    True
    """

    __slots__ = ("index", "type")

    def __init__(self, type: str, index: int = 0) -> None:
        self.type = type
        self.index = index

    def __str__(self) -> str:
        return self.type if self.type == "cpu" else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return other in (str(self), self.type if self.index == 0 else None)
        return isinstance(other, Device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash(str(self))


cpu: Device = Device("cpu")
_warned = False


def device(name: Any = "cpu") -> Device:
    """The device called ``name``: "cpu", "cuda", "cuda:1", or a Device.

    Where there is no CUDA device, it warns once with the reason and gives the CPU, so that the same program runs on
    any machine. Raises ValueError for other names.
    """
    global _warned
    if isinstance(name, Device):
        name = str(name)
    match = re.fullmatch(r"(cpu|cuda)(?::(\d+))?", name) if isinstance(name, str) else None
    if match is None:
        raise ValueError(f"{name!r} is not a device: use 'cpu', 'cuda' or 'cuda:1'")
    if match[1] == "cpu":
        return cpu
    index, count = int(match[2] or 0), _core.cuda_device_count()
    if index < count:
        return Device("cuda", index)
    if not _warned:
        _warned = True
        reason = _core.cuda_unavailable_reason() or f"there are {count} CUDA devices"
        warnings.warn(f"{name!r} is not available, the CPU is used ({reason})", stacklevel=3)
    return cpu
