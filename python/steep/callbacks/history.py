"""What ``fit`` returns: the numbers of every epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .callback import Callback

__all__ = ["History"]

ALIASES = {"acc": "accuracy", "val_acc": "val_accuracy"}


class History(dict[str, list[Any]], Callback):
    """Loss and metrics by epoch: ``history["loss"]``, ``history["val_accuracy"]``, …, and the epochs' numbers from 0.

    It is a dict of lists, and also its own ``history`` attribute, as Keras users know it. "acc" finds "accuracy".
    ``fit`` has one of its own; given as a callback, it goes on from fit to fit, and is there after an interrupt.

    >>> from steep.callbacks import History
    >>> history = History()
    >>> history.append(0, {"loss": 0.5, "accuracy": 0.9})
    >>> history["accuracy"], history.history["acc"], history.epoch
    ([0.9], [0.9], [0])
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

    def __missing__(self, name: str) -> list[float]:
        if ALIASES.get(name) in self:
            return self[ALIASES[name]]
        raise KeyError(f"{name!r} is not in the history, which has {', '.join(self) or 'no epochs yet'}")
