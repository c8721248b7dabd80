"""A smaller learning rate when nothing improves any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checks import check_count, check_number
from .callback import Logs
from .monitor import Monitor

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by ``factor`` once ``monitor`` has not improved for ``patience`` epochs.

    As Keras' callback of that name. ``monitor``, ``mode`` and ``min_delta``: see ``Monitor``. After a reduction
    ``cooldown`` epochs pass before it counts again. No rate falls below ``min_lr``; each group of parameters has its
    own. ``verbose=1`` prints each reduction. "learning_rate", that of the epoch, is added to the logs.

    Raises ValueError for a factor outside of (0, 1), negative counts of epochs, and an optimizer whose rate is a
    schedule.

    >>> import steep as st
    >>> model = st.nn.Linear(1, 1)
    >>> model.compile(st.optim.SGD(model.parameters(), lr=0.5), "mse")
    >>> plateau = st.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=100.0)
    >>> history = model.fit([[1.0]], [[2.0]], epochs=4, callbacks=[plateau], verbose=0)
    >>> history["learning_rate"]
    [0.5, 0.5, 0.25, 0.125]
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor={factor} must be between 0 and 1")
        self.patience = check_count("ReduceLROnPlateau: patience", patience, 0)
        self.cooldown = check_count("ReduceLROnPlateau: cooldown", cooldown, 0)
        self.factor, self.verbose = factor, verbose
        self.min_lr = check_number("ReduceLROnPlateau: min_lr", min_lr)
        self.wait = self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins anew. Raises ValueError if the rate follows a schedule."""
        if any(callable(group["lr"]) for group in self.model.optimizer.param_groups):
            raise ValueError(
                "ReduceLROnPlateau: the optimizer's lr is a schedule, which sets the rate of each step: use a number"
            )
        self.best, self.wait, self.cooldown_counter = self.worst, 0, 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Looks at the number. Raises ValueError if it is not there."""
        optimizer = self.model.optimizer
        logs["learning_rate"] = float(optimizer.lr)
        value = self.watched(logs)
        if value is None:
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improves(value, self.best):
            self.best, self.wait = value, 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        optimizer = self.model.optimizer
        above = [group for group in optimizer.param_groups if group["lr"] > self.min_lr]
        if not above:
            return
        for group in above:
            group["lr"] = max(float(group["lr"]) * self.factor, self.min_lr)
        self.cooldown_counter, self.wait = self.cooldown, 0
        if self.verbose:
            print(f"ReduceLROnPlateau: the learning rate is {optimizer.lr:.4g} after epoch {epoch + 1}", flush=True)

    def state_dict(self) -> dict[str, Any]:
        """The best number, and how many epochs have passed since."""
        return {**super().state_dict(), "wait": self.wait, "cooldown_counter": self.cooldown_counter}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on there."""
        super().load_state_dict(state)
        self.wait, self.cooldown_counter = state["wait"], state["cooldown_counter"]
