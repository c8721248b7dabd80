"""What ``fit`` returns: the numbers of every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from .callback import Callback

__all__ = ["History"]

ALIASES = {"acc": "accuracy", "val_acc": "val_accuracy"}


class History(dict[str, list[Any]], Callback):
    """Loss and metrics by epoch: ``history["loss"]``, ``history["val_accuracy"]``, …, and the epochs' numbers from 0.

    It is a dict of lists, and also its own ``history`` attribute, as Keras users know it. "acc" finds "accuracy".
    What a notebook shows of it is short, what ``print`` writes is all.
    ``fit`` has one of its own; given as a callback, it goes on from fit to fit, and is there after an interrupt.

    >>> from steep.callbacks import History
    >>> history = History()
    >>> history.append(0, {"loss": 0.5, "accuracy": 0.9})
    >>> history["accuracy"], history.history["acc"], history.epoch
    ([0.9], [0.9], [0])
    >>> history.append(1, {"loss": 0.25, "accuracy": 1.0})
    >>> history
    History of 2 epochs: loss 0.5 → 0.25, accuracy 0.9 → 1
    >>> print(history)
    {'loss': [0.5, 0.25], 'accuracy': [0.9, 1.0]}
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []

    @property
    def history(self) -> History:
        """The History itself."""
        return self

    def append(self, epoch: int, results: Mapping[str, Any]) -> None:
        """Adds the results of one epoch."""
        self.epoch.append(epoch)
        for name, value in results.items():
            self.setdefault(name, []).append(value)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Appends them."""
        self.append(epoch, logs)

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {"epoch": [*self.epoch], "history": {name: [*values] for name, values in self.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Becomes what it was."""
        self.epoch = [*state["epoch"]]
        self.clear()
        self.update({name: [*values] for name, values in state["history"].items()})

    def __str__(self) -> str:
        return dict.__repr__(self)

    def __repr__(self) -> str:
        if not self.epoch:
            return "History of 0 epochs"
        numbers = [f"{name} {_range(values)}" for name, values in self.items() if isinstance(values[0], Real)]
        return f"History of {len(self.epoch)} epoch{'s' * (len(self.epoch) > 1)}: {', '.join(numbers)}"

    def __missing__(self, name: str) -> list[float]:
        if ALIASES.get(name) in self:
            return self[ALIASES[name]]
        raise KeyError(f"{name!r} is not in the history, which has {', '.join(self) or 'no epochs yet'}")


def _range(values: list[Any]) -> str:
    return " → ".join(f"{value:.4g}" for value in values[:: len(values) - 1 or 1])
