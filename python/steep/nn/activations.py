"""Activation functions as modules, and by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..checks import check_real
from ..tensor import Tensor
from .module import Module

__all__ = [
    "ELU",
    "GELU",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]

FUNCTIONS: dict[str, Callable[[Any], Tensor]] = {
    "relu": ops.relu,
    "leaky_relu": ops.leaky_relu,
    "elu": ops.elu,
    "gelu": ops.gelu,
    "silu": ops.silu,
    "softplus": ops.softplus,
    "sigmoid": ops.sigmoid,
    "log_sigmoid": ops.log_sigmoid,
    "tanh": ops.tanh,
    "softmax": ops.softmax,
    "log_softmax": ops.log_softmax,
}


def activation_function(layer: str, activation: Any) -> Callable[[Any], Tensor]:
    """The function that ``activation`` names, or is. Raises ValueError, naming ``layer``, for anything else."""
    if isinstance(activation, str) and activation in FUNCTIONS:
        return FUNCTIONS[activation]
    if callable(activation) and not isinstance(activation, type | Module):
        function: Callable[[Any], Tensor] = activation
        return function
    raise ValueError(
        f"{layer}: activation={activation!r} must be None, a function or one of {', '.join(FUNCTIONS)}; "
        "a module stands behind the layer in a Sequential"
    )


class ReLU(Module):
    """max(x, 0), elementwise: see ``steep.relu``."""

    def forward(self, x: Any) -> Tensor:
        """relu(x), of x's shape."""
        return ops.relu(x)


class LeakyReLU(Module):
    """x where positive, negative_slope · x elsewhere: see ``steep.leaky_relu``."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        check_real("LeakyReLU: negative_slope", negative_slope)
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Tensor:
        """leaky_relu(x), of x's shape."""
        return ops.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """The slope."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """x where positive, alpha · (eˣ − 1) elsewhere: see ``steep.elu``."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Tensor:
        """elu(x), of x's shape."""
        return ops.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """The factor."""
        return f"alpha={self.alpha}"


class GELU(Module):
    """x · Φ(x): see ``steep.gelu``. ``approximate`` is "none" or "tanh"."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        """gelu(x), of x's shape."""
        return ops.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """The approximation."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x · sigmoid(x), elementwise: see ``steep.silu``."""

    def forward(self, x: Any) -> Tensor:
        """silu(x), of x's shape."""
        return ops.silu(x)


class Softplus(Module):
    """log(1 + eˣ), elementwise: see ``steep.softplus``."""

    def forward(self, x: Any) -> Tensor:
        """softplus(x), of x's shape."""
        return ops.softplus(x)


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ), elementwise: see ``steep.sigmoid``."""

    def forward(self, x: Any) -> Tensor:
        """sigmoid(x), of x's shape."""
        return ops.sigmoid(x)


class LogSigmoid(Module):
    """log(sigmoid(x)), elementwise: see ``steep.log_sigmoid``."""

    def forward(self, x: Any) -> Tensor:
        """log_sigmoid(x), of x's shape."""
        return ops.log_sigmoid(x)


class Tanh(Module):
    """Hyperbolic tangent, elementwise: see ``steep.tanh``."""

    def forward(self, x: Any) -> Tensor:
        """tanh(x), of x's shape."""
        return ops.tanh(x)


class Softmax(Module):
    """eˣ / Σ eˣ along ``axis``: see ``steep.softmax``. Losses that take logits apply it themselves."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        """softmax(x), of x's shape."""
        return ops.softmax(x, self.axis)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


class LogSoftmax(Module):
    """log(softmax(x)) along ``axis``: see ``steep.log_softmax``."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        """log_softmax(x), of x's shape."""
        return ops.log_softmax(x, self.axis)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"
