"""Where batches come from: arrays, or whatever iterates over batches."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from .. import _core, random
from ..devices import Device, cpu
from ..ops import take, to_device
from ..stack import level_outside
from ..structure import first_tensor, map_leaves, map_tensors, named_tensors
from ..tensor import Tensor
from .batches import Data, Form, as_data, placed

__all__ = ["Arrays", "Batches", "Source", "gives_batches", "source"]

_END: Any = object()  # in the place of a batch; None, which a generator may give by mistake, is none
Marked = tuple[Data, bool]  # a batch, and whether it is the epoch's last


class Source:
    """Batches on the model's device, epoch by epoch."""

    device: Device
    steps: int | None  # batches in an epoch, if that is known
    began: tuple[int, int] | None = None  # where in the random stream the running iteration began

    def epoch(self) -> Iterator[Marked]:
        """The batches of one epoch.

        What it takes from the random stream for their order, it takes when it is called.
        """
        raise NotImplementedError

    def layout(self) -> dict[str, Any]:
        """What must be the same when an epoch is resumed, as words and numbers."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Where the running iteration is, so that ``resume`` goes on with it."""
        return {"random": None if self.began is None else list(self.began)}

    def resume(self, state: Mapping[str, Any], start: int) -> Iterator[Marked] | None:
        """The rest of the epoch, from its batch ``start`` on; None before the first one, where ``epoch`` goes on.

        Batches that are passed over are asked for at once. The random stream is left anywhere.
        """
        raise NotImplementedError

    def again(self, number: int) -> Data | None:
        """The batch of this number in the epoch that was begun last, if it can be had again."""
        return None


class Arrays(Source):
    """Data in memory: consecutive rows, or rows in random order."""

    def __init__(
        self,
        data: Data,
        batch_size: int | None,
        device: Device,
        shuffle: bool = False,
        limit: int | None = None,
        at_most: bool = False,
    ) -> None:
        self.data = placed(data, device)
        self.samples = len(first_tensor(data))
        self.batch_size = batch_size or rows_to_measure(data)
        self.device, self.shuffle = device, shuffle
        self.steps: int = math.ceil(self.samples / self.batch_size)
        if limit is not None:
            if limit > self.steps and not at_most:
                raise ValueError(f"{limit} steps are asked for, and {self.samples} samples make {self.steps} batches")
            self.steps = min(limit, self.steps)
        self._order: Tensor | None = None

    def epoch(self) -> Iterator[Marked]:
        """Draws the order, if it is random."""
        self.began = random.get_state()
        self._order = random.permutation(self.samples, cpu) if self.shuffle else None
        return self._batches(0)

    def layout(self) -> dict[str, Any]:
        """Their number, and how they are put in batches."""
        return {"samples": self.samples, "batch_size": self.batch_size, "steps": self.steps, "shuffle": self.shuffle}

    def resume(self, state: Mapping[str, Any], start: int) -> Iterator[Marked] | None:
        """Draws the order again."""
        if not start:
            return None
        random.set_state(state["random"])
        self.epoch()
        return self._batches(start)

    def again(self, number: int) -> Data | None:
        """Any batch can be had again."""
        return next(self._batches(number, 1))[0]

    def _batches(self, start: int, group: int | None = None) -> Iterator[Marked]:
        """From batch ``start`` on. They are cut ``group`` at a time: several small ones cost less together."""
        order, size, last = self._order, self.batch_size, self.steps - 1
        data, device = self.data, self.device
        if order is not None:
            # On a CUDA device once an epoch: each gather there checks its indices, and waits for the result.
            data = _each(data, lambda x: x if x.device is cpu else take(x, to_device(order, x.device), 0))
        group = group or min(max(int(2**20 / max(size * _bytes(data), 1)), 1), 256)
        for begin in range(start, self.steps, group):
            end, part = min(begin + group, self.steps), data
            if order is not None or end - begin < math.ceil(self.samples / size):
                rows = (slice(begin * size, end * size),)
                chosen = None if order is None else _core.basic_index(order, rows)
                part = _each(data, partial(_gathered, rows, chosen))
            moves = any(x.device is not device for _, x in named_tensors(part, ""))
            for number, batch in enumerate(zip(*[_cut(x, size, end - begin) for x in part], strict=True), begin):
                yield _each(batch, lambda x: to_device(x, device)) if moves else batch, number == last


