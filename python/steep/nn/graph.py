"""Symbolic values: what layers are called on to describe a model before it has data."""

from __future__ import annotations

import itertools
import operator
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from ..dtypes import DType, as_dtype, float32
from ..methods import Methods
from ..ops import to_device
from ..ops.manipulation import as_shape
from ..structure import map_leaves
from ..tensor import Tensor
from .dry_run import RUNS, Shape, Spec, common_shape, dry_run, sample

if TYPE_CHECKING:
    from .module import Module

__all__ = ["Input", "Symbol", "call_module", "has_symbols"]

_numbers = itertools.count()
# Methods of a tensor that are not functions of steep, and still compute a tensor from it.
_CONVERSIONS = frozenset({"astype", "clone", "contiguous", "copy", "detach", "double", "float", "long"})


class Symbol:
    """A value that a model will compute: ``steep.Input`` makes the first ones, layers called on them the others.

    It has a ``shape``, in which None stands for the number of samples, and a ``dtype``, but no numbers. Operators,
    indexing and the methods of a tensor (``reshape``, ``sum``, ``relu``, ``T``, …) give further symbolic values.
    ``steep.nn.Model`` makes a model of them.
    """

    __slots__ = ("args", "call", "kwargs", "label", "number", "samples")

    __array_ufunc__ = None  # ndarray + symbol is the symbol's business

    def __init__(
        self, call: Any, args: tuple[Any, ...], kwargs: dict[str, Any], label: str, samples: list[Any]
    ) -> None:
        self.call = call  # a Module or a function; None for an Input
        self.args = args
        self.kwargs = kwargs
        self.label = label
        self.samples = samples  # its values in the dry runs
        self.number = next(_numbers)  # symbols are only made of older ones: this order is topological

    @property
    def shape(self) -> Shape:
        """The extents, with None where they depend on the data."""
        return common_shape(self.samples)

    @property
    def dtype(self) -> DType:
        """The dtype of the elements."""
        return self.samples[0].dtype

    @property
    def ndim(self) -> int:
        """The number of axes, with that of the samples."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<symbolic value of shape {self.shape}, {self.dtype.name}, from {self.label}>"

    def __getattr__(self, name: str) -> Any:
        found = vars(Methods).get(name) if not name.startswith("_") else None
        if isinstance(found, property):
            return record(getattr, (self, name), {}, f".{name}")
        if found is not None or name in _CONVERSIONS:
            return partial(_record_method, self, name)
        hint = ": it has no numbers before the model runs" if hasattr(Tensor, name) else ""
        raise AttributeError(f"a symbolic value has no attribute {name!r}{hint}")

    def __getitem__(self, key: Any) -> Any:
        return record(operator.getitem, (self, key), {}, "indexing")

    def __neg__(self) -> Any:
        return record(operator.neg, (self,), {}, "-")

    def __abs__(self) -> Any:
        return record(operator.abs, (self,), {}, "abs")

    def __invert__(self) -> Any:
        return record(operator.invert, (self,), {}, "~")

    # --- what needs numbers ---------------------------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        function = _calling_function()
        raise TypeError(
            f"{function or 'a function of numbers'} got a symbolic value of shape {self.shape}, which has no numbers "
            "before the model runs. Call a layer on it: for any function, "
            f"nn.Lambda({function.replace('steep', 'st', 1) or 'function'}); to join branches, nn.Concat(axis=1)"
        )

    def _refuse(self, what: str) -> NoReturn:
        raise TypeError(
            f"a symbolic value of shape {self.shape} has no {what}: it has no numbers before the model runs"
        )

    def __bool__(self) -> NoReturn:
        self._refuse("truth value")

    def __float__(self) -> NoReturn:
        self._refuse("value as a number")

    def __int__(self) -> NoReturn:
        self._refuse("value as a number")

    __hash__ = object.__hash__

    def __len__(self) -> NoReturn:
        self._refuse("length")

    def __iter__(self) -> Iterator[Any]:
        self._refuse("rows to go through")

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        self._refuse("elements to assign to")


def _calling_function() -> str:
    """The function of steep that stands outermost on the stack, as users call it: "steep.exp"."""
    frame, name = sys._getframe(2), ""
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("steep."):
        if frame.f_globals["__name__"].startswith("steep.ops.") and not frame.f_code.co_name.startswith(("_", "<")):
            name = frame.f_code.co_name
        frame = frame.f_back
    return f"steep.{name}" if name else ""


def _binary(name: str, swapped: bool = False) -> Callable[[Symbol, Any], Any]:
    function = getattr(operator, name)

    def record_operator(self: Symbol, other: Any) -> Any:
        return record(function, (other, self) if swapped else (self, other), {}, name.strip("_"))

    return record_operator


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "matmul", "pow", "and", "or", "xor"):
    setattr(Symbol, f"__{_name}__", _binary(f"__{_name}__"))
    setattr(Symbol, f"__r{_name}__", _binary(f"__{_name}__", swapped=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Symbol, f"__{_name}__", _binary(f"__{_name}__"))


def Input(shape: Any, dtype: Any = float32, name: str | None = None) -> Any:
    """The symbolic value from which a model starts: what a batch of samples, each of ``shape``, will be.

    ``shape`` is without the axis of the samples; None in it stands for any extent. Layers called on the result give
    further symbolic values, of which ``steep.nn.Model`` makes a model; ``Sequential`` takes an Input as its first
    element. ``name`` is how errors call the input, and its key where data is a dict.

    Raises TypeError for what is no shape, ValueError for negative extents.

    >>> import steep as st
    >>> x = st.Input((4,), name="flower")
    >>> x.shape
    (None, 4)
    >>> st.nn.Linear(4, 3)(x)
    <symbolic value of shape (None, 3), float32, from Linear>
    """
    extents: Shape = tuple(shape) if isinstance(shape, tuple | list) and None in shape else as_shape(shape)
    as_shape(tuple(extent for extent in extents if extent is not None))  # refuses what is neither an integer nor None
    if any(extent is not None and extent < 0 for extent in extents):
        raise ValueError(f"Input: shape {extents} has a negative extent: write None for any number")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"Input: name={name!r} must be a string")
    spec = Spec(extents, as_dtype(dtype))
    return Symbol(None, (spec,), {"name": name}, f"Input {name!r}" if name else "Input", _samples(spec))


def _samples(spec: Spec) -> list[Tensor]:
    return [sample(spec, run) for run in range(len(RUNS))]


def has_symbols(x: Any) -> bool:
    """Whether there is a symbolic value in a structure of lists, tuples and dicts."""
    if isinstance(x, list | tuple):
        return any(map(has_symbols, x))
    return any(map(has_symbols, x.values())) if isinstance(x, dict) else isinstance(x, Symbol)


def call_module(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What calling a module on symbolic values gives."""
    return record(module, args, kwargs, module._label())


