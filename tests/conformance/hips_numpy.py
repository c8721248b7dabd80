"""``autograd.numpy`` over steep: NumPy's names and arguments for steep's operations, looked up when they are used.

What is not defined here is steep's operation of that name, or of the name in ``NAMES``; what steep has not raises
``NotInSteepError``. Arrays that nothing is differentiated by, as those of ``ones``, are NumPy's own.
"""

from __future__ import annotations

import builtins
import functools
import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as onp
from hips_core import as_value
from suite import LeftOutError

import steep as st

NAMES = {
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "tan2")},
    "absolute": "abs",
    "fabs": "abs",
    "negative": "neg",
    "power": "pow",
    "mod": "remainder",
    "true_divide": "divide",
    "degrees": "rad2deg",
    "radians": "deg2rad",
    "amax": "max",
    "amin": "min",
    "ravel": "flatten",
    "cumsum": "cumulative_sum",
    "cumprod": "cumulative_prod",
    "make_diagonal": "diag_embed",
    "diagflat": "diag",
}
KEYWORDS = {"ddof": "correction", "a_min": "min", "a_max": "max"}
# NumPy's own: types, constants, and arrays and answers that have no derivative.
PLAIN = {
    *("float16", "float32", "float64", "longdouble", "clongdouble", "int32", "int64", "dtype", "ndarray"),
    *("newaxis", "pi", "inf", "nan", "random", "__version__"),
    *("allclose", "array_equal", "isclose", "ndim", "shape", "size", "ones", "zeros", "eye", "arange"),
}
COMPLEX = {"real", "imag", "conj", "conjugate", "angle", "real_if_close", "iscomplex", "isrealobj", "iscomplexobj"}


class NotInSteepError(LeftOutError, AttributeError):
    """steep has no such operation."""

    def __init__(self, name: str) -> None:
        super().__init__(f"not in steep: {name}")


def operation(name: str) -> Callable[..., Any]:
    """steep's operation of NumPy's name."""
    ours = NAMES.get(name, name)
    if ours not in st.ops.__all__:
        raise NotInSteepError(name)
    return getattr(st, ours)


def array(x: Any, dtype: Any = None) -> Any:
    """NumPy's array; of nested lists with tensors in them, a tensor."""
    if isinstance(x, st.Tensor):
        return x.copy()
    if isinstance(x, list | tuple) and builtins.any(map(_has_tensor, x)):
        return st.stack([as_value(array(item)) for item in x])
    return onp.array(x, dtype)


def _has_tensor(x: Any) -> bool:
    return isinstance(x, st.Tensor) or (isinstance(x, list | tuple) and builtins.any(map(_has_tensor, x)))


def _argument(x: Any, first: bool = False) -> Any:
    """An operand as a tensor. Integers, and lists behind the first argument, are axes and the like."""
    if isinstance(x, list | tuple) and first:
        x = array(x)
    return as_value(x) if isinstance(x, onp.ndarray | onp.generic | float | complex) else x


def _bools_kept(x: Any) -> Any:
    return st.tensor(x) if isinstance(x, onp.ndarray) and x.dtype == bool else _argument(x, first=True)


def __getattr__(name: str) -> Any:
    if name in COMPLEX:
        raise LeftOutError("complex numbers")
    if name in PLAIN:
        return getattr(onp, name)
    if name.startswith("__"):
        raise AttributeError(name)
    function = operation(name)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        operands = [_argument(x, first=i == 0) for i, x in enumerate(args)]
        return function(*operands, **{KEYWORDS.get(key, key): _argument(x) for key, x in kwargs.items()})

    call.__name__ = name
    return call


