"""Layers that normalise."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..ops._apply import as_tensor
from ..tensor import Parameter, Tensor
from .module import Module

__all__ = ["LayerNorm"]


class LayerNorm(Module):
    """(x − mean) / √(var + eps) · weight + bias, over the last axes, whose extents are ``normalized_shape``.

    Ba et al. 2016, arXiv:1607.06450. ``weight`` starts as ones, ``bias`` as zeros; without ``elementwise_affine``
    there is neither. Raises ValueError if the last axes of x differ.

    >>> import steep as st
    >>> st.nn.LayerNorm(2)(st.tensor([[1.0, 3.0]])).numpy().round(3)
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.weight = Parameter(ops.ones(self.normalized_shape)) if elementwise_affine else None
        self.bias = Parameter(ops.zeros(self.normalized_shape)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Tensor:
        """The normalised x, of x's shape."""
        x = as_tensor(x, self.weight)
        shape = self.normalized_shape
        if x.shape[-len(shape) :] != shape:
            raise ValueError(
                f"{self._label()} (normalized_shape={shape}) got input of shape {x.shape}: "
                f"its last axes must be {shape}"
            )
        if self.weight is not None:
            x = x.astype(self.weight.dtype)
        return ops.layer_norm(x, shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Shape, eps and whether there are parameters."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"
