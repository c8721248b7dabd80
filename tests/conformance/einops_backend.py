"""einops over steep's tensors: importing this makes ``einops.rearrange(steep_tensor, …)`` and the others work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from einops._backends import AbstractBackend
from einops.layers import RearrangeMixin, ReduceMixin
from einops.layers._einmix import _EinmixMixin

import steep as st


class SteepBackend(AbstractBackend):
    """What einops asks of a framework. Methods that are not here are einops' own, by the tensors' methods."""

    framework_name = "steep"
    tensors_made = 0

    def is_appropriate_type(self, tensor: Any) -> bool:
        return isinstance(tensor, st.Tensor)

    def from_numpy(self, x: np.ndarray[Any, Any]) -> st.Tensor:
        SteepBackend.tensors_made += 1
        return st.tensor(x, requires_grad=x.dtype.kind == "f")

    def to_numpy(self, x: st.Tensor) -> np.ndarray[Any, Any]:
        return x.detach().numpy()

    def arange(self, start: int, stop: int) -> st.Tensor:
        return st.arange(start, stop)

    def transpose(self, x: st.Tensor, axes: Any) -> st.Tensor:
        return st.permute_dims(x, axes)

    def stack_on_zeroth_dimension(self, tensors: list[st.Tensor]) -> st.Tensor:
        return st.stack(tensors)

    def add_axis(self, x: st.Tensor, new_position: int) -> st.Tensor:
        return st.expand_dims(x, new_position)

    def tile(self, x: st.Tensor, repeats: Any) -> st.Tensor:
        return st.tile(x, repeats)

    def concat(self, tensors: list[st.Tensor], axis: int) -> st.Tensor:
        return st.concat(tensors, axis)

    def is_float_type(self, x: st.Tensor) -> bool:
        return x.dtype.is_floating_point

    def einsum(self, pattern: str, *x: st.Tensor) -> st.Tensor:
        return st.einsum(pattern, *x)

    def layers(self) -> SimpleNamespace:
        return SimpleNamespace(Rearrange=Rearrange, Reduce=Reduce, EinMix=EinMix)


class Rearrange(RearrangeMixin, st.nn.Module):
    """``einops.rearrange`` as a layer."""

    def forward(self, x: st.Tensor) -> st.Tensor:
        return self._apply_recipe(x)


class Reduce(ReduceMixin, st.nn.Module):
    """``einops.reduce`` as a layer."""

    def forward(self, x: st.Tensor) -> st.Tensor:
        return self._apply_recipe(x)


class EinMix(_EinmixMixin, st.nn.Module):
    """einops' linear layer over any axes."""

    def _create_parameters(self, weight_shape: Any, weight_bound: float, bias_shape: Any, bias_bound: float) -> None:
        self.weight = st.nn.Parameter(st.random.uniform(weight_shape, -weight_bound, weight_bound))
        self.bias = None
        if bias_shape is not None:
            self.bias = st.nn.Parameter(st.random.uniform(bias_shape, -bias_bound, bias_bound))

    def _create_rearrange_layers(self, before: Any, before_lengths: Any, after: Any, after_lengths: Any) -> None:
        self.before = None if before is None else Rearrange(before, **before_lengths)
        self.after = None if after is None else Rearrange(after, **after_lengths)

    def forward(self, x: st.Tensor) -> st.Tensor:
        y = st.einsum(self.einsum_pattern, x if self.before is None else self.before(x), self.weight)
        y = y if self.bias is None else y + self.bias
        return y if self.after is None else self.after(y)
