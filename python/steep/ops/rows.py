"""Operations that need a whole row at once, and dropout. Each vjp is directly beneath its forward."""

from __future__ import annotations

import math
from typing import Any

from .. import _core, autocasting, random
from .._core import is_recording, record
from ..dtypes import float32
from ..tensor import Tensor
from . import elementwise, manipulation, reduction
from ._apply import as_tensor, check_floating, first_tensor

__all__ = [
    "dropout",
    "layer_norm",
    "log_softmax",
    "rms_norm",
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
    unit = _over(rstd, axes)
    distance = (x * 0.5 - _over(mean, axes) * 0.5) * (unit * 2)  # of large numbers the difference could overflow
    normal, scale = _normal(distance - reduction.mean(distance, last, keepdims=True), unit, last, eps)
    h = g if weight is None else g * weight
    dx = (h - reduction.mean(h, last, keepdims=True) - normal * reduction.mean(h * normal, last, keepdims=True)) * scale
    # The tape sums the gradients of weight and bias over the other axes.
    return dx, g * normal if weight is not None else None, g if has_bias else None


def _over(values: Tensor, axes: int) -> Tensor:
    """One number for each row, in a shape that broadcasts over the row."""
    return manipulation.reshape(values, (*values.shape, *[1] * axes))


def _normal(x: Tensor, unit: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """x / √(mean of x² + eps · unit²), and unit / √…: x is in units about its root mean square, so that squares fit."""
    scale = (reduction.mean(x * x, axes, keepdims=True) + elementwise.square(unit * math.sqrt(eps))) ** -0.5
    return x * scale, scale * unit


def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    """x / √(mean of x² + eps) · weight over the last axes, which must have ``normalized_shape``.

    weight has that shape, or is None. ``eps`` is by default the distance from 1 to the next number (as in PyTorch).
    Zhang and Sennrich 2019, arXiv:1910.07467. Raises ValueError if a shape differs, TypeError unless x is
    floating-point.

    >>> import steep as st
    >>> st.rms_norm(st.tensor([[3.0, 4.0]]), 2, eps=0.0).numpy().round(3)
    array([[0.849, 1.131]], dtype=float32)
    """
    x = as_tensor(x, weight)
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    shape = manipulation.as_shape(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"rms_norm: the last axes of input shape {x.shape} must be normalized_shape={shape}")
    check_floating("rms_norm", x)
    if eps is None:
        eps = 2.0**-52 if x.dtype.itemsize == 8 else 2.0**-23
    weight = None if weight is None else as_tensor(weight, x)
    if weight is not None and weight.shape != shape:
        raise ValueError(f"rms_norm: weight of shape {weight.shape} must have normalized_shape={shape}")
    own = weight if weight is not None and weight.dtype is x.dtype else None
    y, rstd = _core.rms_norm(x, len(shape), own, eps)
    y = record(y, _rms_norm_vjp, (x, own), (x, own, rstd, len(shape), eps))
    return y if weight is own else y * weight


def _rms_norm_vjp(
    g: Tensor, x: Tensor, weight: Tensor | None, rstd: Tensor, axes: int, eps: float
) -> tuple[Tensor | None, Tensor | None]:
    if not is_recording():
        return _core.rms_norm_backward(g, x, axes, weight, rstd)
    last = tuple(range(-axes, 0))
    if x.dtype.itemsize == 2:  # in float32, as rstd is; the tape brings gradients back
        g, x = g.astype(float32), x.astype(float32)
    unit = _over(rstd, axes)
    normal, scale = _normal(x * unit, unit, last, eps)
    h = g if weight is None else g * weight
    dx = (h - normal * reduction.mean(h * normal, last, keepdims=True)) * scale
    return dx, None if weight is None else g * normal


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
