"""``fit(jit_compile=True)``: steps that a CUDA device does at one go, by ``steep.cuda.graph``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..graphs import graph
from .precision import within
from .steps import Steps

if TYPE_CHECKING:
    from .compiled import Compiled
    from .precision import Precision
    from .trainable import Trainable

__all__ = ["CapturedSteps", "check_capturable"]

LIMIT = 64  # combinations of batch shapes, and of places among batches whose gradients are accumulated


class CapturedSteps:
    """``train_step`` of one ``fit``. Metrics, which may count in Python, are computed outside of the graph.

    So are the steps of optimizers that cannot be captured, and those in float16, which are left out where gradients
    overflow. A ``train_step`` of the user's own is captured as a whole.
    """

    def __init__(self, model: Trainable, state: Compiled) -> None:
        self.model, self.state = model, state
        self.own = _is_own(model)
        state.steps_outside = not self.own and not _is_captured(model, state.precision)
        if state.steps_outside:
            model.optimizer._watch = None  # which looks for a zero_grad that was forgotten, by hooks
        self.modules, self.parameters = [*model.modules()], [*model.parameters()]
        train = within(state, model.train_step if self.own else self._train)
        self.step = graph(lambda batch, *setting: train(batch), limit=LIMIT)
        self.finish, self.measure = within(state, model._finish_step), within(state, self._measure)

    def __call__(self, batch: Any) -> Mapping[str, Any]:
        """Trains on one batch, and returns what ``train_step`` does."""
        group = self.state.group
        results = self.step(batch, group, *self._setting())
        if self.own:
            return results
        if self.state.steps_outside and (group is None or group.last):
            self.finish()
        return self.measure((batch, *results))

    def close(self) -> None:
        """Frees the memory of the graphs."""
        self.step.reset()
        self.state.steps_outside = False

    def _setting(self) -> tuple[Any, ...]:
        """What may change that a graph would not notice: modes, what is frozen, the scale of the loss."""
        scale = 1.0 if self.state.precision is None else self.state.precision.scaler.get_scale()
        return tuple([m.training for m in self.modules]), tuple([p.requires_grad for p in self.parameters]), scale

    def _train(self, batch: Any) -> tuple[Any, ...]:
        x, y = batch[0], batch[1]
        output = self.model._call(x)
        loss = self.model.compute_loss(output, y, batch[2] if len(batch) > 2 else None)
        self.model.minimize(loss)
        return loss, output if self.state.measured else None, {**self.state.parts}

    def _measure(self, batch_and_results: Any) -> Mapping[str, Any]:
        batch, loss, output, self.state.parts = batch_and_results
        return {"loss": loss, **self.model.compute_metrics(output, batch[1], batch[2] if len(batch) > 2 else None)}


def _is_own(model: Trainable) -> bool:
    """Whether the user has defined ``train_step``."""
    return type(model).train_step is not Steps.train_step


def _is_captured(model: Trainable, precision: Precision | None) -> bool:
    """Whether the optimizer's step may be captured: no number of it is one that the host would have to read or set."""
    return model.optimizer.capturable and (precision is None or not precision.scaler.is_enabled())


def check_capturable(model: Trainable, precision: Precision | None) -> None:
    """Raises ValueError for a ``train_step`` of the user's that cannot be captured with its optimizer's step."""
    if not _is_own(model) or getattr(model, "optimizer", None) is None or _is_captured(model, precision):
        return
    optimizer, dtype = type(model.optimizer).__name__, "float32" if precision is None else precision.name
    raise ValueError(
        f"fit: jit_compile=True captures {type(model).__name__}.train_step as a whole, and that works with SGD, Adam "
        f"and AdamW in float32 or bfloat16, not with {optimizer} in {dtype}"
    )
