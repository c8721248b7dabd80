"""Random tensors from one counter-based generator: the same for a seed on every device and at any number of threads.

The generator is Philox4x32-10 (Salmon et al., SC11). Its state is a seed and a position in the seed's stream; every
call takes the elements it needs from the stream.
"""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import steep

from . import _core, capturing, dtypes
from .checks import check_real, shown
from .devices import cpu, resolve
from .dtypes import as_dtype
from .tensor import Tensor

__all__ = ["bernoulli", "fork", "get_state", "manual_seed", "normal", "permutation", "randint", "set_state", "uniform"]


class _Stream:
    """A seed, and the position in its stream."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.offset = 0


class _Own(threading.local):
    def __init__(self) -> None:
        self.streams: list[_Stream] = []  # entered by `with fork(…):` in this thread, the innermost last


_lock = threading.Lock()
_shared = _Stream(int.from_bytes(os.urandom(8), "little"))
_own = _Own()


def _current() -> _Stream:
    streams = _own.streams
    return streams[-1] if streams else _shared


def manual_seed(seed: int) -> None:
    """Starts the stream of ``seed``, an integer from 0 to 2⁶⁴ − 1. Raises ValueError for others.

    >>> import steep as st
    >>> st.random.manual_seed(0)
    >>> a = st.random.uniform(3)
    >>> st.random.manual_seed(0)
    >>> bool((a == st.random.uniform(3)).all())
    True
    """
    set_state((seed, 0))


def get_state() -> tuple[int, int]:
    """The seed and the position in its stream."""
    with _lock:
        current = _current()
        return current.seed, current.offset


def set_state(state: tuple[int, int]) -> None:
    """Goes on where ``get_state`` was called."""
    seed, offset = state
    try:
        seed, offset = operator.index(seed), operator.index(offset)
    except TypeError:
        raise TypeError(f"a seed must be an integer, not {seed!r}") from None
    for value in (seed, offset):
        if not 0 <= value < 2**64:
            raise ValueError(f"a seed must be an integer from 0 to 2**64 - 1, not {value!r}")
    with _lock:
        current = _current()
        if (recording := capturing.recording()) is not None:
            _check_recorded(recording, current, seed, offset)
        current.seed, current.offset = seed, offset


def _check_recorded(recording: capturing.Recording, current: _Stream, seed: int, offset: int) -> None:
    """In a step that is recorded as a CUDA graph, one may go back only to where it has been."""
    recording.furthest = max(recording.furthest, (recording.start[0], current.offset))
    if current is recording.stream and not recording.start <= (seed, offset) <= recording.furthest:
        raise RuntimeError(
            "random: a step that is captured as a CUDA graph cannot set the seed, which all its replays would: set it "
            "before the step"
        )


def current() -> _Stream:
    """The stream that this thread draws from."""
    return _current()


def take(blocks: int) -> tuple[int, int]:
    """So much of the stream, for a replay of a CUDA graph: (seed, first position)."""
    with _lock:
        stream = _current()
        start = stream.offset
        stream.offset = (start + blocks) % 2**64
        return stream.seed, start


def set_stream_state(stream: _Stream, state: tuple[int, int]) -> None:
    """Brings a stream back to where it was."""
    with _lock:
        stream.seed, stream.offset = state


@contextmanager
def fork(seed: int) -> Iterator[None]:
    """A block whose random numbers come from the stream of ``seed``, in this thread only; the other one stays as it is.

    ``manual_seed``, ``get_state`` and ``set_state`` in the block are about the block's stream. Raises what
    ``manual_seed`` raises.

    >>> import steep as st
    >>> before = st.random.get_state()
    >>> with st.random.fork(7):
    ...     a = st.random.uniform(3)
    >>> st.random.get_state() == before
    True
    """
    _own.streams.append(_Stream(0))
    try:
        manual_seed(seed)
        yield
    finally:
        _own.streams.pop()


def _advance(shape: tuple[int, ...]) -> tuple[int, int]:
    """Takes what a tensor of this shape needs from the stream: (seed, first position)."""
    size = 1
    for extent in shape:
        if extent < 0:
            raise ValueError(f"shape {shape} has a negative extent")
        size *= extent
    if size >= 2**62:
        raise MemoryError(f"shape {shape} has more elements than any machine can hold")
    if (recording := capturing.recording()) is not None and recording.stream is not _current():
        raise RuntimeError(
            "random.fork: a step that is captured as a CUDA graph draws from the stream that it began with: enter the "
            "block outside of the step"
        )
    return take(_core.random.blocks(size))


def _index(name: str, argument: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"random.{name}: {argument}={value!r} must be an integer") from None


def _check_numbers(name: str, **options: Any) -> None:
    for option, value in options.items():
        if not isinstance(value, Real | Tensor):
            raise TypeError(
                f"random.{name}: {option} must be a number, not {shown(value)}; the arguments are "
                f"(shape, {', '.join(options)})"
            )


def _floating(name: str, dtype: Any) -> dtypes.DType:
    t = as_dtype(dtype)
    if not t.is_floating_point:
        raise TypeError(f"random.{name}: dtype must be a floating-point one, not {t.name}")
    return t


def _drawn(t: dtypes.DType) -> dtypes.DType:
    """The dtype that numbers for one of ``t`` are drawn in."""
    if t.is_floating_point:
        return dtypes.float32 if t.itemsize == 2 else t
    return t if t is dtypes.int32 else dtypes.int64


def uniform(
    shape: Any = (),
    low: float = 0.0,
    high: float = 1.0,
    dtype: Any = dtypes.float32,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform on [low, high). Raises ValueError unless low ≤ high and both are finite."""
    _check_numbers("uniform", low=low, high=high)
    t, shape, target = _floating("uniform", dtype), steep.ops.manipulation.as_shape(shape), resolve(device)
    limit = {"float16": 65504, "float64": 1.79e308}.get(t.name, 3.38e38)
    if not (low <= high and max(-low, high, high - low) <= limit):
        raise ValueError(f"random.uniform: low={low} ≤ high={high} and their distance must be finite {t.name} numbers")
    out: Tensor = _core.random.uniform(_drawn(t), shape, low, high, *_advance(shape), target).astype(t)
    out.requires_grad = requires_grad
    return out


