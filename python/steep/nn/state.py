"""A module's parameters and buffers as data: a dict by path, a list of arrays, a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..autograd import no_grad
from ..io.atomic import Path
from ..io.file import load, save
from ..ops._apply import host_tensor
from ..ops.creation import tensor
from ..tensor import Parameter, Tensor

if TYPE_CHECKING:
    from .module import Module

__all__ = ["LoadReport", "Stated"]


class LoadReport(NamedTuple):
    """What ``load_state_dict(strict=False)`` did not load."""

    missing: list[str]
    unexpected: list[str]


class Stated:
    """The part of ``Module`` that takes its values out and in."""

    _fitted_names: frozenset[str] = frozenset()  # of buffers whose shape comes from data, in load_state_dict too

    if TYPE_CHECKING:  # what Module adds

        def named_modules(self) -> Iterator[tuple[str, Module]]: ...
        def _members(self, wanted: Callable[[Module, str, Any], bool]) -> Iterator[tuple[str, Any]]: ...
        def _label(self) -> str: ...

    def _state(self) -> dict[str, Tensor]:
        return dict(
            self._members(lambda module, name, value: isinstance(value, Parameter) or module._is_buffer(name, value))
        )

    def state_dict(self) -> dict[str, Tensor]:
        """A snapshot of all parameters and buffers by dotted path: copies, which training does not change.

        >>> import steep as st
        >>> list(st.nn.Linear(2, 1).state_dict())
        ['weight', 'bias']
        """
        return {path: value.detach().copy() for path, value in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadReport:
        """Copies values (tensors or arrays) into the parameters and buffers of the same paths.

        They may be on any device: the module's own stay where they are.
        Raises ValueError, with nothing changed, if a shape differs, or, if ``strict``, if names are missing or
        unexpected; otherwise returns those names.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                f"{type(self).__name__}.load_state_dict: expected a dict of tensors by path, as state_dict() returns "
                f"it, not {state!r:.60}"
            )
        own = self._state()
        values = {path: _as_values(state[path]) for path in own if path in state}
        fitted = {
            f"{path}.{name}" if path else name: (module, name)
            for path, module in self.named_modules()
            for name in module._fitted_names
        }
        report = LoadReport([path for path in own if path not in state], [path for path in state if path not in own])
        problems = [
            f"{path} has shape {value.shape}, the model needs {own[path].shape}"
            for path, value in values.items()
            if value.shape != own[path].shape and path not in fitted
        ]
        if strict:
            problems += [f"missing: {', '.join(report.missing)}"] * bool(report.missing)
            problems += [f"unexpected: {', '.join(report.unexpected)}"] * bool(report.unexpected)
        if problems:
            raise ValueError(f"{type(self).__name__}.load_state_dict loaded nothing:\n  " + "\n  ".join(problems))
        with no_grad():
            for path, value in values.items():
                if path in fitted:
                    module, name = fitted[path]
                    setattr(module, name, tensor(value, own[path].dtype, own[path].device))
                else:
                    own[path].copy_(value)
        return report

    def save_weights(self, path: Path) -> None:
        """Writes ``state_dict()`` to a safetensors file, which other programs read too: see ``steep.save``.

        >>> import os, tempfile, steep as st
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
        >>> st.nn.Linear(2, 1).save_weights(path)
        >>> st.nn.Linear(2, 1).load_weights(path)
        LoadReport(missing=[], unexpected=[])
        """
        save(self._state(), path)

    def load_weights(self, path: Path, strict: bool = True) -> LoadReport:
        """Copies the tensors of a file into the parameters and buffers of the same paths: see ``load_state_dict``.

        Raises ValueError, with nothing changed, also for a file that holds no weights alone, or that is damaged.
        """
        state = load(path, "cpu")
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError(
                f"{type(self).__name__}.load_weights: {path} holds {_kind(state):.80}, not weights alone: read it with "
                "steep.load, and pass the weights to load_state_dict"
            )
        try:
            return self.load_state_dict(state, strict)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Copies of all parameters and buffers as NumPy arrays, in the order of ``state_dict``.

        >>> import steep as st
        >>> [w.shape for w in st.nn.Linear(3, 2).get_weights()]
        [(2, 3), (2,)]
        """
        return [np.array(tensor.detach()) for tensor in self._state().values()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Copies arrays into the parameters and buffers, in the order in which ``get_weights`` returns them.

        Raises ValueError, with nothing changed, if their number or a shape differs; TypeError for what is no list.
        """
        if not isinstance(weights, list | tuple):
            raise TypeError(
                f"{self._label()}.set_weights: expected a list of arrays, as get_weights() returns it, not a "
                f"{type(weights).__name__}; for a dict by name there is load_state_dict"
            )
        own = self._state()
        if len(weights) != len(own):
            raise ValueError(
                f"{self._label()}.set_weights: {len(weights)} arrays were given for {len(own)}: {', '.join(own)}"
            )
        values = [_as_values(w) for w in weights]
        wrong = [
            f"{name} has shape {tensor.shape}, not {value.shape}"
            for (name, tensor), value in zip(own.items(), values, strict=True)
            if tensor.shape != value.shape
        ]
        if wrong:
            raise ValueError(f"{self._label()}.set_weights changed nothing: " + "; ".join(wrong))
        with no_grad():
            for tensor, value in zip(own.values(), values, strict=True):
                tensor.copy_(value)


def _as_values(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else host_tensor(np.asarray(x))  # in the dtype of any library's array


def _kind(state: Any) -> str:
    return f"a dict of {', '.join(map(str, state))}" if isinstance(state, dict) else f"a {type(state).__name__}"
