"""Logs for TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from importlib import import_module
from numbers import Real
from typing import Any

import numpy as np

from ..checks import check_path
from .callback import Callback, Logs

__all__ = ["TensorBoard"]


class TensorBoard(Callback):
    """Writes logs that ``tensorboard --logdir log_dir`` shows; the package tensorboard must be installed.

    As Keras' callback of that name: the folders ``train`` and ``validation`` with "epoch_loss" and so on for each
    epoch; with ``update_freq="batch"``, or a number of batches, also "batch_loss" and so on, the running means of the
    epoch. "epoch_learning_rate" is that of the optimizer. With ``histogram_freq``, every so many epochs histograms of
    all parameters are written. Curves of a run that goes on by ``BackupAndRestore`` go on.

    Raises ImportError without tensorboard when ``fit`` begins, ValueError for other frequencies.

    >>> import steep as st
    >>> board = st.callbacks.TensorBoard("logs/first", histogram_freq=1)  # model.fit(…, callbacks=[board])
    """

    writes_files = True
    BINS = 30

    def __init__(
        self, log_dir: str | os.PathLike[str] = "logs", histogram_freq: int = 0, update_freq: str | int = "epoch"
    ) -> None:
        self.log_dir, self.histogram_freq = check_path("TensorBoard: log_dir", log_dir), histogram_freq
        if update_freq not in ("epoch", "batch") and not (isinstance(update_freq, int) and update_freq > 0):
            raise ValueError(
                f"TensorBoard: update_freq={update_freq!r} must be 'epoch', 'batch' or a number of batches"
            )
        self.every = 0 if update_freq == "epoch" else 1 if isinstance(update_freq, str) else update_freq
        self._writers: dict[str, Any] = {}
        self._step = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Finds the package."""
        self._make_writer, self._event, self._summary = _parts()
        self._step = 0

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Writes the means so far, if they are wanted."""
        self._step += 1
        if self.every and self._step % self.every == 0:
            self._scalars("train", {f"batch_{name}": value for name, value in logs.items()}, self._step)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Writes the epoch's logs."""
        training = {f"epoch_{name}": value for name, value in logs.items() if not name.startswith("val_")}
        if hasattr(self.model, "optimizer"):
            training.setdefault("epoch_learning_rate", float(self.model.optimizer.lr))
        self._scalars("train", training, epoch)
        measured = {f"epoch_{name[4:]}": value for name, value in logs.items() if name.startswith("val_")}
        if measured:
            self._scalars("validation", measured, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._histograms(epoch)
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _writer(self, part: str) -> Any:
        if part not in self._writers:
            self._writers[part] = self._make_writer(os.path.join(self.log_dir, part))
        return self._writers[part]

    def _add(self, part: str, values: list[Any], step: int) -> None:
        summary = self._summary.Summary(value=values)
        self._writer(part).add_event(self._event.Event(wall_time=time.time(), step=step, summary=summary))

    def _scalars(self, part: str, numbers: dict[str, Any], step: int) -> None:
        value = self._summary.Summary.Value
        shown = [value(tag=tag, simple_value=x) for tag, x in numbers.items() if isinstance(x, Real)]
        self._add(part, shown, step)

    def _histograms(self, epoch: int) -> None:
        values = []
        for name, parameter in self.model.named_parameters():
            x = np.asarray(parameter.detach().astype("float64")).ravel()
            x = x[np.isfinite(x)]
            if not x.size:
                continue
            counts, edges = np.histogram(x, self.BINS)
            values.append(
                self._summary.Summary.Value(
                    tag=f"{name}/histogram",
                    histo=self._summary.HistogramProto(
                        min=x.min(),
                        max=x.max(),
                        num=x.size,
                        sum=x.sum(),
                        sum_squares=(x * x).sum(),
                        bucket_limit=edges[1:].tolist(),
                        bucket=counts.tolist(),
                    ),
                )
            )
        self._add("train", values, epoch)

    def state_dict(self) -> dict[str, Any]:
        """The batches so far."""
        return {"step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on there."""
        self._step = state["step"]


def _parts() -> tuple[Any, Any, Any]:
    """What tensorboard has to write files with, without TensorFlow or PyTorch."""
    try:
        event, summary = (import_module(f"tensorboard.compat.proto.{name}_pb2") for name in ("event", "summary"))
        writer = import_module("tensorboard.summary.writer.event_file_writer")
    except ImportError:
        raise ImportError("callbacks.TensorBoard writes with tensorboard: pip install tensorboard") from None
    return writer.EventFileWriter, event, summary
