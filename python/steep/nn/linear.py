"""The fully connected layer, of one input and of two."""

from __future__ import annotations

import math
from typing import Any

from .. import _core, autocasting, ops, random
from ..ops._apply import as_tensor
from ..ops.linalg import FUSED_ACTIVATIONS
from ..tensor import Parameter, Tensor
from .activations import activation_function
from .dry_run import Spec
from .module import Module, check_sizes

__all__ = ["Bilinear", "Linear"]


class Linear(Module):
    """activation(x @ weightᵀ + bias), for x of shape (…, in_features), giving (…, out_features).

    ``layer(x, residual)`` adds a tensor of the result's shape before the activation, in the same pass: what a network
    carries past its layers.

    ``weight`` is (out_features, in_features), ``bias`` (out_features,). Both start uniform in ±1/√in_features, as
    PyTorch's do (``kaiming_uniform_`` with a = √5). ``activation`` is a name ("relu", "sigmoid", "tanh", "gelu", …) or
    a function; the first three are computed in the same pass as the product. Numbers of another dtype are cast to the
    layer's. Raises ValueError if the last axis of x is not in_features, and for an unknown activation.

    ``weight_regularizer`` and ``bias_regularizer`` ("l1", "l2", or one of ``steep.nn.regularizers``) are penalties for
    ``regularization_loss``, ``weight_constraint`` and ``bias_constraint`` (of ``steep.nn.constraints``) bounds for
    ``apply_constraints``; ``fit`` uses both. ``regularize`` and ``constrain`` give any module such options.

    >>> import steep as st
    >>> layer = st.nn.Linear(3, 2, activation="tanh")
    >>> layer(st.ones(5, 3)).shape
    (5, 2)
    >>> st.nn.Linear(3, 2, weight_regularizer="l2", weight_constraint=st.nn.constraints.MaxNorm(3))
    Linear(in_features=3, out_features=2, bias=True, weight_regularizer=L2(0.01),
    weight_constraint=MaxNorm(max_value=3, axis=1))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        activation: Any = None,
        *,
        weight_regularizer: Any = None,
        bias_regularizer: Any = None,
        weight_constraint: Any = None,
        bias_constraint: Any = None,
    ) -> None:
        check_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.activation = activation
        bound = 1 / math.sqrt(in_features)
        self.weight = Parameter(random.uniform((out_features, in_features), -bound, bound))
        self.bias = Parameter(random.uniform((out_features,), -bound, bound)) if bias else None
        fused = activation is None or activation in FUSED_ACTIVATIONS
        self._fused: str | None = activation if fused else None
        self._then = None if fused else activation_function("Linear", activation)
        for name, regularizer in (("weight", weight_regularizer), ("bias", bias_regularizer)):
            if regularizer is not None:
                self.regularize(name, regularizer)
        for name, constraint in (("weight", weight_constraint), ("bias", bias_constraint)):
            if constraint is not None:
                self.constrain(name, constraint)

    def forward(self, x: Any, residual: Any = None) -> Tensor:
        """The layer's output for x (…, in_features), and a residual (…, out_features) if there is one."""
        weight = self.weight
        if not _core.suits(x, weight):
            x = self._admit(x)
        if residual is not None:
            residual = self._cast(as_tensor(residual, weight))
        y = _core.linear(x, weight, self.bias, self._fused, residual)
        return y if self._then is None else self._then(y)

    def _expects(self) -> Spec:
        return Spec((self.in_features,), self.weight.dtype)

    def _admit(self, x: Any) -> Tensor:
        rows = as_tensor(x, self._tensor_of("weight"))
        if rows.ndim == 0 or rows.shape[-1] != self.in_features:
            raise ValueError(
                f"{self._label()} (in_features={self.in_features}) got input of shape {rows.shape}: "
                f"its last axis must be {self.in_features}"
            )
        return self._cast(rows)

    def _cast(self, x: Tensor) -> Tensor:
        return x if autocasting.is_low(x) else x.astype(self.weight.dtype)

    def extra_repr(self) -> str:
        """The layer's sizes."""
        text = f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        if self.activation is None:
            return text
        return f"{text}, activation={getattr(self.activation, '__name__', repr(self.activation))}"


class Bilinear(Module):
    """aᵀ · weight[k] · b + bias[k] for inputs a (…, in1_features) and b (…, in2_features), giving (…, out_features).

    ``weight`` is (out_features, in1_features, in2_features), ``bias`` (out_features,). Both start uniform in
    ±1/√in1_features, as PyTorch's do. Raises ValueError for inputs of other shapes.

    >>> import steep as st
    >>> st.nn.Bilinear(3, 4, 2)(st.ones(5, 3), st.ones(5, 4)).shape
    (5, 2)
    """

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True) -> None:
        check_sizes("Bilinear", in1_features=in1_features, in2_features=in2_features, out_features=out_features)
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        bound = 1 / math.sqrt(in1_features)
        self.weight = Parameter(random.uniform((out_features, in1_features, in2_features), -bound, bound))
        self.bias = Parameter(random.uniform((out_features,), -bound, bound)) if bias else None

    def forward(self, a: Any, b: Any) -> Tensor:
        """The layer's output for a (…, in1_features) and b (…, in2_features)."""
        weight = self._tensor_of("weight")
        a, b = as_tensor(a, weight), as_tensor(b, weight)
        if a.shape[-1:] != (self.in1_features,) or b.shape[-1:] != (self.in2_features,) or a.shape[:-1] != b.shape[:-1]:
            raise ValueError(
                f"{self._label()} (in1_features={self.in1_features}, in2_features={self.in2_features}) got inputs of "
                f"shapes {a.shape} and {b.shape}: their last axes must be {self.in1_features} and "
                f"{self.in2_features}, the others equal"
            )
        return ops.bilinear(a.astype(weight.dtype), b.astype(weight.dtype), weight, self.bias)

    def extra_repr(self) -> str:
        """The layer's sizes."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
