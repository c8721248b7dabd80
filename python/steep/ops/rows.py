"""Operations that need a whole row at once, and dropout. Each vjp is directly beneath its forward."""

from __future__ import annotations

from typing import Any

from .. import _core, autocasting, random
from .._core import is_recording, record
from ..tensor import Tensor
from . import elementwise, manipulation, reduction
from ._apply import as_tensor, first_tensor

__all__ = [
    "dropout",
    "layer_norm",
    "log_softmax",
    "softmax",
]


def softmax(x: Any, axis: int = -1) -> Tensor:
    """exp(x) / Σ exp(x) along an axis, computed as exp(x − max) so that it never overflows.

    Raises TypeError unless x is floating-point, IndexError for an axis out of range.

    >>> import steep as st
    >>> st.softmax(st.tensor([0.0, 0.0]))
    tensor([0.5, 0.5])
    """
    x = as_tensor(x)
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    axis = manipulation.as_axis("softmax", axis, x.ndim)
    y = _core.softmax(x, axis)
    return record(y, _softmax_vjp, (x,), (y, axis))


def _softmax_vjp(g: Tensor, y: Tensor, axis: int) -> tuple[Tensor]:
    if is_recording():
        return (y * (g - reduction.sum(g * y, axis, keepdims=True)),)
    return (_core.softmax_backward(g, y, axis),)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """log(softmax(x)) along an axis, computed as x − logsumexp(x).

    Raises TypeError unless x is floating-point, IndexError for an axis out of range.
    """
    x = as_tensor(x)
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    axis = manipulation.as_axis("log_softmax", axis, x.ndim)
    y = _core.log_softmax(x, axis)
    return record(y, _log_softmax_vjp, (x,), (y, axis))


def _log_softmax_vjp(g: Tensor, y: Tensor, axis: int) -> tuple[Tensor]:
    if is_recording():
        return (g - elementwise.exp(y) * reduction.sum(g, axis, keepdims=True),)
    return (_core.log_softmax_backward(g, y, axis),)


def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """(x − mean) / √(variance + eps) · weight + bias over the last axes, which must have ``normalized_shape``.

    weight and bias have that shape, or are None. Ba et al. 2016, arXiv:1607.06450. Raises ValueError if a shape
    differs, TypeError unless all operands have one floating-point dtype.

    >>> import steep as st
    >>> st.layer_norm(st.tensor([[1.0, 3.0]]), 2)
    tensor([[-0.999995,  0.999995]])
    """
    x = as_tensor(x, first_tensor((weight, bias)))
    shape = manipulation.as_shape(normalized_shape)
    weight = None if weight is None else as_tensor(weight, x)
    bias = None if bias is None else as_tensor(bias, x)
    if autocasting.blocks:
        x, weight, bias = (p if p is None else autocasting.in_float32(p) for p in (x, weight, bias))
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"layer_norm: the last axes of input shape {x.shape} must be normalized_shape={shape}")
    for name, p in (("weight", weight), ("bias", bias)):
        if p is not None and p.shape != shape:
            raise ValueError(f"layer_norm: {name} of shape {p.shape} must have normalized_shape={shape}")
        if p is not None and p.dtype != x.dtype:
            raise TypeError(f"layer_norm: {name} is {p.dtype.name}, the input {x.dtype.name}: they must be equal")
    weight = None if weight is None else weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    y, mean, rstd = _core.layer_norm(x, len(shape), weight, bias, eps)
    return record(y, _layer_norm_vjp, (x, weight, bias), (x, weight, bias is not None, mean, rstd, len(shape), eps))


def _layer_norm_vjp(
    g: Tensor, x: Tensor, weight: Tensor | None, has_bias: bool, mean: Tensor, rstd: Tensor, axes: int, eps: float
) -> tuple[Tensor | None, ...]:
    if not is_recording():
        dx, dweight, dbias = _core.layer_norm_backward(g, x, axes, weight, mean, rstd)
        return dx, dweight if weight is not None else None, dbias if has_bias else None
    last = tuple(range(-axes, 0))
    centred = x - reduction.mean(x, last, keepdims=True)
    scale = (reduction.mean(centred * centred, last, keepdims=True) + eps) ** -0.5
    normal = centred * scale
    h = g if weight is None else g * weight
    dx = (h - reduction.mean(h, last, keepdims=True) - normal * reduction.mean(h * normal, last, keepdims=True)) * scale
    # The tape sums the gradients of weight and bias over the other axes.
    return dx, g * normal if weight is not None else None, g if has_bias else None


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Zeros each element with probability p and scales the others by 1 / (1 − p); x itself unless ``training``.

    Srivastava et al. 2014, JMLR 15. Raises ValueError unless 0 ≤ p ≤ 1; p = 1 zeros everything.
    """
    x = as_tensor(x)
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p={p} must be a probability, from 0 to 1")
    if not training or p == 0:
        return x
    if not x.dtype.is_floating_point:
        raise TypeError(f"dropout needs a floating-point tensor, not {x.dtype.name}")
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return x * (random.bernoulli(x.shape, 1 - p, device=x.device).astype(x.dtype) * scale)
