"""How large a model's weights are, and how they grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..callbacks import Callback
from ..labels import as_array
from .figure import INK, colour, drawing, epoch_axis, few_points, grid, legend, save, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..nn import Module

__all__ = ["WeightMonitor", "max_weights", "weight_histograms"]

LINES = ("-", "--", "-.", ":")


class WeightMonitor(Callback):
    """Callback that keeps, for each parameter and epoch, max |w| in ``largest`` and √Σw² in ``norm``.

    Both are dicts of lists by the parameter's path; ``epoch`` are the epochs' numbers, from 0. Growing weights are a
    sign of overfitting. ``plots.max_weights`` draws them.

    >>> import steep as st
    >>> model = st.nn.Linear(2, 1)
    >>> _ = st.nn.init.constant_(model.weight, -3.0)
    >>> monitor = st.plots.WeightMonitor()
    >>> monitor.set_model(model)
    >>> monitor.on_epoch_end(0, {})
    >>> monitor.largest["weight"], round(monitor.norm["weight"][0], 3)
    ([3.0], 4.243)
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.largest: dict[str, list[float]] = {}
        self.norm: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """Measures all parameters. An epoch before the last one begins a new record."""
        if self.epoch and epoch <= self.epoch[-1]:
            self.epoch, self.largest, self.norm = [], {}, {}
        self.epoch.append(epoch)
        for name, parameter in self.model.named_parameters():
            values = as_array(parameter).astype(np.float64, copy=False)
            self.largest.setdefault(name, []).append(float(np.abs(values).max(initial=0)))
            self.norm.setdefault(name, []).append(float(np.sqrt((values**2).sum())))

    def state_dict(self) -> dict[str, Any]:
        """The record."""
        record = {"largest": self.largest, "norm": self.norm}
        copies = {key: {name: [*values] for name, values in lists.items()} for key, lists in record.items()}
        return {"epoch": [*self.epoch], **copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with it."""
        self.epoch = [*state["epoch"]]
        self.largest, self.norm = ({name: [*v] for name, v in state[key].items()} for key in ("largest", "norm"))


def max_weights(
    monitor: WeightMonitor, names: Sequence[str] | None = None, *, ax: Axes | None = None, path: Any = None
) -> Axes:
    """max |w| of each parameter by epoch, as a WeightMonitor recorded it: the weights, by default, without biases.

    Raises ValueError before the first epoch and for unknown names.

    >>> import steep as st
    >>> monitor = st.plots.WeightMonitor()
    >>> monitor.set_model(st.nn.Sequential(st.nn.Linear(2, 3), st.nn.Linear(3, 1)))
    >>> monitor.on_epoch_end(0, {})
    >>> [line.get_label() for line in st.plots.max_weights(monitor).lines]
    ['0.weight', '1.weight']
    """
    if not isinstance(monitor, WeightMonitor):
        raise TypeError(
            f"max_weights: expected the WeightMonitor that fit was given, not a {type(monitor).__name__}; "
            "weight_histograms(model) draws a model's weights as they are"
        )
    if not monitor.epoch:
        raise ValueError("max_weights: the monitor has seen no epoch: give it to fit, callbacks=[monitor]")
    chosen = list(names or [name for name in monitor.largest if not name.endswith("bias")] or monitor.largest)
    unknown = [name for name in chosen if name not in monitor.largest]
    if unknown:
        raise ValueError(f"max_weights: there is no parameter {unknown[0]!r}; there are {', '.join(monitor.largest)}")
    with drawing(ax, path) as ax:
        for i, name in enumerate(chosen):
            values = monitor.largest[name]
            epochs = [epoch + 1 for epoch in monitor.epoch[-len(values) :]]
            marker = few_points(len(values))
            look: Any = {"marker": marker, "markersize": 4, "color": colour(i), "label": name}
            (line,) = ax.plot(epochs, values, LINES[i // 7 % 4], **look)
            line.sticky_edges.y.append(0)  # no margin below it; a limit that is set would keep the top where it is now
        ax.update_datalim([(monitor.epoch[0] + 1, 0)])
        ax.autoscale_view()
        epoch_axis(ax, monitor.epoch[0] + 1)
        ax.set_ylabel("max |w|")
        tidy(ax)
        legend(ax)
    return ax


def weight_histograms(model: Module, *, bins: int | None = None, ax: Any = None, path: Any = None) -> Figure:
    """A histogram of each parameter's values, with its shape and max |w|. Returns the Figure.

    There are more ``bins`` for more values, unless their number is given.
    ``ax`` are as many axes as parameters. Values that are not finite are counted in the title and left out. Raises
    ValueError for a model without parameters.

    >>> import steep as st
    >>> figure = st.plots.weight_histograms(st.nn.Linear(2, 3))
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['weight (3, 2)', 'bias (3,)']
    """
    parameters = {name: as_array(parameter).astype(np.float64) for name, parameter in model.named_parameters()}
    if not parameters:
        raise ValueError(f"weight_histograms: {type(model).__name__} has no parameters")
    figure, axes = grid(len(parameters), 2 if len(parameters) < 5 else 4, ax, path, (3.1, 2.4))
    for (name, values), panel in zip(parameters.items(), axes, strict=True):
        finite = values[np.isfinite(values)]
        lost = values.size - finite.size
        panel.hist(finite, bins or int(np.clip(2 * np.sqrt(finite.size), 5, 60)), color=colour(0))
        panel.axvline(0, color=INK, linewidth=0.8)
        panel.set_title(
            f"{name} {values.shape}" + (f", {lost} not finite" if lost else ""), loc="left", fontsize="small"
        )
        if finite.size:
            panel.set_xlabel(f"max |w| = {np.abs(finite).max():.3g}", fontsize="small", color=INK)
        tidy(panel)
        panel.tick_params(labelsize="small")
    if path is not None:
        save(figure, path)
    return figure