def normal(
    shape: Any = (),
    mean: float = 0.0,
    std: float = 1.0,
    dtype: Any = dtypes.float32,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal with the given mean and standard deviation, by Box and Muller. Raises ValueError if std < 0."""
    _check_numbers("normal", mean=mean, std=std)
    t, shape, target = _floating("normal", dtype), steep.ops.manipulation.as_shape(shape), resolve(device)
    if not std >= 0:
        raise ValueError(f"random.normal: std={std} must not be negative")
    out: Tensor = _core.random.normal(_drawn(t), shape, mean, std, *_advance(shape), target).astype(t)
    out.requires_grad = requires_grad
    return out


def randint(low: int, high: int, shape: Any = (), dtype: Any = dtypes.int64, device: Any = None) -> Tensor:
    """Uniform integers from low to high − 1. Raises ValueError unless low < high."""
    t, shape, target = as_dtype(dtype), steep.ops.manipulation.as_shape(shape), resolve(device)
    if not t.is_integer:
        raise TypeError(f"random.randint: dtype must be an integer one, not {t.name}")
    low, high = _index("randint", "low", low), _index("randint", "high", high)
    least = 0 if t.kind == "uint" else -(2 ** (8 * t.itemsize - 1))
    most = min(least + 2 ** (8 * t.itemsize), 2**63) - 1
    if not least <= low < high <= most + (t.itemsize < 8):
        raise ValueError(
            f"random.randint: low={low} must be less than high={high}, and what lies between must fit in {t.name}"
        )
    out: Tensor = _core.random.randint(_drawn(t), shape, low, high, *_advance(shape), target)
    return out.astype(t)


def bernoulli(shape: Any, p: float = 0.5, device: Any = None) -> Tensor:
    """True with probability p, as a bool tensor. Raises ValueError unless 0 ≤ p ≤ 1."""
    check_real("random.bernoulli: p", p)
    if not 0 <= p <= 1:
        raise ValueError(f"random.bernoulli: p={p} must be a probability, from 0 to 1")
    shape, target = steep.ops.manipulation.as_shape(shape), resolve(device)
    out: Tensor = _core.random.bernoulli(shape, p, *_advance(shape), target)
    return out


def permutation(n: int, device: Any = None) -> Tensor:
    """The integers 0…n − 1 in random order, as an int64 tensor."""
    n = _index("permutation", "n", n)
    if n < 0:
        raise ValueError(f"random.permutation: n={n} must not be negative")
    target = resolve(device)
    out: Tensor = _core.random.permutation(n, *_advance((n,)))
    return out if target is cpu else _core.to_device(out, target)
