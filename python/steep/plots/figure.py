"""What all pictures share: figures, colours, and writing files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "DPI",
    "INK",
    "MARKERS",
    "colour",
    "drawing",
    "epoch_axis",
    "few_points",
    "grid",
    "legend",
    "marker",
    "save",
    "tidy",
]

# By Okabe and Ito, "Color Universal Design", 2008, without the yellow, which is too light on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX"
INK = "#666666"  # of lines that are no data
DPI = 144


def colour(i: int) -> str:
    """The colour of class or line i; they repeat."""
    return COLOURS[i % len(COLOURS)]


def marker(i: int) -> str:
    """The marker of class i."""
    return MARKERS[i % len(MARKERS)]


@contextmanager
def drawing(ax: Axes | None, path: Any, size: tuple[float, float] = (5.4, 4.0)) -> Iterator[Axes]:
    """The axes to draw on; afterwards their figure is written to ``path``."""
    if ax is None:
        ax = _new_figure(path, size).add_subplot()
    yield ax
    if path is not None:
        save(ax.figure, path)


def grid(count: int, columns: int, ax: Any, path: Any, size: tuple[float, float]) -> tuple[Figure, Sequence[Axes]]:
    """The figure and ``count`` axes: new ones in rows of so many columns, each of a ``size``, or those in ``ax``."""
    if ax is not None:
        axes = list(np.asarray(ax, dtype=object).reshape(-1))
        if len(axes) != count:
            raise ValueError(f"there are {count} panels, and {len(axes)} axes to draw them on")
        return axes[0].figure, axes
    columns = min(count, columns)
    rows = -(-count // columns)
    figure = _new_figure(path, (size[0] * columns, size[1] * rows))
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def _new_figure(path: Any, size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("steep.plots needs matplotlib: pip install matplotlib") from error
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    if path is not None:
        return Figure(figsize=size, layout=layout)
    import matplotlib.pyplot as plt

    return plt.figure(figsize=size, layout=layout)


def tidy(ax: Axes, lines: bool = True) -> None:
    """A frame on two sides only, and light lines at the ticks."""
    ax.spines[["top", "right"]].set_visible(False)
    if lines:
        ax.grid(color=INK, alpha=0.2, linewidth=0.7)
        ax.set_axisbelow(True)


def epoch_axis(ax: Axes, first: int) -> None:
    """The horizontal axis counts epochs, from the first on: whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlim(left=first - 0.5)


def few_points(count: int) -> str:
    """The marker of a line through so many points: none if they are many."""
    return "o" if count <= 20 else ""


def legend(ax: Axes, **options: Any) -> None:
    """A legend with a light ground, so that it can be read above lines."""
    ax.legend(**{"fontsize": "small", "framealpha": 0.85, "edgecolor": "none", **options})


def save(figure: Any, path: Any) -> None:
    """Writes the figure in the format of the path's ending, PNG if it has none."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=Path(path).suffix[1:] or "png", dpi=DPI)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
