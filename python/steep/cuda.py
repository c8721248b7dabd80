"""CUDA devices: what there is, their memory, and their streams and events. The names are those of ``torch.cuda``.

Operations on CUDA tensors are queued on a stream, and Python goes on at once; whatever reads values waits for them. An
argument ``device`` is a number, a name such as "cuda:1", or a Device; without it, ``current_device()`` is meant.
Importing steep doesn't touch CUDA: the first question about a device does. ``docs/devices.md`` tells more.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from . import _core, devices, hints
from .devices import Device
from .graphs import graph

__all__ = [
    "CudaError",
    "DeviceProperties",
    "Event",
    "Stream",
    "current_device",
    "current_stream",
    "default_stream",
    "device_count",
    "empty_cache",
    "get_device_name",
    "get_device_properties",
    "graph",
    "is_available",
    "is_emulated",
    "max_memory_allocated",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "set_stream",
    "stream",
    "synchronize",
    "unavailable_reason",
]

T = TypeVar("T")

CudaError = _core.cuda.CudaError
CudaError.__doc__ = "An error of the CUDA driver, or that there is no CUDA device. A RuntimeError."
CudaError.__module__ = __name__

# --- devices ----------------------------------------------------------------------------------------------------------


def is_available() -> bool:
    """Whether there is a CUDA device that steep can use."""
    return _core.cuda.device_count() > 0


def device_count() -> int:
    """How many CUDA devices there are: 0 where there is no driver, no device, or no CUDA in this build."""
    return _core.cuda.device_count()


def unavailable_reason() -> str:
    """Why there is no CUDA device, in words; empty where there is one."""
    return _core.cuda.unavailable_reason()


def is_emulated() -> bool:
    """Whether this build runs the CUDA kernels on the CPU, for tests."""
    return _core.cuda.is_emulated()


def current_device() -> int:
    """The number of the CUDA device that is meant where none is named: the default device, or 0 if that is the CPU.

    Raises CudaError where there is no device, as all functions below do.
    """
    return _index(None)


def _index(device: Any) -> int:
    count = _core.cuda.device_count()
    if not count:
        raise CudaError(f"CUDA is not available: {_core.cuda.unavailable_reason()}")
    if device is None:
        default = devices.get_default_device()
        return default.index if default.type == "cuda" else 0
    found = devices.device(f"cuda:{device}" if isinstance(device, int) and device >= 0 else device)
    if found.type != "cuda":
        raise ValueError(f"{str(device)!r} is not a CUDA device")
    return found.index


@dataclass(frozen=True)
class DeviceProperties:
    """What a CUDA device is. Memory and caches are in bytes."""

    name: str
    major: int  # of its compute capability
    minor: int
    total_memory: int
    multi_processor_count: int
    shared_memory_per_block: int
    shared_memory_per_multiprocessor: int
    l2_cache_size: int
    warp_size: int
    clock_rate_khz: int
    memory_bus_width_bits: int


def get_device_properties(device: Any = None) -> DeviceProperties:
    """Name, compute capability, memory and sizes of a device."""
    return DeviceProperties(**_core.cuda.properties(_index(device)))


def get_device_name(device: Any = None) -> str:
    """The device's name, as its maker gave it."""
    return get_device_properties(device).name


def synchronize(device: Any = None) -> None:
    """Waits until all work queued on the device is done, by whatever thread: needed to measure times.

    Raises CudaError if some of it failed.
    """
    _core.cuda.synchronize(_index(device))


# --- memory -----------------------------------------------------------------------------------------------------------


def memory_stats(device: Any = None) -> dict[str, int]:
    """What steep's allocator did, in bytes: ``in_use`` by tensors, its ``peak``, and ``cached`` for the next ones.

    ``device_allocations`` counts the blocks asked of the driver; ``free`` and ``total`` are those of the whole device.
    """
    return _core.cuda.memory_stats(_index(device))


