"""Gradients kept within bounds, between ``backward`` and the optimizer's step."""

from __future__ import annotations

from collections.abc import Iterable

from ..autograd import no_grad
from ..dtypes import float32
from ..ops import clip, isfinite, stack, to_device, vector_norm, zeros
from ..tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scales the gradients of ``parameters`` in place so that their total norm is at most ``max_norm``; returns it.

    The norm, as it was before, is that of all gradients as one vector: (Σ |g|^norm_type)^(1/norm_type), or the largest
    |g| for inf; of 16-bit floats it is a float32. The factor is max_norm / (norm + 1e-6) if that is below 1, as
    PyTorch's; nothing waits for a CUDA device, so a norm that is NaN makes every gradient NaN. Pascanu et al. 2013,
    arXiv:1211.5063.

    Raises ValueError for max_norm < 0, and, with ``error_if_nonfinite``, RuntimeError for a norm that is NaN or
    infinite, with nothing changed.

    >>> import steep as st
    >>> w = st.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> float(st.nn.utils.clip_grad_norm_([w], max_norm=1.0))
    10.0
    >>> w.grad.numpy().round(3)
    array([0.6, 0.8], dtype=float32)
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm={max_norm} must not be negative")
    gradients = _gradients(parameters)
    if not gradients:
        return zeros(())
    place = gradients[0].device
    norms = [to_device(vector_norm(wide(g), ord=norm_type), place) for g in gradients]
    total = vector_norm(stack(norms), ord=norm_type)
    if error_if_nonfinite and not bool(isfinite(total)):
        raise RuntimeError(
            f"clip_grad_norm_: the total norm of the gradients is {float(total)}: they hold NaN or infinities. "
            "Without error_if_nonfinite=True they are scaled by it all the same"
        )
    factor = clip(max_norm / (total + 1e-6), max=1.0)
    for g in gradients:
        scale = to_device(factor, g.device)
        if g.dtype.itemsize == 2:  # in which the factor itself may vanish
            g.copy_(wide(g) * scale)
        else:
            g.mul_(scale.astype(g.dtype))
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limits every element of the gradients of ``parameters`` to ±``clip_value``, in place.

    Raises ValueError for clip_value < 0.

    >>> import steep as st
    >>> w = st.tensor([3.0, 0.5], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> st.nn.utils.clip_grad_value_([w], 2.0)
    >>> w.grad
    tensor([2., 1.])
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value={clip_value} must not be negative")
    for g in _gradients(parameters):
        g.copy_(clip(g, -clip_value, clip_value))


def wide(x: Tensor) -> Tensor:
    """x in a dtype in which sums of its squares stay finite, and many small changes add up."""
    return x.astype(float32) if x.dtype.itemsize == 2 else x


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    entries = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in entries if p.grad is not None and p.size]
