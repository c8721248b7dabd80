"""Scaling of the loss, for gradients that float16 would round to 0. See ``steep.autocast`` for mixed precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _core, hints
from .autograd import no_grad
from .checks import check_count, check_number
from .dtypes import float16, float32
from .optim import Optimizer
from .structure import gradients_by_device, map_tensors
from .tensor import Tensor

__all__ = ["GradScaler"]

LEAST, LARGEST = (float(x) for x in (np.finfo(np.float32).tiny, np.finfo(np.float32).max))  # of scales


class GradScaler:
    """Multiplies the loss by a large number, so that small gradients don't vanish in float16, and gradients by its
    inverse before the optimizer's step, which is left out where one of them is infinite or NaN.

    The number is ``init_scale`` at first. ``update`` multiplies it by ``backoff_factor`` after such a step, and by
    ``growth_factor`` after ``growth_interval`` others in a row, as PyTorch's does. With ``enabled=False`` every method
    does what there would be without a scaler. Micikevicius et al. 2018, arXiv:1710.03740, section 3.2.

    Bfloat16 has the range of float32 and needs none. Raises ValueError for factors out of range.

    >>> import steep as st
    >>> model = st.nn.Linear(3, 1)
    >>> optimizer = st.optim.SGD(model.parameters(), lr=0.1)
    >>> scaler = st.amp.GradScaler()
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     with st.autocast("float16"):
    ...         loss = model(st.ones(8, 3)).square().mean()
    ...     scaler.scale(loss).backward()
    ...     scaler.unscale_(optimizer)  # only if gradients are to be clipped or looked at
    ...     norm = st.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    ...     scaler.step(optimizer)
    ...     scaler.update()
    >>> scaler.get_scale()
    65536.0
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._enabled = bool(enabled)
        self._scale = _checked_scale("init_scale", init_scale)
        self._growth_factor = float(check_number("GradScaler: growth_factor", growth_factor, 1.0, open_low=True))
        self._backoff_factor = float(check_number("GradScaler: backoff_factor", backoff_factor, 0.0, 1.0, True))
        if backoff_factor == 1:
            raise ValueError("GradScaler: backoff_factor=1.0 would leave a scale that is too large as it is")
        self._growth_interval = check_count("GradScaler: growth_interval", growth_interval)
        self._growth_tracker = 0  # steps in a row without infinities
        self._optimizers: dict[Optimizer, _Progress] = {}  # since the last update

    def scale(self, outputs: Any) -> Any:
        """A loss, or all tensors in tuples, lists and dicts of them, times the scale; of 16-bit floats as float32."""
        return map_tensors(self._scaled, outputs) if self._enabled else outputs

    def _scaled(self, x: Tensor) -> Tensor:
        return (x.astype(float32) if x.dtype.itemsize == 2 else x) * self._scale

    @no_grad()
    def unscale_(self, optimizer: Optimizer) -> None:
        """Divides the gradients of the optimizer's parameters by the scale, in place, and looks whether all are finite.

        ``step`` does it unless it was done. Nothing waits for a CUDA device. Raises RuntimeError if it was done since
        the last ``update``, and ValueError for float16 gradients, in which what was scaled would vanish again.
        """
        if not self._enabled:
            return
        progress = self._progress(optimizer)
        if progress.stepped:
            raise RuntimeError("GradScaler: unscale_ comes before step(optimizer), not after it: call update() first")
        if progress.overflows is not None:
            raise RuntimeError("GradScaler: unscale_ was called for this optimizer already since the last update()")
        groups = gradients_by_device(p for group in optimizer.param_groups for p in group["params"])
        if any(g.dtype is float16 for group in groups for g in group):
            raise ValueError(
                "GradScaler: gradients are float16, in which small ones vanish when they are divided by the scale: "
                'keep the parameters in float32, and use steep.autocast("float16")'
            )
        inverse = float(np.float32(1 / self._scale))
        progress.overflows = [_core.unscale_(group, inverse) for group in groups]

    def step(self, optimizer: Optimizer) -> None:
        """``optimizer.step()``, unless a gradient is infinite or NaN; ``unscale_`` before it, unless it was called.

        Waits for a CUDA device, once. Raises RuntimeError if it was called since the last ``update``.
        """
        if not self._enabled:
            optimizer.step()
            return
        progress = self._progress(optimizer)
        if progress.stepped:
            raise RuntimeError("GradScaler: step was called for this optimizer already since the last update()")
        if progress.overflows is None:
            self.unscale_(optimizer)
        if progress.all_finite():
            optimizer.step()
        progress.stepped = True

    def update(self, new_scale: float | None = None) -> None:
        """Adapts the scale for the next step, or sets it to ``new_scale``. Comes once a step, after all optimizers.

        Raises RuntimeError if no gradients were looked at since the last one.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = _checked_scale("new_scale", new_scale)
        else:
            looked = [progress for progress in self._optimizers.values() if progress.overflows is not None]
            if not looked:
                raise RuntimeError("GradScaler: call step(optimizer) before update()")
            self._adapt(all(progress.all_finite() for progress in looked))
        self._optimizers.clear()

    def _adapt(self, finite: bool) -> None:
        self._growth_tracker = self._growth_tracker + 1 if finite else 0
        if not finite:
            self._scale = max(float(np.float32(self._scale * self._backoff_factor)), LEAST)
        elif self._growth_tracker == self._growth_interval:
            self._growth_tracker = 0
            grown = self._scale * self._growth_factor
            if grown <= LARGEST:
                self._scale = float(np.float32(grown))

    def _progress(self, optimizer: Optimizer) -> _Progress:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"GradScaler: expected an optimizer, not {optimizer!r:.60}")
        return self._optimizers.setdefault(optimizer, _Progress())

    def get_scale(self) -> float:
        """The number by which the loss is multiplied; 1 for a scaler that is not enabled."""
        return self._scale if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Whether it scales at all."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Scale, factors and the count of steps, between two of them; empty for a scaler that is not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over what ``state_dict`` has given, of PyTorch's scaler too. Raises ValueError for anything else."""
        if not self._enabled:
            return
        names = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}
        if not isinstance(state_dict, Mapping) or set(state_dict) != names:
            raise ValueError(f"GradScaler: expected a state with {', '.join(sorted(names))}, not {state_dict!r:.60}")
        made = GradScaler(
            *(state_dict[name] for name in ("scale", "growth_factor", "backoff_factor", "growth_interval"))
        )
        made._growth_tracker = check_count("GradScaler: _growth_tracker", state_dict["_growth_tracker"], 0)
        self.__dict__.update(vars(made))

    def __repr__(self) -> str:
        return f"GradScaler(scale={self._scale:g})" if self._enabled else "GradScaler(enabled=False)"


def _checked_scale(label: str, scale: float) -> float:
    return float(np.float32(check_number(f"GradScaler: {label}", scale, LEAST, LARGEST)))


class _Progress:
    """What was done for one optimizer since the last update."""

    def __init__(self) -> None:
        self.overflows: list[Tensor] | None = None  # for each device: not 0 if a gradient isn't finite; None: not seen
        self.stepped = False
        self._known: bool | None = None

    def all_finite(self) -> bool:
        """Waits for the device when it is asked first."""
        if self._known is None:
            self._known = not any(bool(x) for x in self.overflows or ())
        return self._known


def __getattr__(name: str) -> object:
    raise AttributeError(f"module 'steep.amp' has no attribute {name!r}{hints.of(hints.AMP, name)}")
