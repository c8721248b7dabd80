"""A run that was killed goes on where it was."""

from __future__ import annotations

import os
from typing import Any

from ..checks import check_path
from ..io import load, save
from .callback import Callback, Logs
from .model_checkpoint import batches_between
from .timer import Timer

__all__ = ["BackupAndRestore"]


class BackupAndRestore(Callback):
    """Saves the whole run again and again, and goes on from there when the same script is started once more.

    What was killed and started again ends with the same numbers as an undisturbed run, bit for bit: weights, optimizer,
    learning rates, history, the other callbacks, random stream and metrics, in the midst of an epoch too. The script
    must be the same, and its data; ``epochs`` may be raised. Data comes again in the same order if it is drawn from
    ``steep.random`` when an iteration begins, as by ``fit`` and ``steep.data.DataLoader``; other generators are asked
    for the batches that were done, which are passed over.

    ``backup_dir``: a folder, one for each ``fit`` of a script, or a file that ends in ".safetensors". ``save_freq``:
    "epoch", or a number of batches, rounded up to steps of the optimizer. The file is written whole or not at all, and
    takes the place of the last one; ``steep.load`` reads it. When ``fit`` has come to its end the file is deleted,
    unless ``delete_checkpoint=False``; after an error or an interrupt, and when a ``Timer`` was out of time, it is
    kept. A line tells when a run goes on, unless ``fit`` is silent.

    Raises ValueError for a file that is damaged, or of another model, optimizer, set of callbacks or data; then nothing
    has changed.

    >>> import os, tempfile, steep as st
    >>> folder = tempfile.mkdtemp()
    >>> def script(epochs):
    ...     st.random.manual_seed(0)
    ...     model = st.nn.Linear(1, 1)
    ...     model.compile("adam", "mse")
    ...     backup = st.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
    ...     return model.fit([[0.5], [1.0]], [[1.0], [2.0]], epochs=epochs, callbacks=[backup], verbose=2)
    >>> _ = script(epochs=1)
    epoch 1/1  running mean: loss ...
    >>> len(script(epochs=2)["loss"])
    BackupAndRestore: going on after epoch 1, from .../backup.safetensors
    epoch 2/2  running mean: loss ...
    2
    """

    runs_last = True
    writes_files = True

    def __init__(
        self, backup_dir: str | os.PathLike[str], save_freq: str | int = "epoch", delete_checkpoint: bool = True
    ) -> None:
        place = check_path("BackupAndRestore: backup_dir", backup_dir)
        self.path = place if place.endswith(".safetensors") else os.path.join(place, "backup.safetensors")
        self.every = batches_between("BackupAndRestore", save_freq)
        self.delete_checkpoint = delete_checkpoint
        self._batches = 0  # since the last file
        self._kept = False  # the run is out of time

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Goes on, if there is something to go on with."""
        self._batches, self._kept = 0, False
        loop = self.loop
        assert loop is not None
        if not os.path.exists(self.path):
            os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
            return
        try:
            loop.load_state_dict(load(self.path, "cpu"))
        except ValueError as error:
            raise ValueError(
                f"BackupAndRestore: {self.path} is not a backup of this run: {error}. Delete the file to begin anew"
            ) from error
        if self.params.get("verbose", 0) != 0:
            place = f"after epoch {loop.epoch}"
            if loop.batch:
                place = f"in epoch {loop.epoch + 1}, after batch {loop.batch}"
            print(f"BackupAndRestore: going on {place}, from {self.path}", flush=True)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Saves, if it is time, or if it is over."""
        loop = self.loop
        assert loop is not None
        self._batches += 1
        if self.model.stop_training and self._out_of_time():
            self._kept = True
            self._save()
        elif self.every is not None and self._batches >= self.every and loop.between_steps:
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Saves, if epochs are the time."""
        if self.every is None and not self._kept:
            self._save()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Removes the file, which has done its service."""
        if self.delete_checkpoint and not self._kept and os.path.exists(self.path):
            os.remove(self.path)

    def _out_of_time(self) -> bool:
        assert self.loop is not None
        timer = self.loop.callbacks.find(Timer)
        return timer is not None and timer.out_of_time

    def _save(self) -> None:
        assert self.loop is not None
        save(self.loop.state_dict(), self.path)
        self._batches = 0
