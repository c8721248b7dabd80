"""A learning rate for each epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from numbers import Real
from typing import Any

from .callback import Callback, Logs

__all__ = ["LearningRateScheduler"]


class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of each epoch.

    ``schedule``: a function of the epoch, from 0, and the present rate, as in Keras; or of the epoch alone; or a
    schedule of ``steep.optim.schedules``, whose steps are epochs then. (As an optimizer's ``lr``, a schedule changes
    the rate in each step.) ``verbose=1`` prints the rates. "learning_rate" is added to the logs. Raises TypeError for
    what is no function, and for rates that are no numbers.

    >>> import steep as st
    >>> model = st.nn.Linear(1, 1)
    >>> model.compile(st.optim.SGD(model.parameters(), lr=0.5), "mse")
    >>> halved = st.callbacks.LearningRateScheduler(lambda epoch, lr: lr / 2 if epoch % 2 else lr)
    >>> history = model.fit([[1.0]], [[2.0]], epochs=4, callbacks=[halved], verbose=0)
    >>> history["learning_rate"]
    [0.5, 0.25, 0.25, 0.125]
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        if not callable(schedule):
            raise TypeError(f"LearningRateScheduler: schedule must be a function of the epoch, not {schedule!r:.60}")
        self.schedule, self.verbose = schedule, verbose
        self._takes_rate = _positional(schedule) >= 2

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Sets the rate."""
        optimizer = self.model.optimizer
        rate: Any = self.schedule(epoch, float(optimizer.lr)) if self._takes_rate else self.schedule(epoch)
        if not isinstance(rate, Real):
            raise TypeError(f"LearningRateScheduler: the schedule must return a number, not {rate!r:.60}")
        optimizer.lr = float(rate)
        if self.verbose:
            print(f"LearningRateScheduler: the learning rate of epoch {epoch + 1} is {rate:.4g}", flush=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Logs the rate."""
        logs["learning_rate"] = float(self.model.optimizer.lr)


def _positional(function: Callable[..., Any]) -> int:
    """How many arguments a function must be given, or can be."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # of some builtins there is none
        return 1
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 2
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
