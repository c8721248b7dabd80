"""Layers that normalise."""

from __future__ import annotations

from typing import Any

from .. import dtypes, ops
from ..ops._apply import as_tensor
from ..ops.manipulation import as_shape
from ..tensor import Parameter, Tensor
from .dry_run import Spec
from .module import Module, check_sizes

__all__ = ["BatchNorm1d", "GroupNorm", "LayerNorm", "RMSNorm"]


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
        self.normalized_shape = as_shape(normalized_shape)
        self.eps = eps
        self.weight = Parameter(ops.ones(self.normalized_shape)) if elementwise_affine else None
        self.bias = Parameter(ops.zeros(self.normalized_shape)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Tensor:
        """The normalised x, of x's shape."""
        x = _admitted(self, x, self.normalized_shape)
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def _expects(self) -> Spec:
        return Spec(self.normalized_shape, dtypes.float32)

    def extra_repr(self) -> str:
        """Shape, eps and whether there are parameters."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"


class RMSNorm(Module):
    """x / √(mean of x² + eps) · weight, over the last axes, whose extents are ``normalized_shape``.

    Zhang and Sennrich 2019, arXiv:1910.07467. ``weight`` starts as ones; without ``elementwise_affine`` there is none.
    ``eps`` is by default the distance from 1 to the next number. Raises ValueError if the last axes of x differ.

    >>> import steep as st
    >>> st.nn.RMSNorm(2)(st.tensor([[1.0, 7.0]])).numpy().round(3)
    array([[0.2, 1.4]], dtype=float32)
    """

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float | None = None, elementwise_affine: bool = True
    ) -> None:
        self.normalized_shape = as_shape(normalized_shape)
        self.eps = eps
        self.weight = Parameter(ops.ones(self.normalized_shape)) if elementwise_affine else None

    def forward(self, x: Any) -> Tensor:
        """The normalised x, of x's shape."""
        return ops.rms_norm(_admitted(self, x, self.normalized_shape), self.normalized_shape, self.weight, self.eps)

    def _expects(self) -> Spec:
        return Spec(self.normalized_shape, dtypes.float32)

    def extra_repr(self) -> str:
        """Shape, eps and whether there is a weight."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"


def _admitted(layer: LayerNorm | RMSNorm, x: Any, shape: tuple[int, ...]) -> Tensor:
    """x in the layer's dtype. Raises ValueError unless its last axes have ``shape``."""
    x = as_tensor(x, layer.weight)
    if x.shape[-len(shape) :] != shape:
        raise ValueError(
            f"{layer._label()} (normalized_shape={shape}) got input of shape {x.shape}: its last axes must be {shape}"
        )
    return x if layer.weight is None else x.astype(layer.weight.dtype)


class GroupNorm(Module):
    """(x − mean) / √(var + eps) · weight + bias over each sample's groups of channels, for x (N, C, …).

    The ``num_channels`` channels are ``num_groups`` groups of neighbours. Wu and He 2018, arXiv:1803.08494.
    ``weight`` starts as ones, ``bias`` as zeros, one for each channel; without ``affine`` there is neither. Raises
    ValueError unless num_groups divides num_channels, and for x with other channels.

    >>> import steep as st
    >>> st.nn.GroupNorm(2, 4)(st.tensor([[1.0, 3.0, 10.0, 10.0]])).detach().numpy().round(3)
    array([[-1.,  1.,  0.,  0.]], dtype=float32)
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        if num_groups < 1 or num_channels < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_channels={num_channels} must be a multiple of num_groups={num_groups}")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.weight = Parameter(ops.ones(num_channels)) if affine else None
        self.bias = Parameter(ops.zeros(num_channels)) if affine else None

    def forward(self, x: Any) -> Tensor:
        """The normalised x, of x's shape."""
        x = as_tensor(x, self.weight)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(
                f"{self._label()} (num_channels={self.num_channels}) got input of shape {x.shape}: "
                f"it must be (N, {self.num_channels}) or (N, {self.num_channels}, …)"
            )
        x = x if self.weight is None else x.astype(self.weight.dtype)
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The groups, the channels, eps and whether there are parameters."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.weight is not None}"


class BatchNorm1d(Module):
    """(x − mean) / √(var + eps) · weight + bias for each feature of x (N, C) or (N, C, L), over N and L.

    Mean and variance are the batch's in training, and their running means in ``eval``: the buffers ``running_mean``
    and ``running_var`` (of n − 1) move by the share ``momentum`` with every batch; for momentum=None they are the plain
    means of all batches, of which ``num_batches_tracked`` counts. Without ``track_running_stats`` the batch's serve
    always. ``weight`` starts as ones, ``bias`` as zeros; without ``affine`` there is neither. Ioffe and Szegedy 2015,
    arXiv:1502.03167.

    Raises ValueError for x of another shape, and in training for one value per feature, which has no variance.

    >>> import steep as st
    >>> norm = st.nn.BatchNorm1d(2)
    >>> x = st.tensor([[1.0, 10.0], [3.0, 10.0]])
    >>> norm(x).detach().numpy().round(3)
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    >>> norm.running_mean, norm.running_var
    (tensor([0.2, 1. ]), tensor([1.1, 0.9]))
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        check_sizes(type(self).__name__, num_features=num_features)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.weight = Parameter(ops.ones(num_features)) if affine else None
        self.bias = Parameter(ops.zeros(num_features)) if affine else None
        self.track_running_stats = track_running_stats
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if track_running_stats:
            self.register_buffer("running_mean", ops.zeros(num_features))
            self.register_buffer("running_var", ops.ones(num_features))
            self.register_buffer("num_batches_tracked", ops.zeros((), dtype=dtypes.int64))

    def forward(self, x: Any) -> Tensor:
        """The normalised x, of x's shape."""
        own = self.running_mean if self.weight is None else self.weight
        x = as_tensor(x, own)
        if x.ndim not in (2, 3) or x.shape[1] != self.num_features:
            raise ValueError(
                f"{self._label()} (num_features={self.num_features}) got input of shape {x.shape}: "
                f"it must be (N, {self.num_features}) or (N, {self.num_features}, L)"
            )
        if own is not None:
            x = x.astype(own.dtype)
        by_batch = self.training or self.running_mean is None
        if by_batch and x.size == self.num_features:
            raise ValueError(
                f"{self._label()} got input of shape {x.shape}: one value per feature has no variance to train with. "
                "Pass a larger batch (in fit, a batch_size that leaves no single sample over), or call model.eval()"
            )
        share = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                share = 1 / int(self.num_batches_tracked)
        return ops.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, by_batch, share, self.eps)

    def _expects(self) -> Spec:
        return Spec((self.num_features,), dtypes.float32)

    def extra_repr(self) -> str:
        """The features and the options."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )
