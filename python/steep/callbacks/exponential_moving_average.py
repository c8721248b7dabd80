"""Weights averaged over the last steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import _core
from ..autograd import no_grad
from ..nn.utils import wide
from ..ops import zeros_like
from ..tensor import Parameter, Tensor
from .callback import Callback, Logs

__all__ = ["ExponentialMovingAverage", "measured_weights", "set_weights"]


class ExponentialMovingAverage(Callback):
    """Averages the parameters over the steps, validates with the averages, and leaves them in the model.

    average = decay · average + (1 − decay) · parameter after every step of the optimizer, from step ``start`` on, where
    it begins as the parameters themselves: Polyak and Juditsky 1992, and Keras' ``ema_momentum``. It is a mean over the
    last 1 / (1 − decay) steps or so, and often better than the last weights. Buffers, such as the running means of
    BatchNorm, are not averaged; averages of 16-bit parameters are float32.

    Validation within ``fit`` measures the averages; so ``EarlyStopping`` and ``ModelCheckpoint`` keep these too.
    ``final``: whether the model has the "averaged" weights at the end or the "last" ones. ``averages`` has them by
    name. Raises ValueError for a decay outside of [0, 1) and other words.

    >>> import steep as st
    >>> st.random.manual_seed(0)
    >>> x = st.random.normal((64, 3))
    >>> model = st.nn.Linear(3, 1)
    >>> model.compile("sgd", "mse")
    >>> ema = st.callbacks.ExponentialMovingAverage(decay=0.9)
    >>> _ = model.fit(x, x.sum(1, keepdims=True), epochs=5, callbacks=[ema], verbose=0)
    >>> bool((model.weight == ema.averages["weight"]).all())
    True
    """

    def __init__(self, decay: float = 0.99, start: int = 0, final: str = "averaged") -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ExponentialMovingAverage: decay={decay} must be at least 0 and less than 1")
        if final not in ("averaged", "last"):
            raise ValueError(f"ExponentialMovingAverage: final={final!r} must be 'averaged' or 'last'")
        self.decay, self.start, self.final = decay, start, final
        self.steps = 0
        self.averages: dict[str, Tensor] = {}
        self._trained: dict[str, Tensor] = {}  # the model's own weights, while it has the averages
        self._averaged: list[tuple[Tensor, Parameter]] = []  # see _average

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins anew."""
        self.steps, self.averages, self._averaged = 0, {}, []

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Averages, if the optimizer has made a step."""
        if self.loop is not None and not self.loop.between_steps:
            return
        self.steps += 1
        if self.steps <= self.start:
            return
        if not self.averages:
            self.averages = {name: wide(p.detach().copy()) for name, p in self.model.named_parameters()}
        else:
            self._average()

    def _average(self) -> None:
        """All at once: an average is the momentum of SGD at a rate of 0, where the parameters are the gradients."""
        if not self._averaged:
            self._averaged = [(zeros_like(wide(p.detach())), p) for p in self.model.parameters()]
        for still, p in self._averaged:
            still.grad = wide(p.detach())
        parts, n, decay = [still for still, _ in self._averaged], len(self._averaged), self.decay
        _core.sgd(parts, [*self.averages.values()], [False] * n, 0.0, decay, decay, 0.0, False)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Validation sees the averages."""
        if self.loop is not None and self.averages:
            self._trained = {name: p.detach().copy() for name, p in self.model.named_parameters()}
            self._put(self.averages)

    def on_test_end(self, logs: Logs) -> None:
        """Training goes on with the weights it has come to."""
        self.close()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """The model gets the averages, if they are what it shall end with."""
        if self.final == "averaged" and self.averages:
            self._put(self.averages)

    def close(self) -> None:
        """The model has its own weights again, after an error within validation too."""
        self._put(self._trained)
        self._trained = {}

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        parameters = dict(self.model.named_parameters())
        with no_grad():
            for name, values in weights.items():
                parameters[name].copy_(values)

    def state_dict(self) -> dict[str, Any]:
        """The averages, and of how many steps."""
        return {"steps": self.steps, "averages": {name: x.copy() for name, x in self.averages.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on there. Raises ValueError for averages of another model's parameters."""
        shapes = {name: p.shape for name, p in self.model.named_parameters()}
        saved = {name: x.shape for name, x in state["averages"].items()}
        if saved and saved != shapes:
            raise ValueError(f"ExponentialMovingAverage: averages of {saved}, and the model has {shapes}")
        places = {name: p.device for name, p in self.model.named_parameters()}
        self.averages = {name: state["averages"][name].to(place) for name, place in places.items() if saved}
        self.steps = state["steps"]


def _average_of(callback: Callback) -> ExponentialMovingAverage | None:
    """The averages that run beside ``callback``, if there are any yet."""
    found = None if callback.loop is None else callback.loop.callbacks.find(ExponentialMovingAverage)
    return found if found is not None and found.averages else None


def measured_weights(callback: Callback) -> dict[str, Tensor]:
    """A copy of the weights that validation has measured: the model's, or their averages beside its buffers."""
    weights, averaged = callback.model.state_dict(), _average_of(callback)
    if averaged is not None:
        weights.update({name: x.to(weights[name].dtype).copy() for name, x in averaged.averages.items()})
    return weights


def set_weights(callback: Callback, weights: Mapping[str, Tensor]) -> None:
    """Gives the model these weights, and makes them the averages too, which may come to the model only after this."""
    callback.model.load_state_dict(weights)
    averaged = _average_of(callback)
    if averaged is not None:
        averaged.averages = {name: wide(p.detach().copy()) for name, p in callback.model.named_parameters()}
