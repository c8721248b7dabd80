"""The pictures of ``steep.analysis``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .figure import INK, colour, drawing, legend, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..analysis import BiasVariance, LearningCurve, ValidationCurve
    from ..labels import Array

__all__ = ["error_curves", "error_parts"]


def error_curves(
    curve: LearningCurve | ValidationCurve, values: Sequence[Any], name: str, ax: Axes | None, path: Any
) -> Axes:
    """Training and validation error by ``values``; those that are not numbers stand in their order."""
    numbers = all(np.isscalar(value) and not isinstance(value, str | bool) for value in values)
    x = np.array(values, np.float64) if numbers else np.arange(len(values))
    order = np.argsort(x)
    with drawing(ax, path) as ax:
        for i, (label, errors) in enumerate((("training", curve.training), ("validation", curve.validation))):
            mean, least, most = errors.mean(1)[order], errors.min(1)[order], errors.max(1)[order]
            ax.plot(x[order], mean, "o-" if i == 0 else "s--", color=colour(i), markersize=4, label=label)
            if errors.shape[1] > 1:
                ax.fill_between(x[order], least, most, color=colour(i), alpha=0.15, linewidth=0)
        if not numbers:
            ax.set_xticks(x, [str(value) for value in values])
        elif _spans_decades(x):
            ax.set_xscale("log")
        if _spans_decades(np.stack([curve.training, curve.validation]).mean(2)):
            ax.set_yscale("log")
        ax.set_xlabel(name)
        ax.set_ylabel(curve.measure)
        tidy(ax)
        legend(ax)
    return ax


def _spans_decades(x: Array) -> bool:
    return bool(x.min() > 0 and x.max() >= 100 * x.min())


def error_parts(split: BiasVariance, ax: Axes | None, path: Any) -> Axes:
    """A bar for the error and each of its parts, with their values."""
    bars = {"error": split.error, **split.parts()}
    with drawing(ax, path, (5.4, 3.4)) as ax:
        drawn = ax.bar([name.replace(" ", "\n", 1) for name in bars], list(bars.values()), width=0.6)
        for i, bar in enumerate(drawn):
            bar.set_color(INK if i == 0 else colour(i - 1))
        ax.bar_label(drawn, [f"{value:.3g}" for value in bars.values()], padding=2, fontsize="small")
        ax.axhline(0, color=INK, linewidth=0.8)
        ax.margins(y=0.15)
        ax.set_ylabel("mean squared error" if split.loss == "squared" else "share of errors")
        tidy(ax)
        ax.grid(visible=False, axis="x")
    return ax
