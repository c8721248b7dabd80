"""What all metrics share: named totals that grow batch by batch."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _core
from ..devices import cpu
from ..dtypes import float64
from ..ops import asarray, concat, to_device
from ..tensor import Tensor

__all__ = ["Metric"]

State = float | Tensor | list[Tensor]


class Metric(ABC):
    """A number that is gathered over batches: ``update_state`` with each of them, then ``result``.

    A subclass writes ``update_state(output, target, sample_weight=None)``, which adds to totals by ``accumulate``, and
    ``result()``, which reads them by ``total``. What is kept in that way is reset, saved and loaded by itself. The name
    is the class's in words_like_these, unless another is given.

    >>> from steep.metrics import Metric
    >>> class FarAway(Metric):
    ...     def update_state(self, output, target, sample_weight=None):
    ...         self.accumulate("count", (abs(output - target) > 1).sum())
    ...     def result(self):
    ...         return self.total("count")
    >>> import steep as st
    >>> metric = FarAway()
    >>> metric(st.tensor([1.0, 4.0]), st.tensor([1.0, 2.0])), metric.name
    (1.0, 'far_away')
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = self._default_name() if name is None else name
        self._state: dict[str, State] = {}

    @abstractmethod
    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Adds a batch: ``update_state(output, target, sample_weight=None)``."""

    @abstractmethod
    def result(self) -> Any:
        """The metric of all batches since the last ``reset_state``; NaN if there were no samples."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Adds a batch and returns the result so far, that of all batches."""
        self.update_state(*args, **kwargs)
        return self.result()

    def reset_state(self) -> None:
        """Forgets all batches."""
        self._state.clear()

    # --- totals -------------------------------------------------------------------------------------------------------

    def accumulate(self, key: str, value: float | Tensor) -> None:
        """Adds a number or a tensor to the total ``key``.

        The total of 0-d tensors on the CPU is a Python number; other tensors are added in float64 on their device,
        which nobody waits for. Raises ValueError if the shape differs from that of the total.
        """
        if isinstance(value, Tensor):
            if value.ndim == 0 and value.device is cpu:
                value = _core.item(value)
            else:
                value = _core.alias(value) if value.dtype is float64 else _core.astype(value, float64)
        held: Any = self._state.get(key)
        if held is None:  # of a tensor a copy: the caller may count in it on and on
            self._state[key] = _core.copy(value) if isinstance(value, Tensor) else value
            return
        shapes = getattr(value, "shape", ()), getattr(held, "shape", ())
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{self.name}: this batch has {key} of shape {shapes[0]}, the batches before had {shapes[1]}: "
                "call reset_state() before other data"
            )
        if isinstance(held, Tensor) and isinstance(value, Tensor) and held.device is not value.device:
            held = to_device(held, value.device)
        self._state[key] = held + value

    def total(self, key: str) -> float:
        """The total of numbers as a float; 0 if there is none."""
        return float(self._state.get(key, 0.0))  # type: ignore[arg-type]  # not a list

    def keep(self, key: str, value: Tensor) -> None:
        """Keeps the rows of a tensor, for metrics that need all of them."""
        self._state.setdefault(key, []).append(value)  # type: ignore[union-attr]  # a list

    def kept(self, key: str) -> Tensor | None:
        """All rows that were kept, as one tensor; None if there are none."""
        parts = self._state.get(key)
        if not isinstance(parts, list):
            return None
        if len(parts) > 1:
            self._state[key] = parts = [concat([to_device(part, parts[-1].device) for part in parts])]
        return parts[0]

    # --- saving -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, float | Tensor]:
        """The totals by name, as plain numbers and tensors: what ``load_state_dict`` goes on from.

        >>> from steep import metrics
        >>> accuracy = metrics.Accuracy()
        >>> accuracy.update_state([0.2, 0.9], [1, 1])
        >>> {name: float(value) for name, value in accuracy.state_dict().items()}
        {'sum': 1.0, 'weight': 2.0}
        """
        state: dict[str, float | Tensor] = {}
        for key, value in self._state.items():
            rows = self.kept(key) if isinstance(value, list) else None
            if rows is not None:
                state[f"{key}[]"] = _core.copy(rows)
            else:
                state[key] = _core.copy(value) if isinstance(value, Tensor) else value  # type: ignore[assignment]
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replaces the totals by those of ``state``, which ``state_dict`` of an equal metric returned.

        Raises TypeError for anything but numbers and tensors by name; the metric then stays as it was.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"{self.name}: load_state_dict takes a dict as state_dict() returns it, not {state!r:.60}")
        loaded: dict[str, State] = {}
        for key, value in state.items():
            if isinstance(value, Tensor | np.ndarray):
                copied = _core.copy(asarray(value))
                loaded[key.removesuffix("[]")] = [copied] if key.endswith("[]") else copied
            elif isinstance(value, int | float) and not key.endswith("[]"):
                loaded[key] = value
            else:
                raise TypeError(f"{self.name}: {key}={value!r:.60} in the state is neither a number nor a tensor")
        self._state = loaded

    # --- names --------------------------------------------------------------------------------------------------------

    @classmethod
    def _default_name(cls) -> str:
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    def __repr__(self) -> str:
        """The arguments that differ from the defaults."""
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        defaults["name"] = self._default_name()
        values = {name: getattr(self, name) for name in defaults if hasattr(self, name)}
        shown = [
            f"{name}={getattr(value, '__name__', repr(value))}"
            for name, value in values.items()
            if value != defaults[name]
        ]
        return f"{type(self).__name__}({', '.join(shown)})"
