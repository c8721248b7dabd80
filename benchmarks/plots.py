"""Plots of a run's figures, by matplotlib, which is imported only when a plot is wanted."""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .report import BEST, BEST_TAPED, UNITS, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Plots", "available", "draw", "save_plots"]

Row = Mapping[str, Any]
Plots = dict[str, "Figure"]
INK = "#808080"  # for text and axes: readable on white and on black

# By Okabe and Ito: people who don't see all colours can tell them apart.
COLOURS = {
    "steep": "#009e73",
    "NumPy": "#0072b2",
    "PyTorch": "#d55e00",
    "PyTorch fused": "#e69f00",
    "torch.compile": "#cc79a7",
    "JAX": "#56b4e9",
}


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(rows: Sequence[Row]) -> Plots:
    """All plots that the rows allow, by title."""
    plots: Plots = {}
    for table in dict.fromkeys(row["table"] for row in rows):
        chosen = [row for row in rows if row["table"] == table and "steep" in row["seconds"]]
        if table == "programs":
            plots.update({row["name"]: _times(row) for row in chosen})
            continue
        for group in dict.fromkeys(row["group"] for row in chosen):
            members = [row for row in chosen if row["group"] == group and row["ratios"]]
            if members:
                plots[f"{group}: peers' time over steep's"] = _ratios(members)
    limited = [row for row in rows if row["of_limit"]]
    if limited:
        plots["how near to the machine's limit"] = _limits(limited)
    return plots


def _axes(lines: int, label: str) -> tuple[Figure, Axes]:
    """Horizontal axes for so many lines of text."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.22 * lines), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_xlabel(label, color=INK)
    axes.tick_params(colors=INK, which="both")
    for spine in axes.spines.values():
        spine.set_color(INK)
    axes.grid(axis="x", color=INK, alpha=0.25)
    axes.set_ylim(lines - 0.5, -0.5)
    return figure, axes


def _ratios(rows: Sequence[Row]) -> Figure:
    """A dot for each peer in each row, on a logarithmic axis."""
    figure, axes = _axes(len(rows), "times as long as steep: right of the line, steep is faster")
    peers = dict.fromkeys(name for row in rows for name in row["ratios"] if name not in (BEST, BEST_TAPED))
    for name in peers:
        points = [(row["ratios"][name], y) for y, row in enumerate(rows) if name in row["ratios"]]
        axes.scatter(*zip(*points, strict=True), s=22, label=name, color=COLOURS.get(name, INK), alpha=0.85)
    _logarithmic(axes)
    axes.axvline(1, color=COLOURS["steep"])
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    _legend(axes)
    return figure


def _limits(rows: Sequence[Row]) -> Figure:
    """The least time over the time that was taken, of all libraries."""
    figure, axes = _axes(len(rows), "the least time of this machine over the library's, in percent")
    for name in dict.fromkeys(name for row in rows for name in row["seconds"]):
        points = [
            (100 * row["floor"] / row["seconds"][name]["median"], y)
            for y, row in enumerate(rows)
            if name in row["seconds"]
        ]
        axes.scatter(*zip(*points, strict=True), s=22, label=name, color=COLOURS.get(name, INK), alpha=0.85)
    axes.axvline(100, color=INK)
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    _legend(axes)
    return figure


def _times(row: Row) -> Figure:
    """A dot for each library, on a logarithmic axis."""
    names = list(row["seconds"])
    figure, axes = _axes(len(names), row["unit"])
    times = [row["seconds"][name]["median"] * UNITS[row["unit"]] for name in names]
    axes.scatter(times, range(len(names)), s=30, color=[COLOURS.get(name, INK) for name in names])
    _logarithmic(axes)
    axes.set_yticks(range(len(names)), names)
    return figure


def _logarithmic(axes: Axes) -> None:
    """1, 2, 5, 10, 20, … in plain figures."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=6, frameon=False, labelcolor=INK, columnspacing=1)


def render(figure: Figure, kind: str) -> bytes:
    """The picture's bytes; ``kind`` is "svg" or "png". A png is on white, an svg on what is behind it."""
    buffer = io.BytesIO()
    background = {"facecolor": "white", "dpi": 150} if kind == "png" else {}
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, metadata=metadata, **background)
    return buffer.getvalue()


def save_plots(folder: Path, plots: Plots) -> None:
    """Writes each as a png. Raises OSError."""
    folder.mkdir(exist_ok=True)
    for title, figure in plots.items():
        name = re.sub(r"\W+", "-", title.replace("'", "")).strip("-").lower()
        write_file(folder / f"{name}.png", render(figure, "png"))
