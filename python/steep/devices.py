"""Devices: where a tensor's elements are and its operations run, and where new tensors go."""

from __future__ import annotations

import re
import threading
import warnings
from typing import TYPE_CHECKING, Any

from . import _core
from .stack import level_outside

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Device", "cpu", "device", "get_default_device", "set_default_device"]

MAX_CUDA_DEVICES = 16  # as in the engine


class Device:
    """``Device("cpu")`` or ``Device("cuda", 0)``. There is one object for each; it equals its name as a string.

    As a context manager it is the default device of this thread: new tensors go there unless told otherwise.

    >>> import steep as st
    >>> with st.device("cpu"):
    ...     x = st.zeros(3)
    >>> x.device == "cpu"
    True
    """

    __slots__ = ("index", "type")
    _made: dict[tuple[str, int], Device] = {}  # noqa: RUF012  (slots leave no room for an instance's)

    type: str
    index: int

    def __new__(cls, type: str, index: int = 0) -> Self:
        if (type, index) not in cls._made:
            if type not in ("cpu", "cuda") or not 0 <= index < (1 if type == "cpu" else MAX_CUDA_DEVICES):
                raise ValueError(f"Device({type!r}, {index!r}): use 'cpu', or 'cuda' from 0 to {MAX_CUDA_DEVICES - 1}")
            made = cls._made[type, index] = super().__new__(cls)
            made.type, made.index = type, index
        return cls._made[type, index]  # type: ignore[return-value]

    def __str__(self) -> str:
        return self.type if self.type == "cpu" else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, str) and other in (str(self), self.type if self.index == 0 else ""))

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Device, (self.type, self.index)

    def __enter__(self) -> Self:
        _local.entered.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _local.entered.pop()


class _Local(threading.local):
    def __init__(self) -> None:
        self.entered: list[Device] = []  # by `with device:`, the innermost last


cpu: Device = Device("cpu")
ALL: tuple[Device, ...] = (
    cpu,
    *(Device("cuda", i) for i in range(MAX_CUDA_DEVICES)),
)  # in the order that the engine counts them
_local = _Local()
_default = cpu
_warned = False


def device(name: Any = "cpu") -> Device:
    """The device called ``name``: "cpu", "cuda" (the first one), "cuda:1", or a Device.

    Where there is no CUDA device at all, it warns once with the reason and gives the CPU, so that the same program runs
    on any machine. Raises ValueError for a number beyond the devices that there are, and for other names.

    >>> import steep as st
    >>> st.device("cpu")
    device('cpu')
    """
    global _warned
    if isinstance(name, Device):
        type, index = name.type, name.index
    else:
        match = re.fullmatch(r"cpu(?::0)?|cuda(?::(\d+))?", name) if isinstance(name, str) else None
        if match is None:
            raise ValueError(f"{name!r} is not a device: use 'cpu', 'cuda' or 'cuda:1'")
        type, index = name[:4].rstrip(":"), int(match[1] or 0)
    if type == "cpu":
        return cpu
    count = _core.cuda.device_count()
    if index < count:
        return ALL[1 + index]
    if count:
        last = f" to cuda:{count - 1}" if count > 1 else ""
        raise ValueError(f"cuda:{index} does not exist: the number of CUDA devices is {count} (cuda:0{last})")
    if not _warned:
        _warned = True
        reason = _core.cuda.unavailable_reason()
        warnings.warn(f"{str(name)!r} is not available, the CPU is used ({reason})", stacklevel=level_outside())
    return cpu


def device_or_cpu(name: str) -> Device:
    """The device called ``name``, or the CPU, with a warning, where it does not exist."""
    try:
        return device(name)
    except ValueError as error:
        warnings.warn(f"{error}: the CPU is used", stacklevel=level_outside())
        return cpu


def get_default_device() -> Device:
    """Where new tensors go in this thread: the innermost ``with device:``, else what ``set_default_device`` chose."""
    entered = _local.entered
    return entered[-1] if entered else _default


def set_default_device(name: Any) -> None:
    """Makes a device the one of new tensors, in every thread that is not in a ``with device:`` block.

    Raises what ``device`` raises.

    >>> import steep as st
    >>> st.set_default_device("cpu")
    """
    global _default
    _default = device(name)


def resolve(name: Any) -> Device:
    """What an argument ``device=`` means: the default device for None."""
    return get_default_device() if name is None else device(name)
