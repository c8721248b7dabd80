"""``fit(jit_compile=True)``: steps that a CUDA device does at one go, by ``steep.cuda.graph``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..graphs import graph
from .precision import within
from .steps import Steps

if TYPE_CHECKING:
    from .compiled import Compiled
    from .trainable import Trainable

__all__ = ["CapturedSteps", "check_capturable"]

LIMIT = 64  # combinations of batch shapes, and of places among batches whose gradients are accumulated


class CapturedSteps:
    """``train_step`` of one ``fit``. Metrics, which may count in Python, are computed outside of the graph.

    A ``train_step`` of the user's own is captured as a whole.
    """

    def __init__(self, model: Trainable, state: Compiled) -> None:
        self.model, self.state = model, state
        self.own = type(model).train_step is not Steps.train_step
        self.modules, self.parameters = [*model.modules()], [*model.parameters()]
        train = within(state, model.train_step if self.own else self._train)
        self.step = graph(lambda batch, *setting: train(batch), limit=LIMIT)
        self.measure = within(state, self._measure)

    def __call__(self, batch: Any) -> Mapping[str, Any]:
        """Trains on one batch, and returns what ``train_step`` does."""
        results = self.step(batch, self.state.group, *self._setting())
        return results if self.own else self.measure((batch, *results))  # type: ignore[no-any-return]

    def _setting(self) -> tuple[Any, ...]:
        """What callbacks may change that a graph would not notice."""
        return tuple([m.training for m in self.modules]), tuple([p.requires_grad for p in self.parameters])

    def _train(self, batch: Any) -> tuple[Any, ...]:
        x, y = batch[0], batch[1]
        output = self.model._call(x)
        loss = self.model.compute_loss(output, y, batch[2] if len(batch) > 2 else None)
        self.model.minimize(loss)
        return loss, output if self.state.measured else None, {**self.state.parts}

    def _measure(self, batch_and_results: Any) -> Mapping[str, Any]:
        batch, loss, output, self.state.parts = batch_and_results
        return {"loss": loss, **self.model.compute_metrics(output, batch[1], batch[2] if len(batch) > 2 else None)}


def check_capturable(model: Trainable, state: Compiled) -> None:
    """Raises ValueError for what ``fit`` cannot do in a graph."""
    if state.precision is not None and state.precision.scaler.is_enabled():
        raise ValueError(
            'fit: jit_compile=True is not for precision="float16", where each step asks whether gradients are finite: '
            'use precision="bfloat16"'
        )
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.capturable:
        raise ValueError(
            f"fit: jit_compile=True is for SGD, Adam and AdamW, whose numbers follow the steps on the device, not for "
            f"{type(optimizer).__name__}: leave it out, or take one of these"
        )
