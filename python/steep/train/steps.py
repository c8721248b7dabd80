"""What ``fit`` does with one batch: the methods to override for training in another way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..autograd import is_grad_enabled, no_grad
from ..checks import shown
from ..tensor import Parameter, Tensor

if TYPE_CHECKING:
    from ..optim import Optimizer
    from .compiled import Compiled

__all__ = ["Steps"]


class Steps:
    """The part of ``Trainable`` that trains on a batch and measures it."""

    optimizer: Optimizer
    _compiled: Compiled | None = None

    if TYPE_CHECKING:  # what Module adds

        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
        def parameters(self) -> Iterator[Parameter]: ...
        def named_parameters(self) -> Iterator[tuple[str, Parameter]]: ...
        def has_regularizers(self) -> bool: ...
        def regularization_loss(self) -> Tensor: ...
        def apply_constraints(self) -> None: ...

    def train_step(self, batch: Any) -> Mapping[str, Any]:
        """Trains on one batch, (x, y) or (x, y, sample_weight), and returns what the history shows.

        That is a dict of numbers, 1-element tensors, and Metrics. Override it to train in your own way inside ``fit``;
        ``self.optimizer`` is the one from ``compile``, and ``self.minimize(loss)`` steps it as ``fit`` was told to.
        """
        x, y = batch[0], batch[1]
        weight = batch[2] if len(batch) > 2 else None
        output = self._call(x)
        loss = self.compute_loss(output, y, weight)
        self.minimize(loss)
        return {"loss": loss, **self.compute_metrics(output, y, weight)}

    def validation_step(self, batch: Any) -> Mapping[str, Any]:
        """Measures one batch, in eval mode and without a graph, and returns the same as ``train_step``."""
        x, y = batch[0], batch[1]
        weight = batch[2] if len(batch) > 2 else None
        output = self._call(x)
        return {"loss": self.compute_loss(output, y, weight), **self.compute_metrics(output, y, weight)}

    def compute_loss(self, output: Any, target: Any, sample_weight: Any = None) -> Any:
        """The compiled loss, and the penalties of regularizers. Raises RuntimeError if there is no loss."""
        state = self._compiled
        if state is None or (state.only is not None and state.only.loss is None):
            raise RuntimeError(f"{type(self).__name__} has no loss: call model.compile(optimizer, loss) first")
        if target is None:
            raise ValueError(f"{type(self).__name__} is trained with a loss of (output, target), and got no targets y")
        if state.checked or not is_grad_enabled():
            loss = (state.only or state).loss_of(output, target, sample_weight)
        else:
            from .mistakes import checked_loss

            state.checked = True
            loss = checked_loss(self, state, output, target, sample_weight)
        if self.has_regularizers():
            loss = loss + self.regularization_loss()
        if state.regularizer is not None:
            from ..nn.regularizers import of_weights

            loss = loss + of_weights(self, state.regularizer)  # type: ignore[arg-type]
        return loss

    def compute_metrics(self, output: Any, target: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The compiled metrics of a batch."""
        state = self._compiled
        if state is None or not state.measured:
            return {}
        if state.unrecorded is not None:
            return {name: function(output, target) for name, function in state.unrecorded.items()}
        with no_grad():
            return state.measures_of(output, target, sample_weight)

    def minimize(self, loss: Tensor) -> None:
        """A step of the optimizer down the gradient of ``loss``: zero_grad, backward, step, apply_constraints.

        In ``fit`` with ``accumulate_gradients`` a step is taken after so many calls; with ``gradient_clip_norm`` the
        gradients are clipped before it.
        """
        if not isinstance(loss, Tensor):
            raise TypeError(f"minimize: the loss must be a Tensor, which has a gradient, not {shown(loss)}")
        state, optimizer = self._compiled, self.optimizer
        group = None if state is None else state.group
        if group is None or group.first:
            optimizer.zero_grad()
        loss = loss if group is None else loss / group.size
        precision = None if state is None else state.precision
        (loss if precision is None else precision.scaler.scale(loss)).backward()
        if (group is None or group.last) and (state is None or not state.steps_outside):
            self._finish_step()

    def _finish_step(self) -> None:
        """The end of ``minimize``: a step down the gradients that there are."""
        state, optimizer = self._compiled, self.optimizer
        group, precision = (None, None) if state is None else (state.group, state.precision)
        if group is not None and group.begun < group.size:  # the source had no length, and ended within the group
            with no_grad():
                for parameter in self.parameters():
                    if parameter.grad is not None:
                        parameter.grad.mul_(group.size / group.begun)
        if precision is not None:
            precision.scaler.unscale_(optimizer)
        if state is not None and state.clip_norm is not None:
            from ..nn.utils import clip_grad_norm_

            clip_grad_norm_(self.parameters(), state.clip_norm)
        if precision is None:
            optimizer.step()
        else:
            precision.step(optimizer)
        self.apply_constraints()

    def _call(self, x: Any) -> Any:
        """The model's output for one input, or for a tuple or dict of several."""
        if self._compiled is not None and self._compiled.precision is not None:
            return self._compiled.precision.call(self, x)
        if isinstance(x, Tensor):
            return self(x)
        return self(**x) if isinstance(x, dict) else self(*x)
