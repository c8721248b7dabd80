"""What ``fit`` shows while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .means import Means

__all__ = ["Progress", "progress"]


def progress(verbose: int | str, first: int, last: int, steps: int) -> Progress:
    """The display for epochs ``first`` to ``last`` of ``steps`` batches each.

    ``verbose``: 0 for none, 1 for a progress bar, 2 for a line an epoch, "auto" for a bar in a terminal or notebook
    and lines elsewhere. Raises ValueError for anything else.
    """
    if verbose == "auto":
        verbose = 1 if (sys.stderr and sys.stderr.isatty()) or "ipykernel" in sys.modules else 2
    if verbose not in (0, 1, 2):
        raise ValueError(f"fit: verbose={verbose!r} must be 0 (silent), 1 (bar), 2 (a line an epoch) or 'auto'")
    return (Progress, Bar, Lines)[int(verbose)](first, last, steps)


def _text(results: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in results.items())


class Progress:
    """Shows nothing, and is what the others derive from."""

    def __init__(self, first: int, last: int, steps: int) -> None:
        self.first, self.last, self.steps = first, last, steps

    def step(self, means: Means) -> None:
        """A batch is done; ``means`` are the epoch's so far."""

    def epoch(self, epoch: int, results: Mapping[str, float]) -> None:
        """An epoch is done, with its results."""

    def close(self) -> None:
        """Training is over, or was interrupted."""


class Lines(Progress):
    """Prints a line an epoch, to standard output."""

    def epoch(self, epoch: int, results: Mapping[str, float]) -> None:
        """Prints the results."""
        print(f"epoch {epoch}/{self.last}  {_text(results)}", flush=True)


class Bar(Progress):
    """One tqdm bar over all batches, with the latest results, to standard error."""

    INTERVAL = 0.1  # seconds between updates: a step may take microseconds, drawing takes more
    FORMAT = "{desc} {percentage:3.0f}%|{bar:12}| {elapsed}<{remaining}{postfix}"

    def __init__(self, first: int, last: int, steps: int) -> None:
        super().__init__(first, last, steps)
        tqdm = import_module("tqdm.auto" if "ipykernel" in sys.modules else "tqdm").tqdm
        self._bar: Any = tqdm(total=(last - first + 1) * steps, desc=f"epoch {first}/{last}", bar_format=self.FORMAT)
        self._done = 0
        self._shown: dict[str, float] = {}  # validation results stay in sight during the next epoch
        self._next = time.monotonic() + self.INTERVAL

    def step(self, means: Means) -> None:
        """Moves the bar, if it is time."""
        self._done += 1
        if time.monotonic() >= self._next:
            self._draw(means.result())

    def epoch(self, epoch: int, results: Mapping[str, float]) -> None:
        """Shows the results, if it is time or the end."""
        if epoch == self.last or time.monotonic() >= self._next:
            self._draw(results)
        else:
            self._shown.update(results)

    def close(self) -> None:
        """Leaves the bar as it is, on a line of its own."""
        self._bar.close()

    def _draw(self, results: Mapping[str, float]) -> None:
        self._shown.update(results)
        epoch = self.first + (self._done - 1) // self.steps
        self._bar.set_description_str(f"epoch {epoch}/{self.last}", refresh=False)
        self._bar.set_postfix_str(_text(self._shown), refresh=False)
        self._bar.n = self._done
        self._bar.refresh()
        self._next = time.monotonic() + self.INTERVAL
