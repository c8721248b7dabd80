"""Modules made of modules in a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from ..checks import shown
from .dry_run import Spec
from .graph import Symbol
from .module import Module

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ModuleList", "Sequential"]


class _Row(Module):
    """Modules as numbered or named attributes, which index and iterate like a list."""

    _layers: tuple[Module, ...] = ()  # the modules among the attributes, a repeated one repeatedly

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, Module):
            self._find_layers()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._find_layers()

    def _find_layers(self) -> None:
        self.__dict__["_layers"] = tuple(value for value in vars(self).values() if isinstance(value, Module))

    def _names(self) -> list[str]:
        return [name for name, value in vars(self).items() if isinstance(value, Module)]

    def append(self, module: Any) -> Self:
        """Adds a module at the end, named by its position (or the next free number), and returns the container."""
        self.add_module(next(str(i) for i in count(len(self)) if str(i) not in self.__dict__), module)
        return self

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers)

    def __getitem__(self, index: int) -> Module:
        return self._layers[self._position(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._names()[self._position(index)], module)

    def _position(self, index: int) -> int:
        if not hasattr(index, "__index__"):
            raise TypeError(f"{self._label()}: a place is an integer, not {shown(index)}; a name is an attribute")
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self._label()} has {len(self)} modules: index {index} is out of range")
        return index


class Sequential(_Row):
    """Modules that run one after another: modules as arguments, one list of them, or a dict of names to modules.

    The first may be a ``steep.Input``, which tells ``summary`` the shape of the samples.
    ``model[i]`` is a module, ``model[i:j]`` a Sequential of the same modules. Raises TypeError for anything that is
    not a Module.

    >>> import steep as st
    >>> model = st.nn.Sequential(st.nn.Linear(4, 8), st.nn.ReLU())
    >>> model.add(st.nn.Linear(8, 3))
    >>> model
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=3, bias=True)
    )
    >>> model(st.zeros(5, 4)).shape
    (5, 3)
    >>> st.nn.Sequential({"hidden": st.nn.Linear(4, 8), "act": st.nn.ReLU()}).hidden
    Linear(in_features=4, out_features=8, bias=True)
    """

    _input: Spec | None = None

    def __init__(self, *layers: Any) -> None:
        only = layers[0] if len(layers) == 1 else None
        if isinstance(only, Mapping):
            for name, module in only.items():
                self.add_module(name, module)
            return
        modules = only if isinstance(only, list | tuple) else layers
        for module in modules:
            self.append(module)  # refuses what is not a Module

    def append(self, module: Any) -> Self:
        """Adds a module at the end, named by its position, and returns the container.

        In the first place it may be a ``steep.Input`` instead, which says what the samples are like.
        """
        if isinstance(module, Symbol) and module.call is None and not len(self) and self._input is None:
            self._input = module.args[0]
            return self
        return super().append(module)

    def _expects(self) -> Spec | None:
        return self._input

    def forward(self, x: Any) -> Any:
        """Runs x through the modules in order."""
        for layer in self._layers:
            x = layer(x)
        return x

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(dict(list(zip(self._names(), self._layers, strict=True))[index]))
        return super().__getitem__(index)

    def add(self, module: Module) -> None:
        """``append``, as Keras calls it."""
        self.append(module)


class ModuleList(_Row):
    """A list of modules whose parameters are registered; how they are used is up to the forward that holds it.

    >>> import steep as st
    >>> layers = st.nn.ModuleList(st.nn.Linear(4, 4) for _ in range(3))
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def extend(self, modules: Iterable[Module]) -> Self:
        """Appends every one of ``modules`` and returns the list."""
        for module in modules:
            self.append(module)
        return self

    def __getitem__(self, index: int | slice) -> Any:
        return ModuleList(self._layers[index]) if isinstance(index, slice) else super().__getitem__(index)
