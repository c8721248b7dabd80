"""Models that run a graph of layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from ..ops._apply import as_tensor
from ..structure import map_leaves
from ..tensor import Parameter, Tensor
from .dry_run import Spec
from .graph import Symbol
from .module import Module

__all__ = ["Model"]


class Slot:
    """A place among the values of a run. What a slot held is forgotten when a later value needs the place."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


class Name:
    """An attribute of the model: a layer, or a tensor that the graph reads."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Step(NamedTuple):
    """One call: ``call`` is a Name or a function, in ``args`` and ``kwargs`` are Slots and Names."""

    call: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: int


class Model(Module):
    """A model from ``inputs`` to ``outputs``: the layers that were called on the way from the one to the other.

    ``inputs`` are what ``steep.Input`` returned: one, a list or tuple, or a dict by name. ``outputs`` are symbolic
    values that depend on them: one, a list, a tuple or a dict; the model returns the same structure. It is called with
    one tensor an input, ``model(a, b)``, with a tuple or list of them, or with a dict by the inputs' names.

    A layer is registered under the name that it has, else under its class' ("linear", "linear_1", …), or under that of
    a keyword: ``Model(x, y, body=layer)``. A layer that is called twice shares its parameters. Parameters and tensors
    that the graph computes with are the model's parameters and buffers ("parameter", "constant", …).

    Raises ValueError if an output depends on an Input that is not among ``inputs``, and for inputs and names that are
    given twice; TypeError for anything but symbolic values. When it runs, raises ValueError for data of another shape
    or number than the inputs.

    >>> import steep as st
    >>> from steep import nn
    >>> x = st.Input((4,))
    >>> body = nn.Linear(4, 8, activation="relu")(x)
    >>> species, size = nn.Linear(8, 3)(body), nn.Linear(8, 1)(body)
    >>> model = nn.Model(x, {"species": species, "size": size})
    >>> model
    Model(
      (linear): Linear(in_features=4, out_features=8, bias=True, activation='relu')
      (linear_1): Linear(in_features=8, out_features=3, bias=True)
      (linear_2): Linear(in_features=8, out_features=1, bias=True)
    )
    >>> {name: y.shape for name, y in model(st.zeros(5, 4)).items()}
    {'species': (5, 3), 'size': (5, 1)}

    Two branches that meet:

    >>> left, right = nn.Linear(4, 2)(x), nn.Linear(4, 3)(x * x)
    >>> nn.Model(x, nn.Concat(axis=1)(left, right))(st.zeros(5, 4)).shape
    (5, 5)
    """

    _program: tuple[Step, ...] = ()
    _steps: tuple[tuple[Callable[..., Any], int, int, tuple[Any, ...], dict[str, Any], int], ...] = ()

    def __init__(self, inputs: Any = None, outputs: Any = None, **layers: Module) -> None:
        if inputs is None or outputs is None:
            raise TypeError(
                f"{type(self).__name__}: a Model is made of inputs and outputs, Model(inputs, outputs); a class with "
                "a forward of its own derives from nn.Module"
            )
        given = _symbols("inputs", inputs)
        self.input_names = _input_names(inputs, given)
        self._specs = [_spec(symbol) for symbol in given]
        self._only_shape = self._specs[0].shape or None if len(given) == 1 else None  # of a quick check
        wanted = _symbols("outputs", outputs)
        order = self._reachable(given, wanted)
        for name, layer in layers.items():
            if not any(symbol.call is layer for symbol in order):
                raise ValueError(f"Model: {name}={layer!r:.60} is not a layer between the inputs and the outputs")
            self.add_module(name, layer)
        program, slots = self._compile(given, order, wanted)
        self._count = max(itertools.chain((step.out for step in program), slots.values(), (0,))) + 1
        self._results = map_leaves(lambda x: Slot(slots[id(x)]), outputs)
        self.output_names = self._output_names(outputs, wanted)
        self._program = tuple(program)
        self._bind()

    def _output_names(self, outputs: Any, symbols: list[Symbol]) -> list[str]:
        """The keys of a dict of outputs; else the names of the layers that they come from, if these tell them apart."""
        if isinstance(outputs, dict):
            return list(outputs)
        layers = {id(module): name for name, module in self.named_children()}
        names = [layers.get(id(symbol.call), "") for symbol in symbols]
        return names if all(names) and len({*names}) == len(names) else [f"output_{i}" for i in range(len(names))]

    # --- from symbols to steps ------------------------------------------------------------------------------------

    def _reachable(self, inputs: list[Symbol], outputs: list[Symbol]) -> list[Symbol]:
        """The symbols between inputs and outputs, in an order in which they can be computed."""
        known = {id(symbol) for symbol in inputs}
        found: dict[int, Symbol] = {}
        waiting = [symbol for symbol in outputs if id(symbol) not in known]
        while waiting:
            symbol = waiting.pop()
            if id(symbol) not in found:
                found[id(symbol)] = symbol
                waiting += [x for x in _read(symbol) if id(x) not in known]
        missing = [symbol for symbol in found.values() if symbol.call is None]
        if missing:
            texts = ", ".join(f"{symbol.label} of shape {symbol.shape}" for symbol in missing)
            raise ValueError(f"Model: the outputs depend on {texts}, which is not among the inputs")
        return sorted(found.values(), key=lambda symbol: symbol.number)

    def _compile(
        self, inputs: list[Symbol], order: list[Symbol], outputs: list[Symbol]
    ) -> tuple[list[Step], dict[int, int]]:
        """The steps, and the slot of every symbol. A slot is free again after the last step that reads it."""
        last: dict[int, int] = {}
        for position, symbol in enumerate(order):
            last.update((id(x), position) for x in _read(symbol))
        last.update((id(x), len(order)) for x in outputs)
        slots = {id(symbol): i for i, symbol in enumerate(inputs)}
        free = [slots[id(symbol)] for symbol in inputs if id(symbol) not in last]
        fresh = itertools.count(len(inputs))
        names: dict[int, Name] = {id(module): Name(name) for name, module in self.named_children()}
        program = []
        for position, symbol in enumerate(order):

            def stored(x: Any) -> Any:
                if isinstance(x, Symbol):
                    return Slot(slots[id(x)])
                return self._own(x, names) if isinstance(x, Tensor) else x

            args, kwargs = map_leaves(stored, symbol.args), map_leaves(stored, symbol.kwargs)
            call = self._own(symbol.call, names) if isinstance(symbol.call, Module) else symbol.call
            free += {slots[id(x)] for x in _read(symbol) if last[id(x)] == position}
            slots[id(symbol)] = free.pop() if free else next(fresh)
            program.append(Step(call, args, kwargs, slots[id(symbol)]))
            if id(symbol) not in last:  # an item of a tuple that nobody reads
                free.append(slots[id(symbol)])
        return program, slots

    def _own(self, x: Module | Tensor, names: dict[int, Name]) -> Name:
        """Registers a layer or a tensor, once."""
        if id(x) not in names:
            if isinstance(x, Module):
                named = x._name if x._name and not x._name.isdigit() else None
                name = self._free_name(named or type(x).__name__.lower())
                self.add_module(name, x)
            else:
                name = self._free_name("parameter" if isinstance(x, Parameter) else "constant")
                setattr(self, name, x) if isinstance(x, Parameter) else self.register_buffer(name, x)
            names[id(x)] = Name(name)
        return names[id(x)]

    def _free_name(self, name: str) -> str:
        numbered = (f"{name}_{i}" for i in itertools.count(1))
        return next(n for n in itertools.chain((name,), numbered) if not hasattr(self, n))

    # --- running --------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        """Looks up what the program names, so that running does not."""

        def found(x: Any) -> Any:
            return getattr(self, x.name) if isinstance(x, Name) else x

        steps = []
        for call, args, kwargs, out in self._program:
            first = second = -1  # the slots of one or two arguments, if that is all there is
            if not kwargs and len(args) <= 2 and all(isinstance(x, Slot) for x in args):
                first, second = args[0].index, args[1].index if len(args) == 2 else -1
            steps.append((found(call), first, second, map_leaves(found, args), map_leaves(found, kwargs), out))
        self.__dict__["_steps"] = tuple(steps)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, Module | Tensor):
            self._bind()  # it may replace a layer

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs for one tensor an input, a tuple or list of them, or a dict by the inputs' names."""
        if len(args) == 1 and type(args[0]) is Tensor and args[0].shape[1:] == self._only_shape and not kwargs:
            values: list[Any] = [args[0]]
        else:
            values = self._values(args, kwargs)
        values += [None] * (self._count - len(values))

        def value(x: Any) -> Any:
            return values[x.index] if type(x) is Slot else x

        for call, first, second, step_args, step_kwargs, out in self._steps:
            if second >= 0:
                values[out] = call(values[first], values[second])
            elif first >= 0:
                values[out] = call(values[first])
            else:
                values[out] = call(*map_leaves(value, step_args), **map_leaves(value, step_kwargs))
        results = self._results
        return values[results.index] if type(results) is Slot else map_leaves(value, results)

    def _values(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The tensors of the inputs, in their order."""
        if kwargs or (len(args) == 1 and isinstance(args[0], dict)):
            args = self._by_name({**args[0], **kwargs} if args and isinstance(args[0], dict) else kwargs, args)
        elif len(args) == 1 and isinstance(args[0], tuple | list) and not _is_data(args[0], len(self._specs)):
            args = tuple(args[0])
        if len(args) != len(self._specs):
            raise ValueError(
                f"{self._label()} has {len(self._specs)} input{'s' * (len(self._specs) != 1)} "
                f"({', '.join(self.input_names)}), and was called with {len(args)}"
            )
        values = []
        for x, name, spec in zip(args, self.input_names, self._specs, strict=True):
            if type(x) is not Tensor:
                x = as_tensor(x)
            shape = x.shape[1:]
            if shape != spec.shape or x.ndim == 0:
                self._check_shape(x, name, spec)
            values.append(x)
        return values

    def _by_name(self, given: dict[str, Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
        names = self.input_names
        if {*given} != {*names} or len(args) > 1 or (args and not isinstance(args[0], dict)):
            raise ValueError(
                f"{self._label()} has the inputs {', '.join(names)}, and was called with {', '.join(given)}"
            )
        return tuple(given[name] for name in names)

    def _check_shape(self, x: Tensor, name: str, spec: Spec) -> None:
        fits = x.ndim == len(spec.shape) + 1 and all(
            wanted is None or wanted == n for wanted, n in zip(spec.shape, x.shape[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"{self._label()}: the input {name!r} must be of shape {(None, *spec.shape)}, where None is any "
                f"number, not {x.shape}"
            )


def _read(symbol: Symbol) -> list[Symbol]:
    """The symbols that are read to compute it."""
    found: list[Symbol] = []
    map_leaves(lambda x: found.append(x) if isinstance(x, Symbol) else None, (symbol.args, symbol.kwargs))
    return found


def _symbols(what: str, given: Any) -> list[Symbol]:
    """The symbols of a structure. Raises TypeError for anything else."""
    found: list[Symbol] = []

    def check(x: Any) -> None:
        if isinstance(x, Symbol):
            found.append(x)
            return
        made = "steep.Input returns" if what == "inputs" else "a layer called on a steep.Input returns"
        raise TypeError(f"Model: {what} must be symbolic values, as {made} them, not {x!r:.60} ({type(x).__name__})")

    map_leaves(check, given)
    if not found:
        raise ValueError(f"Model: there are no {what}")
    return found


def _input_names(inputs: Any, symbols: list[Symbol]) -> list[str]:
    """How the inputs are called. Raises ValueError if one is given twice, or two have one name."""
    for i, symbol in enumerate(symbols):
        if any(symbol is other for other in symbols[:i]):
            raise ValueError(f"Model: {symbol.label} of shape {symbol.shape} is given twice among the inputs")
    if isinstance(inputs, dict):
        names = list(inputs)
    else:
        names = [
            (symbol.kwargs.get("name") if symbol.call is None else None) or ("input" if i == 0 else f"input_{i}")
            for i, symbol in enumerate(symbols)
        ]
    if len({*names}) != len(names):
        raise ValueError(f"Model: two inputs have one name: {', '.join(names)}")
    return names


def _spec(symbol: Symbol) -> Spec:
    return symbol.args[0] if symbol.call is None else Spec(symbol.shape[1:], symbol.dtype)


def _is_data(x: Any, inputs: int) -> bool:
    """Whether a list is a batch as nested lists of numbers, and not one batch for each input."""
    return inputs == 1 and not (len(x) == 1 and isinstance(x[0], Tensor))
