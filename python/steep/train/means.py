"""Running means over the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .. import _core, dtypes
from ..devices import cpu
from ..ops import stack
from ..tensor import Tensor

__all__ = ["Means"]


class Means(Mapping[str, Any]):
    """Loss and metrics of an epoch so far, each batch weighted by its size.

    A value that is a Metric, which counts for itself, stands for its result. Numbers on a CUDA device are read many at
    a time, as each reading waits for the device.

    >>> from steep.train.means import Means
    >>> means = Means()
    >>> means.add({"loss": 1.0}, 3)
    >>> means.add({"loss": 2.0}, 1)
    >>> means.result()
    {'loss': 1.25}
    """

    INTERVAL = 32  # batches between two readings

    def __init__(self, waits: bool = True) -> None:
        self.waits = waits  # there may be numbers on a CUDA device
        self.totals: dict[str, Any] = {}  # by name: a sum over the samples, or a Metric
        self.samples = 0
        self.batches = 0
        self.lost: tuple[int, float] | None = None  # the batch in which the loss became infinite or NaN, and which
        self._pending: list[tuple[Mapping[str, Any], int]] = []

    def add(self, values: Mapping[str, Any], samples: int, last: bool = False) -> None:
        """Adds the means of a batch: numbers, 1-element tensors or Metrics. The ``last`` one's are read at once."""
        if type(values) is not dict and not isinstance(values, Mapping):
            raise TypeError(
                "train_step and validation_step return a dict of what the history shows, such as {'loss': loss}, "
                f"not {values!r:.60}"
            )
        self.samples += samples
        self.batches += 1
        if not self.waits or not (self._pending or any(map(_waits, values.values()))):
            self._total(values, samples, self.batches)
            return
        # copies: a step may count in place, and a graph would be kept alive
        values = {name: _core.copy(value) if _waits(value) else value for name, value in values.items()}
        self._pending.append((values, samples))
        if last or len(self._pending) >= self.INTERVAL:
            self._read()

    def result(self) -> dict[str, Any]:
        """The means so far, and the results of the Metrics: floats, and tensors where a Metric gives one."""
        return {name: self[name] for name in self}

    def __getitem__(self, name: str) -> Any:
        self._read()
        total = self.totals[name]
        if isinstance(total, float):
            return total / self.samples
        result = total.result()
        return float(result) if not isinstance(result, Tensor) or result.size == 1 else result

    def __iter__(self) -> Iterator[str]:
        self._read()
        return iter(self.totals)

    def __len__(self) -> int:
        self._read()
        return len(self.totals)

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on in the middle of an epoch; the state of Metrics included."""
        self._read()
        totals = {name: x if isinstance(x, float) else x.state_dict() for name, x in self.totals.items()}
        return {"totals": totals, "samples": self.samples, "batches": self.batches, "lost": self.lost}

    def load_state_dict(self, state: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
        """Goes on there; ``metrics`` are the Metrics by name."""
        self.samples, self.batches, self.lost = state["samples"], state["batches"], state["lost"]
        self.totals = {}
        for name, total in state["totals"].items():
            if name in metrics:
                metrics[name].load_state_dict(total)
            self.totals[name] = metrics.get(name, total)

    def _read(self) -> None:
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        numbers = iter(_numbers([value for values, _ in pending for value in values.values() if _waits(value)]))
        for batch, (values, samples) in enumerate(pending, self.batches - len(pending) + 1):
            read = {name: next(numbers) if _waits(value) else value for name, value in values.items()}
            self._total(read, samples, batch)

    def _total(self, values: Mapping[str, Any], samples: int, batch: int) -> None:
        totals = self.totals
        if type(values) is not dict or not _core.add_numbers(totals, values, samples):
            for name, value in values.items():
                if hasattr(value, "result"):
                    totals[name] = value
                    continue
                try:
                    number = float(value)
                except (TypeError, ValueError):
                    raise TypeError(
                        f"{name!r} of a batch is {value!r:.60}: it must be a number, a 1-element tensor or a Metric"
                    ) from None
                totals[name] = totals.get(name, 0.0) + number * samples
        loss = totals.get("loss", 0.0)
        if loss - loss != 0 and self.lost is None:  # infinite or NaN
            self.lost = batch, loss


def _waits(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device is not cpu and value.size == 1


def _numbers(values: list[Tensor]) -> list[float]:
    """The elements of 1-element tensors, by one reading if they are on one device."""
    if len({value.device for value in values}) > 1:
        return [float(value) for value in values]
    floats = [value if value.dtype.is_floating_point else value.astype(dtypes.float64) for value in values]
    return stack([value.reshape(()) for value in floats]).tolist() if floats else []
