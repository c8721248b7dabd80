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
    """The display of ``fit``: for 0 none, for 1 a bar, for 2 a line an epoch, for "auto" a bar in a terminal or
    notebook and lines elsewhere. Raises ValueError for anything else.
    """
    level = _level(verbose)
    return [ProgressBar()] if level == 1 else [ProgressLines()] if level == 2 else []


def batch_display(what: str, verbose: int | str, steps: int | None) -> list[Callback]:
    """That of ``evaluate`` and ``predict``: none, a bar over the batches, or a line of results."""
    level = _level(verbose)
    return [BatchBar(what, steps)] if level == 1 else [ResultLine(what)] if level == 2 else []


def _level(verbose: int | str) -> int:
    if verbose == "auto":
        return 1 if (sys.stderr and sys.stderr.isatty()) or in_notebook() else 2
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose={verbose!r} must be 0 (silent), 1 (bar), 2 (a line an epoch) or 'auto'")
    return int(verbose)


def _tqdm() -> Any:
    return import_module("tqdm.notebook" if has_widgets() else "tqdm").tqdm


def _numbers(results: Mapping[str, Any]) -> dict[str, str]:
    return {name: f"{name} {value:.4g}" for name, value in results.items() if isinstance(value, Real)}


def _text(results: Mapping[str, Any]) -> str:
    """The numbers, those of training labelled as what they are: means over an epoch in which the model changes."""
    numbers = _numbers(results)
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
            self._bar = _tqdm()(
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


class ResultLine(Callback):
    """Prints the results of ``evaluate`` to standard output."""

    def __init__(self, what: str) -> None:
        self.what = what

    def on_test_end(self, logs: Logs) -> None:
        """Prints them."""
        print(f"{self.what}  {'  '.join(_numbers(logs).values())}", flush=True)


class BatchBar(Callback):
    """A tqdm bar over the batches of ``evaluate`` or ``predict``, to standard error."""

    def __init__(self, what: str, steps: int | None) -> None:
        self._bar = _tqdm()(total=steps, desc=what)

    def on_test_batch_end(self, batch: int, logs: Logs) -> None:
        """Moves it."""
        self._bar.update()

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Moves it."""
        self._bar.update()

    def on_test_end(self, logs: Logs) -> None:
        """Shows the results."""
        self._bar.set_postfix_str("  ".join(_numbers(logs).values()))

    def close(self) -> None:
        """Leaves it as it is."""
        self._bar.close()
