"""Normalisation over a batch and over groups of channels. What normalises rows is in rows.py."""

from __future__ import annotations

import math
from typing import Any

from .. import _core, autocasting
from .._core import is_recording, record
from ..devices import cpu
from ..dtypes import float32
from ..tensor import Tensor
from . import elementwise, logic, manipulation, reduction, rows
from ._apply import as_tensor, check_floating, first_tensor
from .dtype_functions import result_type

__all__ = [
    "batch_norm",
    "group_norm",
]


def batch_norm(
    x: Any,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x − mean) / √(variance + eps) · weight + bias for each channel, which are on axis 1 of x (N, C, …).

    In training mean and variance are the batch's, and ``running_mean`` and ``running_var``, if given, move towards
    them in place, by the share ``momentum``; the running variance is of n − 1 (as PyTorch's). Otherwise the running
    ones are used. All four arguments have the shape (C,). Ioffe and Szegedy 2015, arXiv:1502.03167.

    Raises ValueError for shapes that don't fit, for one value per channel in training, and without running values
    outside of it; TypeError unless x is floating-point.

    >>> import steep as st
    >>> st.batch_norm(st.tensor([[1.0, 2.0], [3.0, 2.0]]), training=True)
    tensor([[-0.999995,  0.      ],
            [ 0.999995,  0.      ]])
    """
    x = as_tensor(x, first_tensor((weight, bias, running_mean, running_var)))
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    if x.ndim < 2:
        raise ValueError(f"batch_norm: input of shape {x.shape} must have the axes (N, C) or (N, C, …)")
    channels = x.shape[1]
    weight, bias = _by_channel("batch_norm", x, weight=weight, bias=bias)
    mean, var = _by_channel("batch_norm", x, running_mean=running_mean, running_var=running_var)
    if x.dtype.itemsize == 2:  # whose squares may overflow or vanish
        w, b = (None if t is None else manipulation.flatten(t) for t in (weight, bias))
        y = batch_norm(x.astype(float32), running_mean, running_var, w, b, training, momentum, eps)
        return y.astype(result_type(*(t for t in (x, weight, bias) if t is not None)))
    if training:
        count = math.prod(x.shape) // channels if channels else 0
        if count == 1:
            raise ValueError(
                f"batch_norm: in training, input of shape {x.shape} has one value per channel, whose variance is 0: "
                "pass a larger batch, or call model.eval()"
            )
        return _by_batch(x, running_mean, running_var, weight, bias, count, momentum, eps)
    if mean is None or var is None:
        raise ValueError("batch_norm: outside of training it needs running_mean and running_var")
    return _scaled((x - mean) * elementwise.rsqrt(var + eps), weight, bias)


def _by_batch(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    count: int,
    momentum: float,
    eps: float,
) -> Tensor:
    for running in (running_mean, running_var):  # before one of them changes
        if running is not None:
            _core.check_writable("batch_norm", running)
    axes = (0, *range(2, x.ndim))
    mean, centred, slip = _centred(x.detach(), axes)
    var, rstd = _spread(centred, slip, axes, eps)
    unbiased = var * (count / (count - 1))
    for running, new in ((running_mean, mean), (running_var, unbiased)):
        if running is not None and count:
            running.copy_(running * (1 - momentum) + manipulation.flatten(new) * momentum)
    scale = rstd if weight is None else rstd * weight.detach()
    shift = -slip * scale if bias is None else bias.detach() - slip * scale
    y = centred * scale + shift
    return record(y, _batch_norm_vjp, (x, weight, bias), (x, weight, bias is not None, centred, slip, rstd, axes, eps))


def _centred(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The mean, the distances from it as it is rounded, and their mean, which is what that has cost."""
    mean = reduction.mean(x, axes, keepdims=True)
    centred = x - mean
    return mean, centred, reduction.mean(centred, axes, keepdims=True)


def _spread(centred: Tensor, slip: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """The variance, and 1 / √(variance + eps)."""
    var = _variance(centred, slip, axes)
    rstd = elementwise.rsqrt(var + eps)
    if centred.device is cpu and not math.isfinite(float(reduction.sum(var))):  # on CUDA nobody waits for it
        unit = 2.0**-80 if centred.dtype is float32 else 2.0**-600  # where squares overflow
        in_units = elementwise.rsqrt(_variance(centred * unit, slip * unit, axes) + eps * unit * unit) * unit
        rstd = elementwise.where(logic.isfinite(var), rstd, in_units)
    return var, rstd


def _variance(centred: Tensor, slip: Tensor, axes: tuple[int, ...]) -> Tensor:
    return reduction.mean(elementwise.square(centred), axes, keepdims=True) - elementwise.square(slip)


def _batch_norm_vjp(
    g: Tensor,
    x: Tensor,
    weight: Tensor | None,
    has_bias: bool,
    centred: Tensor,
    slip: Tensor,
    rstd: Tensor,
    axes: tuple[int, ...],
    eps: float,
) -> tuple[Tensor | None, ...]:
    if is_recording():
        _, centred, slip = _centred(x, axes)
        _, rstd = _spread(centred, slip, axes, eps)
    normal, slip = centred * rstd, slip * rstd
    count = math.prod(x.shape[i] for i in axes)
    dbias = reduction.sum(g, axes, keepdims=True)
    dweight = reduction.sum(g * normal, axes, keepdims=True)
    if count:  # else there is no slip
        dweight = dweight - slip * dbias
    share = dweight / count
    dx = (g - (normal * share + (dbias / count - slip * share))) * (rstd if weight is None else rstd * weight)
    return dx, dweight if weight is not None else None, dbias if has_bias else None


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """(x − mean) / √(variance + eps) · weight + bias over each sample's groups of channels, for x (N, C, …).

    The C channels are num_groups groups of neighbours; weight and bias (C,) are per channel. Wu and He 2018,
    arXiv:1803.08494. Raises ValueError for shapes that don't fit, TypeError unless x is floating-point.

    >>> import steep as st
    >>> st.group_norm(st.tensor([[1.0, 3.0, 10.0, 10.0]]), 2).numpy().round(3)
    array([[-1.,  1.,  0.,  0.]], dtype=float32)
    """
    x = as_tensor(x, first_tensor((weight, bias)))
    if autocasting.blocks:
        x = autocasting.in_float32(x)
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(
            f"group_norm: the channels on axis 1 of input of shape {x.shape} must be a multiple of "
            f"num_groups={num_groups}"
        )
    weight, bias = _by_channel("group_norm", x, weight=weight, bias=bias)
    size = math.prod(x.shape[1:]) // num_groups
    y = rows.layer_norm(manipulation.reshape(x, (x.shape[0] * num_groups, size)), size, eps=eps)
    return _scaled(manipulation.reshape(y, x.shape), weight, bias)


def _by_channel(name: str, x: Tensor, **values: Any) -> list[Tensor | None]:
    """Numbers for each channel, in a shape that broadcasts to x's."""
    check_floating(name, x)
    channels, result = x.shape[1], []
    for what, value in values.items():
        if value is not None:
            value = as_tensor(value, x)
            if value.shape != (channels,):
                raise ValueError(
                    f"{name}: {what} of shape {value.shape} must be ({channels},): axis 1 of input of shape {x.shape}"
                )
            value = manipulation.reshape(value, (channels, *[1] * (x.ndim - 2)))
        result.append(value)
    return result


def _scaled(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias
