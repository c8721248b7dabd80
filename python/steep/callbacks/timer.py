"""How long training takes, and a limit to it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from .callback import Callback, Logs

__all__ = ["Timer"]


class Timer(Callback):
    """Measures epochs and batches, in seconds, and ends ``fit`` after ``duration`` if that is given.

    ``epoch_seconds`` has a number for each epoch, validation included; ``seconds_per_batch`` is the mean over all
    training steps, without what the data took to come. On CUDA a step is measured until its work has been handed to the
    device.

    ``duration``, in seconds or as a ``timedelta``, counts from the beginning of this ``fit``. When it is over, the
    batch is finished, and the epoch, cut short, ends with its validation; ``out_of_time`` is True. A
    ``BackupAndRestore`` beside it saves the moment, and keeps its file, so that the same call goes on from there.
    Raises ValueError for a duration that is not positive.

    >>> import steep as st
    >>> model = st.nn.Linear(1, 1)
    >>> model.compile("sgd", "mse")
    >>> timer = st.callbacks.Timer(duration=60)
    >>> _ = model.fit([[1.0]], [[2.0]], epochs=3, callbacks=[timer], verbose=0)
    >>> len(timer.epoch_seconds), timer.seconds_per_batch < sum(timer.epoch_seconds), timer.out_of_time
    (3, True, False)
    """

    def __init__(self, duration: float | timedelta | None = None) -> None:
        seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
        if seconds is not None and not seconds > 0:
            raise ValueError(f"Timer: duration={duration} must be positive")
        self.duration = seconds
        self._begin()

    def _begin(self) -> None:
        self.epoch_seconds: list[float] = []
        self.batches, self.batch_seconds = 0, 0.0  # so far, all together
        self.out_of_time = False
        self._fit_began = self._epoch_began = self._batch_began = time.perf_counter()

    @property
    def seconds_per_batch(self) -> float:
        """The mean over all steps; NaN before the first."""
        return self.batch_seconds / self.batches if self.batches else float("nan")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins anew."""
        self._begin()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Takes the time."""
        self._epoch_began = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Takes the time."""
        self._batch_began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Counts the step, and stops if time is over."""
        now = time.perf_counter()
        self.batches += 1
        self.batch_seconds += now - self._batch_began
        if self.duration is not None and now - self._fit_began >= self.duration:
            if self.loop is not None and not self.loop.between_steps:
                return
            self.out_of_time = True
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Counts the epoch."""
        self.epoch_seconds.append(time.perf_counter() - self._epoch_began)

    def state_dict(self) -> dict[str, Any]:
        """What was measured."""
        return {
            "epoch_seconds": [*self.epoch_seconds],
            "batches": self.batches,
            "batch_seconds": self.batch_seconds,
            "epoch_began": time.perf_counter() - self._epoch_began,
            "out_of_time": self.out_of_time,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Adds to that. A run that was out of time has its duration again."""
        self.epoch_seconds = [*state["epoch_seconds"]]
        self.batches, self.batch_seconds = state["batches"], state["batch_seconds"]
        self._epoch_began = time.perf_counter() - state["epoch_began"]
        if state["out_of_time"]:
            self.model.stop_training = False