def _record_method(x: Symbol, name: str, *args: Any, **kwargs: Any) -> Any:
    return record(call_method, (x, name, *args), kwargs, f".{name}")


def call_method(x: Tensor, name: str, *args: Any, **kwargs: Any) -> Any:
    """``x.name(…)``."""
    return getattr(x, name)(*args, **kwargs)


def record(call: Any, args: tuple[Any, ...], kwargs: dict[str, Any], label: str) -> Any:
    """The symbolic result of a call. It is tried at once on small data, so that a wrong shape raises where it is."""
    from .module import Module

    module = call if isinstance(call, Module) else None
    parameter = None if module is None else next(module.parameters(), None)
    results, shapes = [], []
    with dry_run(module):
        for run in range(len(RUNS)):

            def value(x: Any, run: int = run) -> Any:
                if not isinstance(x, Symbol):
                    return x
                return x.samples[run] if parameter is None else to_device(x.samples[run], parameter.device)

            try:
                results.append(call(*map_leaves(value, args), **map_leaves(value, kwargs)))
            except (ValueError, TypeError, IndexError) as error:
                map_leaves(lambda x: shapes.append(str(x.shape)) if isinstance(x, Symbol) else None, (args, kwargs))
                raise type(error)(
                    f"{label} cannot be called on symbolic values of shape {', '.join(shapes)}: {error} "
                    f"(tried with {RUNS[run][0]} samples)"
                ) from error
    return _symbolic(results, Symbol(call, args, kwargs, label, results))


def _symbolic(results: list[Any], whole: Symbol) -> Any:
    """The symbol of a tensor; of a tuple, list or dict, the same structure of the symbols of its items."""
    kind = type(results[0])
    if isinstance(results[0], Tensor):
        whole.shape  # noqa: B018  (raises if the runs disagree about the axes)
        return whole
    if isinstance(results[0], list | tuple | dict):
        keys = list(results[0]) if isinstance(results[0], dict) else range(len(results[0]))
        items = {}
        for key in keys:
            parts = [result[key] for result in results]
            items[key] = _symbolic(parts, Symbol(operator.getitem, (whole, key), {}, whole.label, parts))
        if isinstance(results[0], dict):
            return items
        return kind(*items.values()) if hasattr(kind, "_fields") else kind(items.values())
    if results[0] is None:
        return None
    raise TypeError(f"{whole.label} returned a {kind.__name__}: in a graph it must return tensors, or a tuple of them")
