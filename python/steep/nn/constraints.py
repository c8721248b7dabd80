"""Bounds on weights, which are held to them after every step of the optimizer.

A constraint is called with a parameter and returns what it is to become, a tensor of its shape; any such function is
one. ``fit`` applies what is registered by itself; a loop of one's own does after the optimizer's step::

    layer = st.nn.Linear(64, 10, weight_constraint=st.nn.constraints.MaxNorm(2.0))
    optimizer.step()
    model.apply_constraints()

Norms are over the weights that come into a unit. Linear's weight is (out_features, in_features), so that they are
along ``axis`` 1, where Keras, whose kernels are (in, out), has 0; give the axes of other weights, or 0 for a bias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..checks import check_number
from ..ops import clip, maximum, vector_norm
from ..tensor import Tensor
from .regularizers import named_function
from .utils import wide

__all__ = ["MaxNorm", "MinMaxNorm", "NonNegative", "UnitNorm"]

Axis = int | tuple[int, ...]
SMALLEST = 1e-7  # of a norm that is divided by: Keras' epsilon


class NonNegative:
    """max(w, 0). Also by the name "non_negative".

    >>> import steep as st
    >>> st.nn.constraints.NonNegative()(st.tensor([1.0, -2.0]))
    tensor([1., 0.])
    """

    def __call__(self, w: Tensor) -> Tensor:
        return clip(w, min=0.0)

    def __repr__(self) -> str:
        return "NonNegative()"


class MaxNorm:
    """w · min(1, max_value / ‖w‖): norms along ``axis`` are at most ``max_value``. Also by the name "max_norm".

    Weights within the bound keep their bits.

    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting". Raises ValueError
    unless max_value is above 0.

    >>> import steep as st
    >>> st.nn.constraints.MaxNorm(1.0)(st.tensor([[3.0, 4.0], [0.0, 0.5]]))
    tensor([[0.6, 0.8],
            [0. , 0.5]])
    """

    def __init__(self, max_value: float = 2, axis: Axis = 1) -> None:
        self.max_value = check_number("MaxNorm: max_value", max_value, open_low=True)
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        return _scaled(w, self.axis, lambda norms: clip(self.max_value / norms, max=1.0))

    def __repr__(self) -> str:
        return f"MaxNorm(max_value={self.max_value}, axis={self.axis})"


class UnitNorm:
    """w / ‖w‖: norms along ``axis`` are 1, but for those below 1e-7. Also by the name "unit_norm".

    >>> import steep as st
    >>> st.nn.constraints.UnitNorm()(st.tensor([[3.0, 4.0], [0.0, 0.5]]))
    tensor([[0.6, 0.8],
            [0. , 1. ]])
    """

    def __init__(self, axis: Axis = 1) -> None:
        self.axis = axis

    def __call__(self, w: Tensor) -> Tensor:
        return _scaled(w, self.axis, lambda norms: 1 / maximum(norms, SMALLEST))

    def __repr__(self) -> str:
        return f"UnitNorm(axis={self.axis})"


class MinMaxNorm:
    """Norms along ``axis`` come between ``min_value`` and ``max_value``, by a share ``rate`` of what is missing.

    w · (rate · clip(‖w‖, min_value, max_value) + (1 − rate) · ‖w‖) / ‖w‖: Keras' formula; with rate 1 they are there at
    once. Norms below 1e-7 stay small. Also by the name "min_max_norm". Raises ValueError for min_value > max_value, a
    negative one, and a rate that is not between 0 and 1.

    >>> import steep as st
    >>> st.nn.constraints.MinMaxNorm(1.0, 2.5)(st.tensor([[3.0, 4.0], [0.0, 0.5]]))
    tensor([[1.5, 2. ],
            [0. , 1. ]])
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 1) -> None:
        self.min_value = check_number("MinMaxNorm: min_value", min_value)
        self.max_value = check_number("MinMaxNorm: max_value", max_value)
        self.rate = check_number("MinMaxNorm: rate", rate, high=1.0)
        self.axis = axis
        if min_value > max_value:
            raise ValueError(f"MinMaxNorm: min_value={min_value} must not be above max_value={max_value}")

    def __call__(self, w: Tensor) -> Tensor:
        return _scaled(w, self.axis, self._factor)

    def _factor(self, norms: Tensor) -> Tensor:
        wanted = self.rate * clip(norms, self.min_value, self.max_value) + (1 - self.rate) * norms
        return wanted / maximum(norms, SMALLEST)

    def __repr__(self) -> str:
        return f"MinMaxNorm(min_value={self.min_value}, max_value={self.max_value}, rate={self.rate}, axis={self.axis})"


def _scaled(w: Tensor, axis: Axis, factor: Callable[[Tensor], Tensor]) -> Tensor:
    """``w`` times a factor for each norm along ``axis``."""
    x = wide(w)
    return (x * factor(vector_norm(x, axis=axis, keepdims=True))).astype(w.dtype)


def constraint_function(owner: str, constraint: Any) -> Callable[[Tensor], Tensor]:
    """What the name of a constraint, or a function, means."""
    names = {"max_norm": MaxNorm, "min_max_norm": MinMaxNorm, "non_negative": NonNegative, "unit_norm": UnitNorm}
    return named_function(owner, "constraint", constraint, names)