def _each(data: Data, f: Callable[[Tensor], Tensor]) -> Data:
    return tuple([map_tensors(f, part) for part in data])


def _gathered(rows: Any, chosen: Tensor | None, x: Tensor) -> Tensor:
    """The ``chosen`` rows; those from a CUDA device are already in their order."""
    return _core.basic_index(x, rows) if chosen is None or x.device is not cpu else _core.take(x, chosen, 0)


def _cut(x: Any, size: int, count: int) -> list[Any]:
    """The rows of each of ``count`` batches."""
    if isinstance(x, Tensor):
        return _core.row_views(x, size)
    views = map_tensors(lambda leaf: iter(_core.row_views(leaf, size)), x)
    return [map_leaves(lambda leaf: next(leaf) if isinstance(leaf, Iterator) else leaf, views) for _ in range(count)]


def _bytes(data: Any) -> float:
    """Those of a sample."""
    return sum(x.size * x.dtype.itemsize / len(x) for _, x in named_tensors(data, ""))


def rows_to_measure(data: Data) -> int:
    """Samples in a batch that nothing is learned from: as many as fit in 1 MiB, where small ones cost least each."""
    return max(32, int(2**20 / max(_bytes(data[0]), 1)))


class Batches(Source):
    """A loader, a generator, or anything else that iterates over batches (x, y), (x, y, sample_weight) or x.

    With ``limit``, an epoch has so many batches, and the next one goes on where it stopped; otherwise it is one
    iteration.
    """

    def __init__(self, batches: Iterable[Any], form: Form, device: Device, limit: int | None = None) -> None:
        self.batches, self.form, self.device, self.limit = batches, form, device, limit
        self.steps = limit if limit is not None else _length(batches)
        self._once = iter(batches) is batches if hasattr(batches, "__next__") else False
        self._used = False
        self._going: Iterator[Any] | None = None
        self._taken = 0  # of it, where an epoch is a part of it

    def epoch(self) -> Iterator[Marked]:
        """Begins an iteration, and looks one batch ahead if nothing tells which one is the last."""
        return self._limited(0) if self.limit is not None else self._whole(0)

    def layout(self) -> dict[str, Any]:
        """Their number."""
        return {"steps": self.steps}

    def state_dict(self) -> dict[str, Any]:
        """Also how many batches were taken."""
        return {**super().state_dict(), "taken": self._taken}

    def resume(self, state: Mapping[str, Any], start: int) -> Iterator[Marked] | None:
        """Begins the iteration again, and passes over the batches that were taken from it."""
        begun = state["random"] is not None and (start or self.limit is not None)
        if not begun:
            return None
        random.set_state(state["random"])
        if self.limit is None:
            return self._whole(start)
        self._begin()
        self._taken = state["taken"]
        deque(islice(self._going or (), self._taken), maxlen=0)
        return self._limited(start) if start else None

    def _begin(self) -> Iterator[Any]:
        self.began, self._used, self._taken = random.get_state(), True, 0
        self._going = iter(self.batches)
        return self._going

    def _whole(self, start: int) -> Iterator[Marked]:
        if self._once and self._used:
            raise ValueError(
                f"the {type(self.batches).__name__} has no more batches for another epoch: give steps_per_epoch (or "
                "validation_steps), or something that can be iterated over again, such as a steep.data.DataLoader"
            )
        batches = self._begin()
        deque(islice(batches, start), maxlen=0)
        if self.steps:
            return self._counted(batches, start, self.steps)
        following = next(batches, _END)
        if following is _END and start == 0:
            raise ValueError(f"the {type(self.batches).__name__} gave no batches")
        return self._ahead(batches, following)

    def _counted(self, batches: Iterator[Any], start: int, steps: int) -> Iterator[Marked]:
        number = start - 1
        for number, batch in enumerate(batches, start):
            yield self._converted(batch), number + 1 == steps
        if number + 1 != steps:
            raise ValueError(
                f"the {type(self.batches).__name__} has a length of {steps}, and gave {number + 1} batches"
            )

    def _ahead(self, batches: Iterator[Any], batch: Any) -> Iterator[Marked]:
        while batch is not _END:
            following = next(batches, _END)
            yield self._converted(batch), following is _END
            batch = following

    def _limited(self, start: int) -> Iterator[Marked]:
        for number in range(start, self.limit or 0):
            batch = next(self._going, _END) if self._going is not None else _END
            if batch is _END and not (self._once and self._used):
                batch = next(self._begin(), _END)
            self._taken += 1
            if batch is _END:
                warnings.warn(
                    f"the {type(self.batches).__name__} ended after {number} of {self.limit} batches of this epoch",
                    stacklevel=level_outside(),
                )
                return
            yield self._converted(batch), number + 1 == self.limit

    def _converted(self, batch: Any) -> Data:
        if batch is None:
            raise ValueError(f"the {type(self.batches).__name__} gave None in the place of a batch (x, y)")
        parts = tuple(batch) if isinstance(batch, tuple | list) else (batch, None)
        if not 1 <= len(parts) <= 3:
            raise ValueError(f"a batch must be (x, y) or (x, y, sample_weight), not {len(parts)} things")
        x, y, weight = (*parts, None, None)[:3]

        def here(x: Tensor) -> Tensor:
            return x if x.device is self.device else to_device(x, self.device)

        return tuple(map_tensors(here, part) for part in as_data(x, y, weight, self.form))