def operands(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its first argument as a tensor."""

    @functools.wraps(function)
    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        return function(_argument(x, first=True), *args, **kwargs)

    return call


def two_operands(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
        return function(as_value(array(a)), as_value(array(b)), *args, **kwargs)

    return call


# --- reductions and choices -------------------------------------------------------------------------------------------


def all(x: Any, *args: Any, **kwargs: Any) -> Any:
    return st.all(_bools_kept(x), *args, **kwargs)


def any(x: Any, *args: Any, **kwargs: Any) -> Any:
    return st.any(_bools_kept(x), *args, **kwargs)


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return operation("nonzero")(st.asarray(onp.asarray(condition)))
    return st.where(_bools_kept(onp.asarray(condition)), _argument(x, first=True), _argument(y, first=True))


@operands
def cumsum(x: st.Tensor, axis: int | None = None) -> st.Tensor:
    return operation("cumsum")(st.reshape(x, -1) if axis is None else x, 0 if axis is None else axis)


@operands
def partition(x: st.Tensor, kth: int, axis: int = -1) -> st.Tensor:
    """A sorted array is partitioned at every place."""
    return operation("sort")(x, axis=axis)


# --- products ---------------------------------------------------------------------------------------------------------


@two_operands
def dot(a: st.Tensor, b: st.Tensor) -> st.Tensor:
    if not a.ndim or not b.ndim:
        return a * b
    return st.tensordot(a, b, ([-1], [builtins.max(b.ndim - 2, 0)]))


@two_operands
def inner(a: st.Tensor, b: st.Tensor) -> st.Tensor:
    return st.tensordot(a, b, ([-1], [-1])) if a.ndim and b.ndim else a * b


@two_operands
def outer(a: st.Tensor, b: st.Tensor) -> st.Tensor:
    return st.outer(st.reshape(a, -1), st.reshape(b, -1))


@two_operands
def tensordot(a: st.Tensor, b: st.Tensor, axes: Any = 2) -> st.Tensor:
    return st.tensordot(a, b, axes)


def einsum(*args: Any) -> st.Tensor:
    """Subscripts and arrays, or arrays each with its list of axes, and then the result's."""
    if isinstance(args[0], str):
        return st.einsum(args[0], *map(as_value, args[1:]))
    *terms, result = ["".join("..." if i is ... else chr(97 + i) for i in axes) for axes in args[1::2] + args[-1:]]
    return st.einsum(f"{','.join(terms)}->{result}", *map(as_value, args[:-1:2]))


@operands
def trace(x: st.Tensor, offset: int = 0) -> st.Tensor:
    return st.trace(st.moveaxis(x, (0, 1), (-2, -1)), offset)


# --- shapes -----------------------------------------------------------------------------------------------------------


@operands
def transpose(x: st.Tensor, axes: Any = None) -> st.Tensor:
    return st.permute_dims(x, range(x.ndim - 1, -1, -1) if axes is None else axes)


@operands
def swapaxes(x: st.Tensor, axis1: int, axis2: int) -> st.Tensor:
    return st.swapaxes(x, axis1, axis2)


@operands
def rollaxis(x: st.Tensor, axis: int, start: int = 0) -> st.Tensor:
    return st.moveaxis(x, axis, start - (start > axis))


@operands
def flipud(x: st.Tensor) -> st.Tensor:
    return st.flip(x, 0)


@operands
def fliplr(x: st.Tensor) -> st.Tensor:
    return st.flip(x, 1)


@operands
def tile(x: st.Tensor, reps: Any) -> st.Tensor:
    return st.tile(x, reps)


@operands
def atleast_1d(x: st.Tensor) -> st.Tensor:
    return x if x.ndim else st.reshape(x, 1)


@operands
def atleast_2d(x: st.Tensor) -> st.Tensor:
    return x if x.ndim >= 2 else st.expand_dims(atleast_1d(x), 0)


@operands
def atleast_3d(x: st.Tensor) -> st.Tensor:
    return x if x.ndim >= 3 else st.expand_dims(atleast_2d(x), 2)


# --- joining and splitting --------------------------------------------------------------------------------------------


def concatenate(arrays: Any, axis: int | None = 0) -> st.Tensor:
    return st.concat([_argument(x, first=True) for x in arrays], axis)


def stack(arrays: Any, axis: int = 0) -> st.Tensor:
    return st.stack([as_value(array(x)) for x in arrays], axis)


def vstack(arrays: Any) -> st.Tensor:
    return concatenate([atleast_2d(x) for x in arrays])


row_stack = vstack


def hstack(arrays: Any) -> st.Tensor:
    lines = [atleast_1d(x) for x in arrays]
    return concatenate(lines, builtins.min(lines[0].ndim - 1, 1))


def column_stack(arrays: Any) -> st.Tensor:
    return concatenate([x if onp.ndim(x) > 1 else st.reshape(atleast_1d(x), (-1, 1)) for x in arrays], 1)


def append(x: Any, values: Any, axis: int | None = None) -> st.Tensor:
    return st.concat([as_value(array(x)), as_value(array(values))], axis)


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[st.Tensor]:
    """steep takes extents where NumPy takes the places of the cuts."""
    x = _argument(x, first=True)
    if isinstance(indices_or_sections, int):
        return st.split(x, indices_or_sections, axis)
    cuts = [0, *indices_or_sections, x.shape[axis]]
    return st.split(x, [b - a for a, b in itertools.pairwise(cuts)], axis)


def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[st.Tensor]:
    x = _argument(x, first=True)
    if isinstance(indices_or_sections, int):
        size, longer = divmod(x.shape[axis], indices_or_sections)
        indices_or_sections = [i * size + builtins.min(i, longer) for i in range(1, indices_or_sections)]
    return split(x, indices_or_sections, axis)


def vsplit(x: Any, indices_or_sections: Any) -> list[st.Tensor]:
    return split(x, indices_or_sections, 0)


def hsplit(x: Any, indices_or_sections: Any) -> list[st.Tensor]:
    return split(x, indices_or_sections, 1)


def dsplit(x: Any, indices_or_sections: Any) -> list[st.Tensor]:
    return split(x, indices_or_sections, 2)


class _Room(ModuleType):
    """``np.linalg`` or ``np.fft``."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        function = getattr(getattr(st, self.__name__, None), name, None)
        if function is None:
            raise NotInSteepError(f"{self.__name__}.{name}")
        return lambda *args, **kwargs: function(*[_argument(x, first=i == 0) for i, x in enumerate(args)], **kwargs)


linalg, fft = _Room("linalg"), _Room("fft")


@operands
def _norm(x: st.Tensor, ord: Any = None, axis: Any = None) -> st.Tensor:
    of_matrix = ord not in (None, "fro") and (x.ndim if axis is None else onp.size(axis)) > 1
    if of_matrix:
        raise NotInSteepError(f"norms of matrices of ord {ord!r}")
    return st.vector_norm(x, axis, ord=2 if ord in (None, "fro") else ord)


linalg.norm = _norm
