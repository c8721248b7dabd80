"""Matrix products."""

from __future__ import annotations

import math
from typing import Any

from .. import _core
from .._core import is_recording, record, record_binary
from ..tensor import Tensor
from . import manipulation, reduction
from ._apply import UNARY, as_tensor

__all__ = [
    "linear",
    "matmul",
]

READS_A, READS_B = 1, 2
FUSED_ACTIVATIONS = ("relu", "sigmoid", "tanh")  # whose derivative needs only the result


def matmul(a: Any, b: Any) -> Tensor:
    """Matrix product of shapes (…, m, k) and (…, k, n), batches broadcast; a 1-D operand is a row or a column.

    Raises ValueError if the shapes don't fit, and for 0-d operands.

    >>> import steep as st
    >>> st.tensor([[1.0, 2.0], [3.0, 4.0]]) @ st.tensor([1.0, 1.0])
    tensor([3., 7.])
    """
    a = as_tensor(a, b)
    b = as_tensor(b, a)
    if a.ndim == 1 and b.ndim > 0:
        return manipulation.squeeze(matmul(a.expand_dims(0), b), 0 if b.ndim <= 2 else -2)
    if b.ndim == 1 and a.ndim > 0:
        return manipulation.squeeze(matmul(a, b.expand_dims(1)), -1)
    return record_binary(_core.matmul(a, b), _matmul_vjp, a, b, READS_B, READS_A)


def _matmul_vjp(
    g: Tensor, needs_a: bool, needs_b: bool, a: Tensor, b: Tensor | None, y: None
) -> tuple[Tensor | None, Tensor | None]:
    # A gradient with the broadcast batch axes is summed by the tape.
    return matmul(g, b.mT) if b is not None else None, matmul(a.mT, g) if needs_b else None


def linear(x: Any, weight: Any, bias: Any = None, activation: str | None = None) -> Tensor:
    """activation(x @ weightᵀ + bias) in one pass, for x (…, in), weight (out, in) and bias (out,) or None.

    ``activation`` is None, "relu", "sigmoid" or "tanh". All operands have one floating-point dtype. Raises ValueError
    and TypeError with the shapes and dtypes.

    >>> import steep as st
    >>> st.linear(st.ones((1, 2)), st.tensor([[1.0, -3.0]]), st.tensor([1.0]), activation="relu")
    tensor([[0.]])
    """
    x = as_tensor(x, weight)
    weight = as_tensor(weight, x)
    bias = None if bias is None else as_tensor(bias, x)
    if activation is not None and activation not in FUSED_ACTIVATIONS:
        raise ValueError(f"linear: activation={activation!r} must be None or one of {', '.join(FUSED_ACTIVATIONS)}")
    y = _core.linear(x, weight, bias, activation)
    saved = (
        x if weight.requires_grad else None,
        weight if x.requires_grad else None,
        y if activation else None,
        activation,
        bias is not None and bias.requires_grad,
    )
    return record(y, _linear_vjp, (x, weight, bias), saved)


def _linear_vjp(
    g: Tensor, x: Tensor | None, weight: Tensor | None, y: Tensor | None, activation: str | None, needs_bias: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    if not is_recording():
        return _core.linear_backward(g, x, weight, needs_bias, y, activation)
    if activation is not None:
        (g,) = UNARY[activation].vjp(g, None, y, ())
    dx = None if weight is None else matmul(g, weight)
    if g.ndim != 2:  # the other axes are all rows of one matrix
        g = manipulation.reshape(g, (math.prod(g.shape[:-1]), g.shape[-1]))
        x = None if x is None else manipulation.reshape(x, (g.shape[0], x.shape[-1]))
    return dx, None if x is None else matmul(g.mT, x), reduction.sum(g, 0) if needs_bias else None


_core.set_operator("matmul", _matmul_vjp, matmul)