def _length(batches: Iterable[Any]) -> int | None:
    """The number of batches. None if there is no length, as with a DataLoader whose sampler has none."""
    try:
        return len(batches) if isinstance(batches, Sized) else None
    except TypeError:
        return None


def source(
    method: str,
    x: Any,
    y: Any,
    weight: Any,
    form: Form,
    batch_size: int | None,
    device: Device,
    shuffle: bool = False,
    limit: int | None = None,
    measuring: bool = False,
    at_most: bool = False,
) -> Source:
    """Batches of whatever ``x`` is: arrays with targets ``y``, a Dataset, a loader or a generator.

    ``limit`` is the number of batches in an epoch; arrays may have fewer if it is meant as ``at_most`` so many.
    Without a batch size it is 32, or, for ``measuring`` all of it, as large as is cheapest. Raises ValueError for
    targets, weights or a batch size beside what already gives batches.
    """
    size = batch_size or (None if measuring and limit is None else 32)
    if not gives_batches(x):
        return Arrays(as_data(x, y, weight, form), size, device, shuffle, limit, at_most)
    if y is not None or weight is not None:
        raise ValueError(
            f"{method}: x is a {type(x).__name__}, whose batches hold the targets and weights: leave y= and "
            "sample_weight= out"
        )
    from ..data import DataLoader, Dataset, TensorDataset

    if type(x) is TensorDataset and 1 <= len(x.tensors) <= 3:
        inputs, targets, weights = (*x.tensors, None, None)[:3]
        return Arrays(as_data(inputs, targets, weights, form), size, device, shuffle, limit, at_most)
    if isinstance(x, Dataset):
        return Batches(DataLoader(x, batch_size=batch_size or 32, shuffle=shuffle), form, device, limit)
    if batch_size is not None:
        raise ValueError(f"{method}: x is a {type(x).__name__}, which gives batches: leave batch_size= out")
    return Batches(x, form, device, limit)


def gives_batches(x: Any) -> bool:
    """Whether ``x`` is a Dataset, a loader or a generator, and not an array of samples."""
    if isinstance(x, Tensor | np.ndarray | list | tuple | dict | range):
        return False
    if hasattr(x, "__array__") or hasattr(x, "toarray"):  # a sparse matrix is refused where it is made a tensor
        return False
    return hasattr(x, "__iter__") or hasattr(x, "__getitem__")
