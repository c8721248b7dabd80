"""Loss and metrics by epoch: after training, and while it goes on."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from ..callbacks import Callback, History
from ..callbacks.monitor import larger_is_better
from ..notebook import in_notebook
from .figure import DPI, INK, colour, epoch_axis, few_points, grid, legend, save, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LiveCurves", "training_curves"]


def training_curves(
    history: Mapping[str, Sequence[float]],
    names: Sequence[str] | None = None,
    *,
    monitor: str | None = "val_loss",
    ax: Any = None,
    path: Any = None,
) -> Figure:
    """Loss and metrics by epoch, training and validation, with a mark where validation was best.

    ``history`` is a History or a dict of lists; ``names`` are the quantities to draw, a panel each, by default all.
    What ``fit`` reports of training is a running mean over the epoch, while the model changed: it lags behind
    validation, which measures the model at the epoch's end, and so may start above it. The mark is at the best epoch of
    ``monitor``: the least, or, of accuracies and scores, the greatest; from there on the model overfits. ``ax`` are as
    many axes as panels. Returns the Figure. Raises ValueError for an empty history and names that are not in it.

    >>> import steep as st
    >>> history = {"loss": [0.9, 0.5, 0.3], "val_loss": [1.0, 0.6, 0.7]}
    >>> figure = st.plots.training_curves(history)
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training (running mean)', 'validation', 'best: epoch 2']
    """
    if not any(len(values) for values in history.values()):
        raise ValueError("training_curves: the history is empty: train the model first")
    names = list(names or _quantities(history))
    missing = [name for name in names if name not in history and f"val_{name}" not in history]
    if missing:
        raise ValueError(f"training_curves: {missing[0]!r} is not in the history, which has {', '.join(history)}")
    figure, axes = grid(len(names), 3, ax, path, (4.6, 3.5))
    _draw(history, names, monitor, axes)
    if path is not None:
        save(figure, path)
    return figure


def _quantities(history: Mapping[str, Sequence[float]]) -> list[str]:
    """What there is one number of for each epoch, training and validation under one name."""
    return list(dict.fromkeys(name.removeprefix("val_") for name in history if np.ndim(history[name]) == 1))


def _draw(
    history: Mapping[str, Sequence[float]], names: Sequence[str], monitor: str | None, axes: Sequence[Axes]
) -> None:
    best = _best(history, monitor)
    for name, panel in zip(names, axes, strict=True):
        validated = f"val_{name}" in history
        curves = {"training (running mean)" if validated or name == "loss" else name: name, "validation": f"val_{name}"}
        for i, (label, key) in enumerate(curves.items()):
            if key in history:
                epochs, values = _epochs(history)[-len(history[key]) :], history[key]
                marker = few_points(len(values))
                panel.plot(epochs, values, ("-", "--")[i], marker=marker, markersize=4, color=colour(i), label=label)
        if best is not None:
            panel.axvline(best, color=INK, linestyle=":", label=f"best: epoch {best}")
        epoch_axis(panel, _epochs(history)[0])
        panel.set_ylabel(name)
        tidy(panel)
        legend(panel)


def _epochs(history: Mapping[str, Sequence[float]]) -> Sequence[int]:
    """As they are shown: from 1 on. A shorter list, of what was not measured from the beginning, ends with the last."""
    return [number + 1 for number in getattr(history, "epoch", None) or range(max(map(len, history.values())))]


def _best(history: Mapping[str, Sequence[float]], monitor: str | None) -> int | None:
    """The epoch with the best value, if there are any."""
    if monitor is None or monitor not in history:
        return None
    values = np.array(history[monitor], np.float64)
    if not np.isfinite(values).any():
        return None
    if larger_is_better(monitor):
        values = -values
    return _epochs(history)[-len(values) :][int(np.nanargmin(np.where(np.isfinite(values), values, np.nan)))]


class LiveCurves(Callback):
    """Callback that draws ``training_curves`` while ``fit`` runs: in a notebook below the cell, and in ``path``.

    A new picture is drawn at the end of an epoch if the last one is at least ``interval`` seconds old (more if drawing
    takes more than a tenth of the time), and one at the end. The file is whole at any time: a viewer can follow it.
    ``beside`` draws one more panel, on the axes that it is given. Repeated fits go on; a compiled model starts anew.
    Raises ValueError outside a notebook without a ``path``.

    >>> import steep as st, tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "training.png")
    >>> curves = st.plots.LiveCurves(file, beside=lambda ax: ax.set_title("the model so far"))
    >>> curves.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.6})
    >>> curves.close()
    >>> file.exists()
    True
    """

    writes_files = True

    def __init__(
        self,
        path: Any = None,
        *,
        beside: Callable[[Any], object] | None = None,
        interval: float = 1.0,
        monitor: str | None = "val_loss",
    ) -> None:
        self.path = path
        self.beside = beside
        self.interval = interval
        self.monitor = monitor
        self.history = History()
        self._in_notebook = in_notebook()
        self._shown: Any = None  # the notebook's handle of the picture
        self._next = 0.0
        self._drawn = True  # the latest epoch
        if path is None and not self._in_notebook:
            raise ValueError(
                "LiveCurves: this is not a notebook: say in which file to draw, for example 'training.png'"
            )

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """Takes the results, and draws if it is time."""
        if self.history.epoch and epoch <= self.history.epoch[-1]:
            self.history = History()
        self.history.append(epoch, {name: float(value) for name, value in logs.items() if np.ndim(value) == 0})
        self._drawn = False
        if time.monotonic() >= self._next:
            self._draw()

    def close(self) -> None:
        """Draws what came after the last picture. The next ``fit`` in a notebook has a picture of its own."""
        if not self._drawn:
            self._draw()
        self._shown = None

    def state_dict(self) -> dict[str, Any]:
        """The epochs so far."""
        return self.history.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with them."""
        self.history.load_state_dict(state)

    def _draw(self) -> None:
        start = time.monotonic()
        names = _quantities(self.history)
        count = len(names) + (self.beside is not None)
        figure, axes = grid(count, 3, None, self.path or "", (4.6, 3.5))  # pyplot is not to hold it
        _draw(self.history, names, self.monitor, axes[: len(names)])
        if self.beside is not None:
            self.beside(axes[-1])
        if self.path is not None:
            save(figure, self.path)
        if self._in_notebook:
            self._show(figure)
        now = time.monotonic()
        self._next = now + max(self.interval, 9 * (now - start))
        self._drawn = True

    def _show(self, figure: Figure) -> None:
        notebook = import_module("IPython.display")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI / 2)
        picture = notebook.Image(data=buffer.getvalue())
        if self._shown is None:
            self._shown = notebook.display(picture, display_id=True)
        else:
            self._shown.update(picture)
