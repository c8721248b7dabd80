"""The precision that ``fit`` computes in: float32 weights, and 16 bits where they do no harm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..amp import GradScaler
from ..autocasting import autocast
from ..dtypes import float32
from ..structure import map_tensors
from ..tensor import Tensor

if TYPE_CHECKING:
    from ..optim import Optimizer
    from .compiled import Compiled
    from .trainable import Trainable

__all__ = ["Precision", "precision_for", "within"]

KERAS_NAMES = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}  # of its policies


class Precision:
    """Blocks of ``autocast`` for the steps of a model, and for float16 a scaler of the loss."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.autocast = autocast(name)
        self.scaler = GradScaler(enabled=name == "float16")

    def call(self, model: Callable[..., Any], x: Any) -> Any:
        """The model's output, for one input or a tuple or dict of several, in float32 for all that is done with it."""
        with self.autocast:
            output = model(x) if isinstance(x, Tensor) else model(**x) if isinstance(x, dict) else model(*x)
        return map_tensors(_float32, output)

    def step(self, optimizer: Optimizer) -> None:
        """The optimizer's step, which is left out where scaled gradients overflow."""
        self.scaler.step(optimizer)
        if self.scaler.is_enabled():
            self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """What the rest of a run depends on."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on there. Raises ValueError for the state of another precision."""
        self.scaler.load_state_dict(state)


def within(state: Compiled, step: Callable[..., Any]) -> Callable[..., Any]:
    """A step of ``fit`` or ``evaluate`` in the precision of the last ``fit``."""
    return step if state.precision is None else state.precision.autocast(step)


def _float32(x: Tensor) -> Tensor:
    return x.astype(float32) if x.dtype.is_floating_point and x.dtype.itemsize == 2 else x


def precision_for(model: Trainable, name: Any, before: Precision | None) -> Precision | None:
    """What ``fit(precision=name)`` means: None for float32; the one before, with its scaler, if it is the same.

    Raises ValueError for other names, and for 16 bits where the parameters are not float32.
    """
    wanted = KERAS_NAMES.get(name, name) if isinstance(name, str) else getattr(name, "name", name)
    if wanted not in ("float32", "bfloat16", "float16"):
        raise ValueError(f'fit: precision={name!r:.60} must be "float32", "bfloat16" or "float16"')
    if wanted == "float32":
        return None
    for label, parameter in model.named_parameters():
        if parameter.dtype is not float32:
            raise ValueError(
                f"fit: precision={name!r} is for float32 parameters, which it keeps, and {label} is "
                f'{parameter.dtype.name}: bring the model to float32 with model.to("float32"), or leave precision out'
            )
    return before if before is not None and before.name == wanted else Precision(wanted)
