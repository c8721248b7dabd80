"""Data and what a model makes of it: decision boundaries, pairs of features, fitted lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.predictions import check_lengths, classes_of, like
from ..autograd import no_grad
from ..checks import check_count
from ..labels import Array, as_array, labels_of
from ..ops import asarray
from ..tensor import Tensor
from .figure import INK, colour, drawing, grid, legend, marker, save, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["decision_boundary", "pair_plot", "regression"]

Names = Sequence[str] | None


def _predict(model: Any, rows: Array, like_x: Any, batch_size: int) -> Array:
    """The outputs for rows (n, …), batch by batch: of ``model.predict``, or of a function of what the user's x is."""
    outputs = []
    for start in range(0, len(rows), batch_size):
        part: Any = rows[start : start + batch_size]
        if isinstance(like_x, Tensor):
            part = asarray(part, dtype=like_x.dtype, device=like_x.device)
        with no_grad():
            outputs.append(as_array((model.predict if hasattr(model, "predict") else model)(part)))
    return np.concatenate(outputs)


def decision_boundary(
    model: Any,
    x: Any,
    y: Any,
    *,
    names: Names = None,
    axis_names: Names = None,
    threshold: float | None = None,
    resolution: int = 200,
    batch_size: int = 4096,
    ax: Axes | None = None,
    path: Any = None,
) -> Axes:
    """The regions where a model predicts each class, and the points x (n, 2) with their classes y on top.

    ``model`` has a method ``predict``, or is a function of a batch of x's kind: of tensors (no graph is recorded) if x
    is one, else of arrays. Its output has a column for each class, or one, for two classes: class 1 is where it is
    above ``threshold``, by default ½ if the outputs are probabilities (all from 0 to 1), else 0, for logits. Labels
    are understood too. The plane is cut into ``resolution``² places. ``names`` are the classes', ``axis_names`` the
    two features'. Raises ValueError unless x has two columns, a row for each y, and y are labels, one-hot rows or 0
    and 1.

    >>> import numpy as np, steep as st
    >>> x = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    >>> ax = st.plots.decision_boundary(lambda rows: rows[:, :1] - 0.5, x, [0, 1, 1])
    >>> ax.get_legend_handles_labels()[1]
    ['0', '1']
    """
    points, targets = as_array(x), as_array(y)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(
            f"decision_boundary: x has shape {points.shape}: it must be (samples, 2), two features to draw"
        )
    check_lengths("decision_boundary", points, targets)
    if not np.isfinite(points).all():
        raise ValueError("decision_boundary: x holds NaN or infinite values, which have no place: leave these rows out")
    labels = labels_of(targets)
    if labels is None:
        raise ValueError("decision_boundary: y must be labels, one-hot rows, or zeros and ones")
    low, high = points.min(0), points.max(0)
    margin = 0.08 * np.where(high > low, high - low, 1)
    check_count("decision_boundary: resolution", resolution, 2)
    across, up = (np.linspace(a, b, resolution) for a, b in zip(low - margin, high + margin, strict=True))
    dtype = points.dtype if points.dtype.kind == "f" else np.float64
    plane = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2).astype(dtype)
    regions = classes_of(_predict(model, plane, x, batch_size), threshold)
    classes, places = _classes(labels, regions)
    with drawing(ax, path, (5.4, 4.4)) as ax:
        numbers = places[len(labels) :].reshape(resolution, resolution)
        levels = np.arange(len(classes) + 1) - 0.5
        colours = [colour(i) for i in range(len(classes))]
        ax.contourf(across, up, numbers, levels, colors=colours, alpha=0.22)
        for i in range(len(classes) - 1):  # the lines between the regions
            ax.contour(across, up, numbers > i, [0.5], colors=INK, linewidths=1)
        _scatter(ax, points, places[: len(labels)], _names(names, classes))
        ax.set_xlim(across[0], across[-1])
        ax.set_ylim(up[0], up[-1])
        ax.set_xlabel(axis_names[0] if axis_names else "$x_0$")
        ax.set_ylabel(axis_names[1] if axis_names else "$x_1$")
        tidy(ax, lines=False)
        legend(ax)
    return ax


def _classes(labels: Array, *others: Array) -> tuple[Array, Array]:
    """All classes in order, and the place of each label among them; integers from 0 on have their own place."""
    every = np.concatenate([labels, *others])
    if every.dtype.kind in "biu" and len(every) and every.min() >= 0 and every.max() < 64:
        return np.arange(int(every.max()) + 1), every.astype(np.int64)
    return np.unique(every, return_inverse=True)


def _names(names: Names, classes: Array) -> list[str]:
    if names is None:
        return [str(label) for label in classes]
    if len(names) < len(classes):
        raise ValueError(f"names={list(names)} are {len(names)}, and there are {len(classes)} classes")
    return list(names)


