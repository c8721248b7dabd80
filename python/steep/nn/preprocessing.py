"""Layers that bring data to a common scale, which they learn from the training data before training."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dtypes, ops
from ..ops._apply import as_tensor
from ..stack import level_outside
from ..tensor import Tensor
from .module import Module

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MinMaxScaling", "Normalization"]

Array = np.ndarray[Any, Any]


class _Adapted(Module):
    """What both layers have in common: (x − subtracted) · factor, whose numbers ``adapt`` finds for each feature."""

    axis: tuple[int, ...] | None
    _used = False  # it has scaled data with the numbers that it has

    def _initialise(self, axis: int | tuple[int, ...] | None, first: str, second: str) -> None:
        self.axis = (axis,) if isinstance(axis, int) else axis
        self._fitted_names = frozenset((first, second))
        for name in (first, second):
            self.register_buffer(name, ops.zeros(0))  # not adapted yet

    def _measured(self, data: Any) -> tuple[Array, tuple[int, ...]]:
        """The data in float64, and the axes that its statistics go over."""
        x = np.asarray(as_tensor(data, None, dtypes.float64).detach().astype(dtypes.float64))
        if x.ndim == 0 or x.size == 0:
            raise ValueError(f"{self._label()}.adapt got data of shape {x.shape}: it needs the training samples")
        kept = () if self.axis is None else ops.manipulation.as_axes(f"{self._label()}.adapt", self.axis, x.ndim)
        if 0 in kept:
            raise ValueError(
                f"{self._label()} (axis={self._shown()}) got data of shape {x.shape}: axis 0 counts the samples, and "
                "is none of the features. Give a single feature as (N, 1), or take axis=None: one scale for all numbers"
            )
        if not np.isfinite(x).all():
            row = int(np.argwhere(~np.isfinite(x))[0, 0])
            raise ValueError(
                f"{self._label()}.adapt: the data has {np.count_nonzero(~np.isfinite(x))} values of NaN or inf, the "
                f"first in sample {row}: fill them in or leave those samples out"
            )
        return x, tuple(i for i in range(x.ndim) if i not in kept)

    def _keep(self, **statistics: Array) -> None:
        """Replaces the buffers; the values have an axis of 1 sample. Warns if that changes what was in use."""
        changed = False
        for name, values in statistics.items():
            old = getattr(self, name)
            new = ops.tensor(values[0], old.dtype, old.device)
            changed = changed or new.shape != old.shape or not bool(ops.equal(new, old).all())
            setattr(self, name, new)
        if self._used and changed:
            warnings.warn(
                f"{self._label()}.adapt: the layer has already scaled data, and now scales by other numbers: what was "
                "trained behind it no longer fits. Adapt it once, to the training data, and use it as it is for "
                "validation and test data; for another model make another layer",
                stacklevel=level_outside(),
            )
        self._used = False

    def _admitted(self, x: Any, statistic: Tensor) -> Tensor:
        """x in the dtype of the statistics. Raises RuntimeError before ``adapt``, ValueError for other features."""
        if statistic.size == 0:
            raise RuntimeError(
                f"{self._label()} has not seen data yet: call its adapt(x_train) before training, with the training "
                "data alone, so that nothing of the validation and test data gets into the model"
            )
        x = as_tensor(x, statistic, statistic.dtype)
        features = statistic.shape
        there = x.shape[max(x.ndim - len(features), 0) :]
        if len(there) < len(features) or any(n not in (1, m) for n, m in zip(features, there, strict=True)):
            raise ValueError(
                f"{self._label()} got input of shape {x.shape}: it was adapted to samples with features of shape "
                f"{features}, along the last axes"
            )
        if not self._used:
            self._used = True
        return x.astype(statistic.dtype)

    def _shown(self) -> Any:
        return self.axis[0] if self.axis is not None and len(self.axis) == 1 else self.axis

    def extra_repr(self) -> str:
        """The axis of the features."""
        return f"axis={self._shown()}"


class Normalization(_Adapted):
    """(x − mean) / √(variance + eps), with the mean and the variance of each feature in the training data.

    ``adapt(x_train)`` finds them, once, before training: call it with the training data only, as numbers that come from
    the validation or test data would make the model look better than it is. Later data is normalised with the same
    numbers. As the first layer of a model they are saved with it, as the buffers ``mean`` and ``variance``; a model
    that is not adapted yet takes them by ``load_state_dict``.

    Features are along ``axis``, or several axes; all others are averaged over. With axis=None all numbers have one mean
    and variance. A feature that is constant in the training data is only centred. As Keras's layer of that name, whose
    variance is the biased one, too.

    Raises RuntimeError before ``adapt``, ValueError for data of other features.

    >>> import steep as st
    >>> normalization = st.nn.Normalization()
    >>> normalization.adapt([[1.0, 10.0], [3.0, 30.0]])
    Normalization(axis=-1, eps=0.0)
    >>> normalization([[1.0, 20.0], [4.0, 40.0]])
    tensor([[-1.,  0.],
            [ 2.,  2.]])
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, axis: int | tuple[int, ...] | None = -1, eps: float = 0.0) -> None:
        if not eps >= 0:
            raise ValueError(f"Normalization: eps={eps} must not be negative")
        self.eps = eps
        self._initialise(axis, "mean", "variance")

    def adapt(self, data: Any) -> Self:
        """Takes mean and variance from the training data, and forgets those from before. Returns the layer.

        Warns if the layer was in use with other numbers. Raises ValueError for no data, NaN or inf, and where axis 0,
        of the samples, would be one of features.
        """
        x, over = self._measured(data)
        mean = x.mean(over, keepdims=True)
        # Rounded means leave constants a variance of about 1e-32, by which nothing must be divided.
        constant = x.max(over, keepdims=True) == x.min(over, keepdims=True)
        self._keep(mean=mean, variance=np.where(constant, 0, np.square(x - mean).mean(over, keepdims=True)))
        return self

    def forward(self, x: Any) -> Tensor:
        """The normalised x, of x's shape, in the dtype of ``mean``."""
        x = self._admitted(x, self.mean)
        divisor = ops.sqrt(self.variance + self.eps)
        return (x - self.mean) / ops.where(divisor == 0, 1, divisor)

    def extra_repr(self) -> str:
        """The axis of the features, and eps."""
        return f"{super().extra_repr()}, eps={self.eps}"


