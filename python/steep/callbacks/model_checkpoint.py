"""Weights saved while training goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..checks import check_path
from ..io import save
from .callback import Logs
from .exponential_moving_average import measured_weights
from .monitor import Monitor

__all__ = ["ModelCheckpoint"]


class ModelCheckpoint(Monitor):
    """Saves the weights to ``filepath`` after every epoch, or, with ``save_best_only``, whenever ``monitor`` improves.

    As Keras' callback of that name, but that it saves weights only unless told otherwise. ``filepath`` may name the
    epoch, from 1, and the logs: "runs/{epoch:02d}-{val_loss:.2f}.safetensors"; folders are made. A file is written
    whole or not at all: see ``steep.io.atomic_write``. Read it by ``model.load_weights(path)``. With
    ``save_weights_only=False`` it is a dict of "model", "optimizer" (their state_dicts) and "epoch" (how many are
    done), for ``steep.load``. To go on with a run that was killed, use ``BackupAndRestore``.

    ``save_freq``: "epoch", or a number of batches, after which the logs are the running means of the epoch.
    ``initial_value_threshold``: only what improves on this is saved as the best. ``monitor`` and ``mode``: see
    ``Monitor``. ``verbose=1`` prints what was saved. Afterwards ``best`` is the best number and ``path`` the file that
    was written last.

    Raises ValueError for a name in ``filepath`` or ``monitor`` that the logs lack, OSError as ``open`` does.

    >>> import os, tempfile, steep as st
    >>> model = st.nn.Linear(1, 1)
    >>> model.compile("sgd", "mse")
    >>> path = os.path.join(tempfile.mkdtemp(), "runs", "best.safetensors")
    >>> checkpoint = st.callbacks.ModelCheckpoint(path, monitor="loss", save_best_only=True)
    >>> _ = model.fit([[1.0]], [[2.0]], epochs=3, callbacks=[checkpoint], verbose=0)
    >>> model.load_weights(path)
    LoadReport(missing=[], unexpected=[])
    """

    writes_files = True

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = True,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        self.filepath = check_path("ModelCheckpoint: filepath", filepath)
        self.verbose, self.save_best_only, self.save_weights_only = verbose, save_best_only, save_weights_only
        self.every = batches_between("ModelCheckpoint", save_freq)
        self.initial_value_threshold = initial_value_threshold
        self._begin()

    def _begin(self) -> None:
        self.best = self.worst if self.initial_value_threshold is None else self.initial_value_threshold
        self.batches = 0
        self.path: str | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins anew."""
        self._begin()

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Saves, if it is time."""
        self.batches += 1
        if self.every is not None and self.batches % self.every == 0:
            self._consider(0 if self.loop is None else self.loop.epoch, batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Saves, if epochs are the time."""
        if self.every is None:
            self._consider(epoch, None, logs)

    def _consider(self, epoch: int, batch: int | None, logs: Logs) -> None:
        if self.save_best_only:
            value = self.watched(logs)
            if value is None or not self.improves(value, self.best):
                return
            self.best = value
        path = self._path(epoch, batch, logs)
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        weights = measured_weights(self)
        if self.save_weights_only:
            save(weights, path)
        else:
            optimizer = self.model.optimizer.state_dict()
            save({"model": weights, "optimizer": optimizer, "epoch": epoch + (batch is None)}, path)
        self.path = path
        if self.verbose:
            print(f"ModelCheckpoint: saved {path}", flush=True)

    def _path(self, epoch: int, batch: int | None, logs: Logs) -> str:
        names = {**logs, "epoch": epoch + 1} if batch is None else {**logs, "epoch": epoch + 1, "batch": batch + 1}
        try:
            return self.filepath.format(**names)
        except KeyError as error:
            raise ValueError(
                f"ModelCheckpoint: {self.filepath} names {error}, which is not there: there are {', '.join(names)}"
            ) from None
        except (IndexError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(
                f"ModelCheckpoint: {self.filepath} does not give a path ({error}): in braces it names the epoch and "
                f"numbers of the logs, such as {{epoch:02d}} and {{loss:.2f}}: there are {', '.join(names)}"
            ) from None

    def state_dict(self) -> dict[str, Any]:
        """The best number, the batches so far and the last file."""
        return {**super().state_dict(), "batches": self.batches, "path": self.path}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on there."""
        super().load_state_dict(state)
        self.batches, self.path = state["batches"], state["path"]


def batches_between(name: str, save_freq: str | int) -> int | None:
    """The batches from one file to the next; None for "epoch". Raises ValueError for anything else."""
    if not isinstance(save_freq, str) and hasattr(save_freq, "__index__") and save_freq > 0:
        return int(save_freq)
    if save_freq != "epoch":
        raise ValueError(f"{name}: save_freq={save_freq!r} must be 'epoch' or a positive number of batches")
    return None