def _scatter(ax: Axes, points: Array, places: Array, names: Sequence[str], size: float = 26) -> None:
    for i, name in enumerate(names):
        chosen = points[places == i]
        if len(chosen):
            look: Any = {"s": size, "color": colour(i), "marker": marker(i), "edgecolors": "white", "linewidths": 0.6}
            ax.scatter(chosen[:, 0], chosen[:, 1], label=name, **look)


def pair_plot(
    x: Any, y: Any = None, names: Names = None, *, classes: Names = None, ax: Any = None, path: Any = None
) -> Figure:
    """Every feature of x (n, k) against every other, with histograms on the diagonal; classes y in colours.

    ``names`` are the features', ``classes`` the names of the classes. ``ax`` are k·k axes. Returns the Figure. Raises
    ValueError unless x has two axes and y, if given, is a class for each row. Values that are not finite are left out.

    >>> import numpy as np, steep as st
    >>> figure = st.plots.pair_plot(np.random.default_rng(0).normal(size=(20, 3)), [0, 1] * 10)
    >>> len(figure.axes)
    9
    """
    data = as_array(x)
    if data.ndim != 2 or not data.size:
        raise ValueError(f"pair_plot: x has shape {data.shape}: it must be (samples, features), and not empty")
    data = np.where(np.isfinite(data), data, np.nan)
    labels: Array | None = np.zeros(len(data), np.int64)
    if y is not None:
        check_lengths("pair_plot", data, as_array(y))
        labels = labels_of(as_array(y))
    if labels is None:
        raise ValueError("pair_plot: y must be labels, one-hot rows, or zeros and ones")
    k = data.shape[1]
    found, places = _classes(labels)
    class_names = _names(classes, found)
    feature_names = list(names or (f"$x_{{{i}}}$" for i in range(k)))
    figure, axes = grid(k * k, k, ax, path, (2.1, 2.0))
    for row in range(k):
        for column in range(k):
            panel = axes[row * k + column]
            if row == column:
                there = np.isfinite(data[:, row])
                bins = np.histogram_bin_edges(data[there, row], 15).tolist()
                for i in range(len(found)):
                    panel.hist(data[there & (places == i), row], bins, color=colour(i), alpha=0.55)
            else:
                _scatter(panel, data[:, [column, row]], places, class_names, 14)
            tidy(panel, lines=False)
            if row == k - 1:
                panel.set_xlabel(feature_names[column])
            if column == 0:
                panel.set_ylabel(feature_names[row])
            panel.tick_params(labelsize="small")
    if y is not None and k > 1:
        handles, texts = axes[1].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside upper center", ncols=len(texts), frameon=False)
    if path is not None:
        save(figure, path)
    return figure


def regression(
    model: Any,
    x: Any,
    y: Any,
    *,
    validation_data: tuple[Any, Any] | None = None,
    names: Names = None,
    ax: Axes | None = None,
    path: Any = None,
) -> Axes:
    """The points (x, y) and the line that a model of one input and one output draws through them.

    ``model`` is what it is for ``decision_boundary``. The legend has the mean squared errors, of ``validation_data``
    = (x, y) too if it is given. ``names`` are those of x and y. Raises ValueError unless x is (n,) or (n, 1), and y has
    as many numbers.

    >>> import numpy as np, steep as st
    >>> x = np.linspace(0, 1, 5)
    >>> ax = st.plots.regression(lambda x: 2 * x, x, 2 * x + 0.1)
    >>> ax.get_legend_handles_labels()[1]
    ['training: error 0.01', 'model']
    """
    with drawing(ax, path) as ax:
        sets = [("training", x, y), *([] if validation_data is None else [("validation", *validation_data)])]
        inputs = []
        for i, (label, own_x, own_y) in enumerate(sets):
            rows, targets = as_array(own_x), as_array(own_y)
            check_lengths("regression", rows, targets)
            if rows.size != len(rows):
                raise ValueError(
                    f"regression: x has shape {rows.shape}: it must be (samples,) or (samples, 1), to draw"
                )
            error = float(np.mean((like(_predict(model, rows, own_x, 4096), targets) - targets) ** 2))
            look: Any = {"s": 28, "color": colour(i), "marker": marker(i), "edgecolors": "white", "linewidths": 0.6}
            ax.scatter(rows.reshape(-1), targets.reshape(-1), label=f"{label}: error {error:.3g}", zorder=3, **look)
            inputs.append(rows)
        ends = np.concatenate([rows.reshape(-1) for rows in inputs]).astype(np.float64)
        line = np.linspace(ends.min(), ends.max(), 400)
        shaped = line.reshape(-1, *[1] * (inputs[0].ndim - 1))
        dtype = inputs[0].dtype if inputs[0].dtype.kind == "f" else np.float64
        values = _predict(model, shaped.astype(dtype), x, 4096)
        ax.plot(line, values.reshape(-1), color=INK, linewidth=1.8, label="model", zorder=2)
        ax.set_xlabel(names[0] if names else "x")
        ax.set_ylabel(names[1] if names else "y")
        tidy(ax)
        legend(ax)
    return ax
