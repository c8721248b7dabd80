"""Pictures of training, data, models and graphs, by matplotlib, which is imported when the first one is drawn.

Functions draw on ``ax`` if it is given, and return it; else on a figure of their own. With ``path`` the picture is
written to that file (.png, .svg, .pdf, whole or not at all), and pyplot doesn't hold the figure: nothing opens, and
nothing piles up in a loop. They never call ``plt.show()``. The colours are Okabe and Ito's, which people who don't see
all colours can tell apart. Raises ImportError, with what to install, where there is no matplotlib.
"""

from typing import Any

from .. import hints
from .boundaries import decision_boundary, pair_plot, regression
from .confusion import confusion_matrix
from .curves import LiveCurves, training_curves
from .graph import Graph, computational_graph
from .weights import WeightMonitor, max_weights, weight_histograms

__all__ = [
    "Graph",
    "LiveCurves",
    "WeightMonitor",
    "computational_graph",
    "confusion_matrix",
    "decision_boundary",
    "max_weights",
    "pair_plot",
    "regression",
    "training_curves",
    "weight_histograms",
]


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hints.of(hints.PLOTS, name)}")
