"""Small data sets that come with scikit-learn: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from .dataset import random_split
from .table import Table

__all__ = ["load", "load_digits28"]

Array = np.ndarray[Any, Any]
_NAMES = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")


def load(name: str) -> Table:
    """A data set by name: "iris", "digits", "wine", "breast_cancer" (classes), "diabetes", "linnerud" (numbers).

    They are scikit-learn's, in its order, which is often by class: split them by ``random_split``. x is float64
    (N, features), y int64 (N,), or float64 where it is no class. Raises ValueError for other names, ImportError where
    scikit-learn is not installed.

    >>> import steep as st
    >>> iris = st.data.load("iris")
    >>> x, y = iris
    >>> x.shape, iris.target_names
    ((150, 4), ('setosa', 'versicolor', 'virginica'))
    """
    if name not in _NAMES:
        hint = ""
        if "mnist" in str(name).lower():
            hint = (
                ". Nothing is downloaded: load_mnist(folder) reads MNIST's files, load_digits28() is in the same form"
            )
        raise ValueError(
            f"load: there is no data set {name!r}; there are {', '.join(_NAMES)}, and load_digits28(){hint}"
        )
    bunch = getattr(_sklearn(), f"load_{name}")()
    names = [str(name) for name in getattr(bunch, "target_names", ())]
    y = bunch.target.astype(np.int64) if bunch.target.dtype.kind in "iu" else bunch.target
    return Table(bunch.data, y, tuple(str(name) for name in bunch.feature_names), tuple(names))


def load_digits28() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Handwritten digits in MNIST's form, but not MNIST: (x_train, y_train), (x_test, y_test), as ``load_mnist``.

    They are scikit-learn's 1797 digits of 8×8 pixels (Alpaydin and Kaynak, 1998), enlarged to 20×20 by linear
    interpolation and set in the middle of 28×28, as MNIST's are: images of the right shape, range and dtype, without
    the detail of real ones. Images are uint8 (N, 28, 28), labels uint8 (N,); 1500 to train and 297 to test, always the
    same ones, with every class in proportion. Raises ImportError where scikit-learn is not installed.

    >>> import steep as st
    >>> (x_train, y_train), (x_test, y_test) = st.data.load_digits28()
    >>> x_train.shape, x_train.dtype, x_test.shape
    ((1500, 28, 28), dtype('uint8'), (297, 28, 28))
    """
    small, labels = _sklearn().load_digits(return_X_y=True)
    weights = _linear(8, 20)
    large = weights @ (small.reshape(-1, 8, 8) * (255 / 16)) @ weights.T
    images = np.pad(np.rint(large).astype(np.uint8), ((0, 0), (4, 4), (4, 4)))
    train, test = random_split(images, (1500, 297), seed=0, stratify=labels)
    classes = labels.astype(np.uint8)
    return (images[train.indices], classes[train.indices]), (images[test.indices], classes[test.indices])


def _linear(n: int, m: int) -> Array:
    """The matrix (m, n) that interpolates n pixels at the centres of m, and repeats the outermost beyond."""
    centres = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
    return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(n)))


def _sklearn() -> Any:
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError("steep.data: the bundled sets are scikit-learn's: pip install scikit-learn") from None
    return datasets