def memory_allocated(device: Any = None) -> int:
    """The bytes that tensors occupy."""
    return memory_stats(device)["in_use"]


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors occupied at any time."""
    return memory_stats(device)["peak"]


def memory_reserved(device: Any = None) -> int:
    """The bytes that steep holds: those of tensors, and those kept for the next ones."""
    stats = memory_stats(device)
    return stats["in_use"] + stats["cached"]


def empty_cache() -> None:
    """Gives unused memory back to the devices, for other programs. Does nothing where there is no device.

    >>> import steep as st
    >>> st.cuda.empty_cache()
    """
    _core.cuda.empty_cache()


# --- streams and events -----------------------------------------------------------------------------------------------


class _Handle:
    """A stream or an event of the driver, which is freed with its last owner (at the exit, by the driver)."""

    def __init__(self, index: int, value: int, destroy: Callable[[int, int], None] | None) -> None:
        self.index = index
        self.value = value
        if destroy is not None:
            weakref.finalize(self, _free, destroy, index, value).atexit = False

    def __reduce__(self) -> NoReturn:
        raise TypeError("a CUDA stream or event belongs to one process and one owner: it cannot be copied or pickled")


def _free(destroy: Callable[[int, int], None], index: int, value: int) -> None:
    # A forked process cannot use its parent's, and a failed device has lost them: both have nothing to free.
    with contextlib.suppress(CudaError, ValueError):
        destroy(index, value)


def _expect(x: T, kind: type[T]) -> T:
    if not isinstance(x, kind):
        raise TypeError(f"expected a steep.cuda.{kind.__name__}, not {x!r}")
    return x


class Stream:
    """A queue of work on one device: its operations run in order, those of several streams side by side.

    Use it by ``with steep.cuda.stream(s):``. Work on one stream that reads what another computes must wait for it, by
    ``wait_stream`` or an Event; memory is kept until all streams that used it are done with it.
    """

    def __init__(self, device: Any = None, *, _handle: _Handle | None = None) -> None:
        if _handle is None:
            index = _index(device)
            _handle = _Handle(index, _core.cuda.stream_create(index), _core.cuda.stream_destroy)
        self._handle = _handle

    @property
    def device(self) -> Device:
        """Where it runs."""
        return devices.ALL[1 + self._handle.index]

    @property
    def cuda_stream(self) -> int:
        """The driver's handle as a number, for other libraries; 0 is the default stream."""
        return self._handle.value

    def synchronize(self) -> None:
        """Waits until everything queued on it is done. Raises CudaError if some of it failed."""
        _core.cuda.stream_synchronize(self._handle.index, self._handle.value)

    def query(self) -> bool:
        """Whether everything queued on it is done."""
        return _core.cuda.stream_query(self._handle.index, self._handle.value)

    def record_event(self, event: Event | None = None) -> Event:
        """Queues an event (a new one, for None), which is over when the work before it is done, and returns it."""
        event = Event() if event is None else event
        _expect(event, Event).record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Later work on this stream waits for the event; Python doesn't."""
        _expect(event, Event).wait(self)

    def wait_stream(self, other: Stream) -> None:
        """Later work on this stream waits for what is queued on the other one by now; Python doesn't."""
        self.wait_event(_expect(other, Stream).record_event())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[int, int]:
        return self._handle.index, self._handle.value

    def __repr__(self) -> str:
        return f"Stream(device='{self.device}', cuda_stream={self.cuda_stream:#x})"


class Event:
    """A mark in a stream: others can wait for it, and two with ``enable_timing`` measure the time between them.

    Its device is that of the stream where it is first recorded.
    """

    def __init__(self, enable_timing: bool = False) -> None:
        self.enable_timing = enable_timing
        self._handle: _Handle | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Queues the event on a stream (the current one, for None). Raises ValueError for one of another device."""
        stream = current_stream() if stream is None else stream
        index, handle = _expect(stream, Stream)._key()
        if self._handle is None:
            made = _core.cuda.event_create(index, self.enable_timing)
            self._handle = _Handle(index, made, _core.cuda.event_destroy)
        if self._handle.index != index:
            raise ValueError(f"an event of cuda:{self._handle.index} cannot be recorded on a stream of cuda:{index}")
        _core.cuda.event_record(index, self._handle.value, handle)

    def query(self) -> bool:
        """Whether the work before it is done; True for an event that was never recorded."""
        return self._handle is None or _core.cuda.event_query(self._handle.index, self._handle.value)

    def synchronize(self) -> None:
        """Waits until the work before it is done. Raises CudaError if some of it failed."""
        if self._handle is not None:
            _core.cuda.event_synchronize(self._handle.index, self._handle.value)

    def wait(self, stream: Stream | None = None) -> None:
        """Later work on a stream (the current one, for None) waits for the event; Python doesn't."""
        stream = current_stream() if stream is None else stream
        if self._handle is not None:
            _core.cuda.stream_wait_event(*_expect(stream, Stream)._key(), self._handle.value)

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event to ``end``. Raises RuntimeError unless both were recorded with timing, and done.

        Call ``end.synchronize()`` first.
        """
        for event in (self, end):
            if event._handle is None or not event.enable_timing:
                raise RuntimeError("elapsed_time: both must be Event(enable_timing=True), and recorded")
            if not event.query():
                raise RuntimeError("elapsed_time: an event is not over yet: call end.synchronize() first")
        assert self._handle is not None
        assert end._handle is not None
        return _core.cuda.event_elapsed(self._handle.index, self._handle.value, end._handle.value)

    def __repr__(self) -> str:
        return f"Event(enable_timing={self.enable_timing}, recorded={self._handle is not None})"


class _Current(threading.local):
    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}  # by device: keeps the stream in use alive


_current = _Current()


def default_stream(device: Any = None) -> Stream:
    """The stream that work goes to unless told otherwise."""
    return Stream(_handle=_Handle(_index(device), 0, None))


def current_stream(device: Any = None) -> Stream:
    """The stream that this thread's operations on the device go to."""
    index = _index(device)
    handle = _core.cuda.current_stream(index)
    kept = _current.streams.get(index)
    return kept if kept is not None and kept.cuda_stream == handle else Stream(_handle=_Handle(index, handle, None))


def set_stream(stream: Stream) -> None:
    """Makes a stream the current one of its device in this thread. ``with steep.cuda.stream(s):`` undoes it."""
    _core.cuda.set_stream(*_expect(stream, Stream)._key())
    _current.streams[stream._handle.index] = stream


class stream(contextlib.AbstractContextManager["Stream | None"]):
    """Makes a stream the current one of its device in this thread, for a block; None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self._stream = None if stream is None else _expect(stream, Stream)
        self._before: list[Stream] = []

    def __enter__(self) -> Stream | None:
        if self._stream is not None:
            self._before.append(current_stream(self._stream.device))
            set_stream(self._stream)
        return self._stream

    def __exit__(self, *exc: object) -> None:
        if self._stream is not None:
            set_stream(self._before.pop())


def __getattr__(name: str) -> NoReturn:
    raise AttributeError(f"module 'steep.cuda' has no attribute {name!r}{hints.of(hints.CUDA, name)}")
