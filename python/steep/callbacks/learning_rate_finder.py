"""A range test: which learning rates lower the loss."""

from __future__ import annotations

import math
from typing import Any

from .. import random
from ..checks import check_count
from .callback import Callback, Logs

__all__ = ["LearningRateFinder"]


class LearningRateFinder(Callback):
    """Raises the learning rate from batch to batch and records the loss, until it diverges; then all is as before.

    The rate grows exponentially from ``min_lr`` to ``max_lr`` in ``steps`` batches: Smith 2017, arXiv:1506.01186. The
    loss is smoothed by an exponential mean, share · mean + (1 − share) · loss with the share ``smoothing``, divided by
    1 − share^n (as Adam does) so that the first ones count in full. The test ends when it is above ``divergence`` times
    its least, or NaN. Weights, optimizer, count of epochs and random stream are what they were, however ``fit`` ends.

    Give ``fit`` enough ``epochs`` for the steps. Afterwards ``rates`` and ``losses`` (smoothed) have the curve;
    ``suggestion`` is the rate at which the loss falls most steeply over the logarithm of the rate, and ``plot()`` draws
    it. Raises ValueError for arguments out of range.

    >>> import steep as st
    >>> st.random.manual_seed(0)
    >>> x = st.random.normal((320, 4))
    >>> model = st.nn.Linear(4, 1)
    >>> model.compile("sgd", "mse")
    >>> finder = st.callbacks.LearningRateFinder(min_lr=1e-4, max_lr=10.0)
    >>> _ = model.fit(x, x.sum(1, keepdims=True), epochs=20, callbacks=[finder], verbose=0)
    >>> 1e-3 < finder.suggestion < 1, model.optimizer.lr
    (True, 0.01)
    """

    REACH = 5  # steps on both sides between which the slope is measured: from one to the next it is mostly noise

    def __init__(
        self,
        min_lr: float = 1e-7,
        max_lr: float = 10.0,
        steps: int = 100,
        smoothing: float = 0.8,
        divergence: float = 4.0,
    ) -> None:
        if not 0 < min_lr < max_lr < math.inf:
            raise ValueError(f"LearningRateFinder: min_lr={min_lr} must be above 0 and below max_lr={max_lr}")
        if not 0 <= smoothing < 1 or not divergence > 1:
            raise ValueError(
                f"LearningRateFinder: smoothing={smoothing} must be in [0, 1), and divergence={divergence} above 1"
            )
        self.min_lr, self.max_lr = min_lr, max_lr
        self.steps = check_count("LearningRateFinder: steps", steps, 2)
        self.smoothing, self.divergence = smoothing, divergence
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._before: dict[str, Any] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Remembers what is to be restored."""
        loop, optimizer = self.loop, self.model.optimizer
        assert loop is not None
        self.rates, self.losses = [], []
        self._mean = 0.0
        self._seen: tuple[int, float] = (0, 0.0)  # samples, and the sum of their losses
        self._before = {
            "model": self.model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rates": [group["lr"] for group in optimizer.param_groups],  # a schedule is not in the state
            "epoch": loop.epoch,
            "random": random.get_state(),
        }

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Sets the rate."""
        if batch == 0:
            self._seen = (0, 0.0)
        share = len(self.rates) / (self.steps - 1)
        self.rates.append(self.min_lr * (self.max_lr / self.min_lr) ** share)
        self.model.optimizer.lr = self.rates[-1]

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Records the loss of the batch, which is that before the step at this rate."""
        loop = self.loop
        assert loop is not None
        samples, total = loop.means.samples, logs["loss"] * loop.means.samples
        loss = (total - self._seen[1]) / (samples - self._seen[0])
        self._seen = (samples, total)
        self._mean = self.smoothing * self._mean + (1 - self.smoothing) * loss
        smooth = self._mean / (1 - self.smoothing ** len(self.rates))
        least = min(self.losses, default=math.inf)
        self.losses.append(smooth)
        if not smooth <= self.divergence * least or len(self.rates) == self.steps:
            self.model.stop_training = True

    def close(self) -> None:
        """Restores all, after an error too."""
        before, self._before = self._before, None
        if before is None:
            return
        optimizer, loop = self.model.optimizer, self.loop
        self.model.load_state_dict(before["model"])
        for group, rate in zip(optimizer.param_groups, before["rates"], strict=True):
            group["lr"] = rate
        optimizer.load_state_dict(before["optimizer"])
        if loop is not None:
            loop.state.epoch = before["epoch"]
        random.set_state(before["random"])

    @property
    def suggestion(self) -> float:
        """The rate at which the smoothed loss falls most steeply. Raises RuntimeError before three finite losses."""
        points = [
            (rate, loss) for rate, loss in zip(self.rates, self.losses, strict=False) if math.isfinite(loss)
        ]  # an interrupted batch has a rate only
        if len(points) < 3:
            raise RuntimeError(
                f"LearningRateFinder: {len(points)} batches show no slope: model.fit(…, callbacks=[finder]) comes "
                "first, with enough epochs"
            )
        reach = max(1, min(self.REACH, len(points) // 4))
        slopes = [after[1] - before[1] for before, after in zip(points, points[2 * reach :], strict=False)]
        return points[reach + min(range(len(slopes)), key=slopes.__getitem__)][0]

    def plot(self, ax: Any = None, path: Any = None) -> Any:
        """Draws loss over rate, and the suggestion, as ``steep.plots`` does; returns the axes."""
        from ..plots.figure import INK, colour, drawing, legend, tidy

        with drawing(ax, path) as ax:
            ax.plot(self.rates[: len(self.losses)], self.losses, color=colour(0))
            ax.axvline(self.suggestion, color=INK, linestyle=":", label=f"suggestion {self.suggestion:.2g}")
            ax.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")
            tidy(ax)
            legend(ax)
        return ax