class MinMaxScaling(_Adapted):
    """x moved and scaled so that each feature of the training data goes from ``low`` to ``high``, by default 0 to 1.

    ``adapt(x_train)`` finds the least and the greatest value of each feature, the buffers ``minimum`` and ``maximum``:
    call it with the training data only, see ``Normalization``. Later data may leave the range. A feature that is
    constant in the training data becomes ``low``, if it stays so. ``axis`` as for ``Normalization``.

    Raises RuntimeError before ``adapt``, ValueError for data of other features.

    >>> import steep as st
    >>> st.nn.MinMaxScaling().adapt([[0.0], [4.0]])([[1.0], [6.0]])
    tensor([[0.25],
            [1.5 ]])
    """

    minimum: Tensor
    maximum: Tensor

    def __init__(self, axis: int | tuple[int, ...] | None = -1, low: float = 0.0, high: float = 1.0) -> None:
        if not (low < high and math.isfinite(high - low)):
            raise ValueError(f"MinMaxScaling: low={low} must be less than high={high}")
        self.low = low
        self.high = high
        self._initialise(axis, "minimum", "maximum")

    def adapt(self, data: Any) -> Self:
        """Takes the ranges from the training data, and forgets those from before. Returns the layer.

        Warns if the layer was in use with other numbers. Raises ValueError for no data, NaN or inf, and where axis 0,
        of the samples, would be one of features.
        """
        x, over = self._measured(data)
        self._keep(minimum=x.min(over, keepdims=True), maximum=x.max(over, keepdims=True))
        return self

    def forward(self, x: Any) -> Tensor:
        """The scaled x, of x's shape, in the dtype of ``minimum``."""
        x = self._admitted(x, self.minimum)
        extent = self.maximum - self.minimum
        return (x - self.minimum) / ops.where(extent == 0, 1, extent) * (self.high - self.low) + self.low

    def extra_repr(self) -> str:
        """The axis of the features, and the range."""
        return f"{super().extra_repr()}, low={self.low}, high={self.high}"
