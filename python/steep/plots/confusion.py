"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.predictions import check_lengths, classes_of
from ..labels import as_array, labels_of
from .figure import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["confusion_matrix"]


READABLE, LARGEST = 30, 1000  # classes with a text in each cell, and at all


def confusion_matrix(
    output: Any,
    target: Any,
    *,
    names: Sequence[str] | None = None,
    threshold: float | None = None,
    ax: Axes | None = None,
    path: Any = None,
) -> Axes:
    """How many samples of each class (rows) were taken for each class (columns), and their share of the row.

    ``output`` is a model's, as for ``decision_boundary``, or predicted labels; ``target`` are labels, one-hot rows, or
    zeros and ones. Raises ValueError if their lengths differ, for targets that are no classes, and for fewer names
    than classes. Of more than 30 classes only the colours are drawn, and of more than 1000 nothing: ValueError.

    >>> import steep as st
    >>> ax = st.plots.confusion_matrix([0, 1, 1, 1], [0, 0, 1, 1], names=["cat", "dog"])
    >>> [text.get_text() for text in ax.texts]
    ['1\\n50 %', '1\\n50 %', '0', '2\\n100 %']
    """
    outputs, targets = as_array(output), as_array(target)
    check_lengths("confusion_matrix", outputs, targets, ("output", "target"))
    labels, predicted = labels_of(targets), classes_of(outputs, threshold)
    if labels is None:
        raise ValueError(
            f"confusion_matrix(output, target): the target must be labels, one-hot rows, or zeros and ones, and has "
            f"{targets.dtype} numbers of shape {targets.shape}: are the two swapped?"
        )
    integers = labels.dtype.kind in "biu" and predicted.dtype.kind in "biu"
    if (
        integers and min(labels.min(), predicted.min()) >= 0 and max(labels.max(), predicted.max()) < LARGEST
    ):  # classes that nobody has count too
        columns = outputs.shape[1] if outputs.ndim == 2 else 0
        count = max(int(labels.max()) + 1, int(predicted.max()) + 1, columns, len(names or ()))
        classes, rows, taken = np.arange(count), labels.astype(np.int64), predicted.astype(np.int64)
    else:
        classes, places = np.unique(np.concatenate([labels, predicted]), return_inverse=True)
        rows, taken = places[: len(labels)], places[len(labels) :]
    n = len(classes)
    if n > LARGEST:
        raise ValueError(f"confusion_matrix: there are {n} classes, of which at most {LARGEST} can be drawn")
    if names is not None and len(names) < n:
        raise ValueError(f"confusion_matrix: names={list(names)} are {len(names)}, and there are {n} classes")
    counts = np.bincount(rows * n + taken, minlength=n * n).reshape(n, n)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with drawing(ax, path, (2.2 + 0.8 * min(n, READABLE), 1.7 + 0.65 * min(n, READABLE))) as ax:
        image = ax.imshow(shares, "Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(n, n) if n <= READABLE else ():
            text = f"{counts[i, j]}\n{100 * shares[i, j]:.0f} %" if counts[i, j] else "0"
            ink = "white" if shares[i, j] > 0.55 else "black"
            ax.text(j, i, text, ha="center", va="center", color=ink, fontsize="small" if n <= 12 else "x-small")
        texts = [str(name) for name in (classes if names is None else names[:n])]
        slanted = max(map(len, texts)) > 10
        shown = range(0, n, -(-n // READABLE))
        texts = [texts[i] for i in shown]
        ax.set_xticks(shown, texts, rotation=35 if slanted else 0, ha="right" if slanted else "center")
        ax.set_yticks(shown, texts)
        ax.set_xlabel("predicted class")
        ax.set_ylabel("true class")
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        bar = ax.figure.colorbar(image, ax=ax, label="share of the true class", shrink=0.85)
        bar.outline.set_visible(False)
    return ax
