"""What ``fit`` shows while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from importlib import import_module
from numbers import Real
from typing import Any

from ..notebook import has_widgets, in_notebook
from .callback import Callback, Logs

__all__ = ["ProgressBar", "ProgressLines", "progress"]


def progress(verbose: int | str) -> list[Callback]:
    """The display: for 0 none, for 1 a bar, for 2 a line an epoch, for "auto" a bar in a terminal or notebook and lines
    elsewhere. Raises ValueError for anything else.
    """
    if verbose == "auto":
        verbose = 1 if (sys.stderr and sys.stderr.isatty()) or in_notebook() else 2
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose={verbose!r} must be 0 (silent), 1 (bar), 2 (a line an epoch) or 'auto'")
    return [ProgressBar()] if verbose == 1 else [ProgressLines()] if verbose == 2 else []


def _text(results: Mapping[str, Any]) -> str:
    """The numbers, those of training labelled as what they are: means over an epoch in which the model changes."""
    numbers = {name: f"{name} {value:.4g}" for name, value in results.items() if isinstance(value, Real)}
    training = [text for name, text in numbers.items() if not name.startswith("val_")]
    validation = [text for name, text in numbers.items() if name.startswith("val_")]
    return "  ".join(["running mean:", *training] + ["|"] * bool(validation) + validation)


class ProgressLines(Callback):
    """Prints a line an epoch, to standard output."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Prints the results."""
        print(f"epoch {epoch + 1}/{self.params['epochs']}  {_text(logs)}", flush=True)


class ProgressBar(Callback):
    """One tqdm bar over all batches, with the latest results, to standard error."""

    INTERVAL = 0.1  # seconds between updates: a step may take microseconds, drawing takes more
    FORMAT = "{desc} {percentage:3.0f}%|{bar:12}| {elapsed}<{remaining}{postfix}"
    FORMAT_WITHOUT_TOTAL = "{desc} {n_fmt} batches {elapsed}{postfix}"

    def __init__(self) -> None:
        self._bar: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins anew. The bar appears with the first epoch, which a run that goes on may be in the midst of."""
        self.close()
        self._shown: dict[str, Any] = {}  # validation results stay in sight during the next epoch
        self._epoch, self._batch = self.params["initial_epoch"], 0
        self._next = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Takes the number."""
        self._epoch, self._batch = epoch, 0
        if self._bar is None:
            self._draw({})

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Moves the bar, if it is time."""
        self._batch = batch + 1
        if time.monotonic() >= self._next:
            if self.loop is not None:
                self._epoch = self.loop.epoch
            self._draw(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Shows the results, if it is time."""
        self._shown.update(logs)
        self._epoch, self._batch = epoch, self.params["steps"] or self._batch
        if time.monotonic() >= self._next:
            self._draw(logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Shows the last results."""
        self._draw(logs or {})

    def close(self) -> None:
        """Leaves the bar as it is, on a line of its own."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, results: Logs) -> None:
        first, last, steps = self.params["initial_epoch"], self.params["epochs"], self.params["steps"]
        done = self._batch if steps is None else (self._epoch - first) * steps + self._batch
        description = f"epoch {self._epoch + 1}/{last}"
        if self._bar is None:
            tqdm = import_module("tqdm.notebook" if has_widgets() else "tqdm").tqdm
            self._bar = tqdm(
                total=steps and (last - first) * steps,
                desc=description,
                initial=done,  # what an earlier process has done counts for no speed
                bar_format=self.FORMAT if steps else self.FORMAT_WITHOUT_TOTAL,
            )
        self._shown.update(results)
        self._bar.set_description_str(description, refresh=False)
        self._bar.set_postfix_str(_text(self._shown) if self._shown else "", refresh=False)
        self._bar.n = done
        self._bar.refresh()
        self._next = time.monotonic() + self.INTERVAL
