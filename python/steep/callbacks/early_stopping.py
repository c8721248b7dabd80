"""Training stops when nothing improves any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checks import check_count
from ..tensor import Tensor
from .callback import Logs
from .exponential_moving_average import measured_weights, set_weights
from .monitor import Monitor

__all__ = ["EarlyStopping"]


class EarlyStopping(Monitor):
    """Stops ``fit`` once ``monitor`` has not improved for ``patience`` epochs, and goes back to the best weights.

    As Keras' callback of that name, but that ``restore_best_weights`` is True: at the end of ``fit``, whether it was
    stopped or not, the model has the weights of its best epoch, and a line says so unless ``fit`` is silent. The
    optimizer keeps its state.

    ``monitor``, ``mode`` and ``min_delta``: see ``Monitor``. ``patience``: after so many epochs in a row without an
    improvement it stops; 0 is the first such epoch. ``baseline``: until the number is better than this, improvements
    don't count for patience. ``start_from_epoch``: the epochs before it, counted from 0, are passed over. ``verbose=1``
    prints when it stops.

    Afterwards ``best`` is the best number, ``best_epoch`` its epoch and ``stopped_epoch`` the one in which it stopped,
    from 0; without a stop ``stopped_epoch`` is 0.

    >>> import steep as st
    >>> st.random.manual_seed(0)
    >>> model = st.nn.Linear(1, 1)
    >>> model.compile(st.optim.SGD(model.parameters(), lr=3.0), "mse")  # too large a rate
    >>> stopping = st.callbacks.EarlyStopping("loss", patience=2)
    >>> history = model.fit([[0.5], [1.0]], [[1.0], [2.0]], epochs=10, callbacks=[stopping], verbose=0)
    >>> stopping.best_epoch, stopping.stopped_epoch, len(history["loss"])
    (0, 2, 3)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = True,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = check_count("EarlyStopping: patience", patience, 0)
        self.verbose, self.baseline = verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self._begin()

    def _begin(self) -> None:
        self.best = self.worst
        self.wait = self.best_epoch = self.stopped_epoch = 0
        self.best_weights: dict[str, Tensor] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins anew."""
        self._begin()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Looks at the number. Raises ValueError if it is not there."""
        value = self.watched(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        better = self.improves(value, self.best)
        if self.restore_best_weights and (better or self.best_weights is None):
            self.best_weights, self.best_epoch = measured_weights(self), epoch
        self.wait += 1
        if better:
            self.best, self.best_epoch = value, epoch
            if self.baseline is None or self.improves(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Goes back to the best weights."""
        told = self.params.get("verbose", 0) != 0
        if self.stopped_epoch and self.verbose:
            print(f"EarlyStopping: {self.monitor} has not improved since epoch {self.best_epoch + 1}", flush=True)
        if self.best_weights is None:
            return
        set_weights(self, self.best_weights)
        if (told or self.verbose) and self.loop is not None and self.best_epoch != self.loop.epoch - 1:
            print(
                f"EarlyStopping: the model has the weights of epoch {self.best_epoch + 1} again, the best by "
                f"{self.monitor} ({self.best:.4g})",
                flush=True,
            )

    def state_dict(self) -> dict[str, Any]:
        """The best number, its epoch and weights, and how many epochs have passed since."""
        names = ("best", "wait", "best_epoch", "stopped_epoch", "best_weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on there."""
        super().load_state_dict(state)
        self.wait, self.best_epoch, self.stopped_epoch = state["wait"], state["best_epoch"], state["stopped_epoch"]
        self.best_weights = state["best_weights"]
