"""What ``fit`` returns: the numbers of every epoch."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["History"]

ALIASES = {"acc": "accuracy", "val_acc": "val_accuracy"}


class History(dict[str, list[float]]):
    """Loss and metrics by epoch: ``history["loss"]``, ``history["val_accuracy"]``, …, and the epochs' numbers.

    It is a dict of lists, and also its own ``history`` attribute, as Keras users know it. "acc" finds "accuracy".

    >>> from steep.train import History
    >>> history = History()
    >>> history.append(1, {"loss": 0.5, "accuracy": 0.9})
    >>> history["accuracy"], history.history["acc"], history.epoch
    ([0.9], [0.9], [1])
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []

    @property
    def history(self) -> History:
        """The History itself."""
        return self

    def append(self, epoch: int, results: Mapping[str, float]) -> None:
        """Adds the results of one epoch."""
        self.epoch.append(epoch)
        for name, value in results.items():
            self.setdefault(name, []).append(value)

    def __missing__(self, name: str) -> list[float]:
        if ALIASES.get(name) in self:
            return self[ALIASES[name]]
        raise KeyError(f"{name!r} is not in the history, which has {', '.join(self) or 'no epochs yet'}")
