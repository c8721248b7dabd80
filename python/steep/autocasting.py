"""Mixed precision: the dtypes in which operations compute within a block of ``steep.autocast``.

An operation that looks after its dtype asks ``blocks`` first, so that it costs nothing more where there is no block.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from . import _core
from ._core import is_recording
from .checks import check_no_generator
from .dtypes import DType, bfloat16, float16, float32, float64
from .tensor import Tensor

__all__ = ["autocast", "is_autocast_enabled"]

F = TypeVar("F", bound=Callable[..., Any])

# Of the elementwise operations: those that leave the range of 16 bits, or lose most of its digits.
IN_FLOAT32 = {
    *("exp", "exp2", "expm1", "log", "log10", "log1p", "log2", "logaddexp", "log_sigmoid", "softplus"),
    *("pow", "reciprocal", "rsqrt", "square"),
    *("acos", "asin", "cosh", "sinh", "tan"),
}

_LOW = (bfloat16, float16)

blocks = 0  # that are entered, in all threads
_counting = threading.Lock()


class _Cast(NamedTuple):
    """A weight in 16 bits, and the weight as it was then."""

    weight: Tensor
    version: int
    result: Tensor


class _Policy(NamedTuple):
    """What a block asks for."""

    dtype: DType | None = None  # of matrix products; None for that of the operands
    casts: dict[tuple[int, DType, bool], _Cast] | None = None  # of weights; None where they aren't kept


class _Thread(threading.local):
    policy = _Policy()

    def __init__(self) -> None:
        self.before: list[_Policy] = []


_thread = _Thread()


def _enter(policy: _Policy) -> None:
    global blocks
    with _counting:
        blocks += 1
        _core.set_autocasting(True)
    _thread.before.append(_thread.policy)
    _thread.policy = policy


def _leave() -> None:
    global blocks
    _thread.policy = _thread.before.pop()
    with _counting:
        blocks -= 1
        _core.set_autocasting(blocks > 0)


class autocast:
    """Context manager and decorator: matrix products inside are computed in 16 bits, what needs float32 in float32.

    ``matmul``, ``linear``, ``einsum``, ``tensordot`` and ``bilinear`` take float32 operands in ``dtype``, "bfloat16" or
    "float16". Exponentials, logarithms, powers, sums, means, norms, normalisations, softmax, distances and losses take
    16-bit operands in float32. All else has the dtype of its operands, promoted. What has a float64 operand is left
    alone. Weights stay float32, and so do their gradients. Micikevicius et al. 2018, arXiv:1710.03740.

    A weight is cast once in the outermost block, unless it changes; with ``cache_enabled=False`` whenever it is used.
    Blocks nest; ``autocast(enabled=False)`` computes in the operands' dtypes, as outside. ``backward`` goes by the
    dtypes of the forward pass, and may be called inside or outside. Per thread. Raises ValueError for other dtypes.

    >>> import steep as st
    >>> layer, x = st.nn.Linear(3, 2), st.ones(4, 3)
    >>> with st.autocast("bfloat16"):
    ...     y = layer(x)
    ...     loss = y.square().mean()
    >>> y.dtype, loss.dtype
    (steep.bfloat16, steep.float32)
    >>> loss.backward()
    >>> layer.weight.grad.dtype
    steep.float32
    """

    def __init__(self, dtype: Any = "bfloat16", enabled: bool = True, cache_enabled: bool = True) -> None:
        self.dtype = _low_dtype(dtype)
        self.enabled, self.cache_enabled = bool(enabled), bool(cache_enabled)

    def __enter__(self) -> None:
        casts = _thread.policy.casts
        casts = None if not self.cache_enabled else {} if casts is None else casts
        _enter(_Policy(self.dtype if self.enabled else None, casts))

    def __exit__(self, *exc: object) -> None:
        _leave()

    def __call__(self, function: F) -> F:
        check_no_generator("autocast", function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"autocast({self.dtype.name!r}, enabled={self.enabled}, cache_enabled={self.cache_enabled})"


def _low_dtype(dtype: Any) -> DType:
    for known in _LOW:
        if dtype is known or dtype == known.name:
            return known
    if isinstance(dtype, str) and dtype.startswith(("cpu", "cuda")):
        raise ValueError(f"autocast: the dtype comes first, not {dtype!r}: each tensor is computed with where it is")
    if dtype in (float32, float32.name):
        raise ValueError('autocast: dtype must be "bfloat16" or "float16": for float32, autocast(enabled=False)')
    known_name = dtype.name if isinstance(dtype, DType) else dtype
    raise ValueError(f'autocast: dtype must be "bfloat16" or "float16", not {known_name!r:.60}')


def is_autocast_enabled() -> bool:
    """Whether this thread is in a block of ``autocast`` that is enabled."""
    return _thread.policy.dtype is not None


# --- for operations ---------------------------------------------------------------------------------------------------


def in_low_precision(*operands: Any) -> tuple[Any, ...]:
    """The operands of a matrix product, each a Tensor or None, in the dtype that the block wants."""
    dtype = _thread.policy.dtype
    if dtype is None or any(x is not None and x.dtype is float64 for x in operands):
        return operands
    return tuple([x if x is None else _in_low_precision(x, dtype) for x in operands])


def _in_low_precision(x: Tensor, dtype: DType) -> Tensor:
    if x.dtype is dtype or not x.dtype.is_floating_point:
        return x
    casts = _thread.policy.casts
    if casts is None or not x.requires_grad or x._node is not None:
        return x.astype(dtype)
    key = id(x), dtype, is_recording()  # a cast made under no_grad has no gradient
    kept = casts.get(key)
    if kept is None or kept.version != x._version:
        kept = casts[key] = _Cast(x, x._version, x.astype(dtype))
    return kept.result


def in_float32(x: Tensor) -> Tensor:
    """The operand of an operation that needs float32: x itself unless it has 16 bits and is in a block."""
    return x.astype(float32) if _thread.policy.dtype is not None and x.dtype in _LOW else x


def is_low(x: Tensor) -> bool:
    """Whether x needs not be brought to the dtype of the weights beside it, as both will be cast."""
    return _thread.policy.dtype is not None and x.dtype in _LOW


# --- for what runs operations at another time -------------------------------------------------------------------------


def policy() -> DType | None:
    """The dtype that the block wants, for ``under``; None outside."""
    return _thread.policy.dtype


@contextmanager
def under(dtype: DType | None) -> Iterator[None]:
    """A block with that policy and casts of its own."""
    _enter(_Policy(dtype, {}))
    try:
        yield
    finally:
        _leave()


@contextmanager
def backward_pass() -> Iterator[None]:
    """Backward goes by the dtypes of the forward pass. The nodes of kept casts are freed by it."""
    if _thread.policy.casts is not None:
        _thread.policy.casts.clear()
    _enter(_Policy())
    try:
        yield
    finally:
        _leave()
