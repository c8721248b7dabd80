"""Gradients kept within bounds, between ``backward`` and the optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

from .. import _core
from ..autograd import no_grad
from ..checks import shown
from ..dtypes import float32
from ..ops import isfinite, to_device, zeros
from ..structure import gradients_by_device
from ..tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scales the gradients of ``parameters`` in place so that their total norm is at most ``max_norm``; returns it.

    The norm, as it was before, is that of all gradients as one vector: (Σ |g|^norm_type)^(1/norm_type), the largest
    and the smallest |g| for inf and −inf, the number of nonzeros for 0; it doesn't overflow as long as it is finite
    itself. It is a float64 if one of the gradients is, else a float32. The factor is max_norm / (norm + 1e-6) if that
    is below 1, as PyTorch's; nothing waits for a CUDA device, so a norm that is NaN makes every gradient NaN. A
    gradient that several parameters share counts once. Pascanu et al. 2013, arXiv:1211.5063.

    Raises ValueError for max_norm < 0 or a norm_type that is NaN, TypeError for what is no number or no tensor, and,
    with ``error_if_nonfinite``, RuntimeError for a norm that is NaN or infinite; nothing is changed then.

    >>> import steep as st
    >>> w = st.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> float(st.nn.utils.clip_grad_norm_([w], max_norm=1.0))
    10.0
    >>> w.grad.numpy().round(3)
    array([0.6, 0.8], dtype=float32)
    """
    if not _number("clip_grad_norm_: max_norm", max_norm) >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm={max_norm} must not be negative")
    if math.isnan(_number("clip_grad_norm_: norm_type", norm_type)):
        raise ValueError("clip_grad_norm_: norm_type is NaN: use 2, another number, inf or -inf")
    groups = _gradients("clip_grad_norm_", parameters)
    if not groups:
        return zeros(())
    norms = [_core.total_norm(group, norm_type) for group in groups]
    total = norms[0]
    if len(norms) > 1:  # those of each device as one vector; numbers of nonzeros are added
        total = _core.total_norm([to_device(norm, total.device) for norm in norms], norm_type or 1.0)
    if error_if_nonfinite and not bool(isfinite(total)):
        raise RuntimeError(
            f"clip_grad_norm_: the total norm of the gradients is {float(total)}: they hold NaN or infinities. "
            "Without error_if_nonfinite=True they are scaled by it all the same"
        )
    for group in groups:
        _core.clip_norm_(group, to_device(total, group[0].device), max_norm)
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limits every element of the gradients of ``parameters`` to ±``clip_value``, in place.

    Raises ValueError for clip_value < 0; TypeError for what is no number, or no tensor.

    >>> import steep as st
    >>> w = st.tensor([3.0, 0.5], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> st.nn.utils.clip_grad_value_([w], 2.0)
    >>> w.grad
    tensor([2., 1.])
    """
    if not _number("clip_grad_value_: clip_value", clip_value) >= 0:
        raise ValueError(f"clip_grad_value_: clip_value={clip_value} must not be negative")
    for group in _gradients("clip_grad_value_", parameters):
        _core.clip_values_(group, clip_value)


def _number(label: str, value: Any) -> float:
    """Raises TypeError, which begins with ``label``, for what is no number."""
    if isinstance(value, Real) or (isinstance(value, Tensor) and value.size == 1):
        return float(value)
    raise TypeError(f"{label} must be a number, not {shown(value)}")


def _gradients(name: str, parameters: Any) -> list[list[Tensor]]:
    """Those of each device."""
    if callable(getattr(parameters, "parameters", None)):
        raise TypeError(f"{name}: expected tensors, such as model.parameters(), not the model")
    if callable(parameters):
        raise TypeError(f"{name}: call the model's method: model.parameters()")
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    parameters = [*parameters] if isinstance(parameters, Iterable) else [parameters]
    for p in parameters:
        if not isinstance(p, Tensor):
            raise TypeError(f"{name}: expected tensors, such as model.parameters(), not {shown(p)}")
    return gradients_by_device(parameters)


def wide(x: Tensor) -> Tensor:
    """x in a dtype in which sums of its squares stay finite, and many small changes add up."""
    return x.astype(float32) if x.dtype.itemsize == 2 else x
