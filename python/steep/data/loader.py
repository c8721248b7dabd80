"""DataLoader: a dataset in batches, in order or shuffled, prepared ahead in threads or in other processes."""

from __future__ import annotations

import hashlib
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import random
from ..checks import check_count, shown
from ..devices import cpu, resolve
from ..ops import to_device
from ..structure import map_tensors
from ..tensor import Tensor
from .collate import default_collate
from .dataset import TensorDataset, as_dataset, samples_of
from .samplers import BatchSampler, RandomSampler, SequentialSampler

if TYPE_CHECKING:
    from .workers import Workers

__all__ = ["DataLoader", "Job", "Request"]

Results = Generator[tuple[Any, bool], None, None]


class Request(NamedTuple):
    """The numbers of a batch's samples, and the seed of its random numbers."""

    rows: Any
    seed: int | None


class Job(NamedTuple):
    """How a batch is made: everything that another thread or process needs to know."""

    dataset: Any
    collate: Callable[[list[Any]], Any] | None
    transform: Callable[[Any], Any] | None

    def __call__(self, request: Request) -> tuple[Any, bool]:
        """The batch, and whether random numbers were drawn for it."""
        with nullcontext() if request.seed is None else random.fork(request.seed):
            batch = self.batch(request.rows)
            if self.transform is not None:
                batch = self._transformed(batch)
            return batch, request.seed is not None and random.get_state() != (request.seed, 0)

    def batch(self, rows: Any) -> Any:
        """The samples of these numbers together, as the dataset has them."""
        numbers = np.asarray(rows)
        if self.collate is not None or numbers.dtype.kind not in "iu":
            samples = [self.dataset[i] for i in (numbers.tolist() if numbers.dtype.kind in "iu" else rows)]
            return (self.collate or default_collate)(samples)
        found = samples_of(self.dataset, numbers.astype(np.int64, copy=False))
        return default_collate(found) if isinstance(found, list) else found

    def _transformed(self, batch: Any) -> Any:
        assert self.transform is not None
        if isinstance(batch, tuple) and not hasattr(batch, "_fields"):
            return (self.transform(batch[0]), *batch[1:])
        return self.transform(batch)


def _check_no_targets(batch_size: Any) -> None:
    if isinstance(batch_size, list | tuple) or getattr(batch_size, "shape", ()) != ():
        raise TypeError(
            f"DataLoader: batch_size must be an integer, not {shown(batch_size)}: inputs and targets are one dataset, "
            "DataLoader((x, y), batch_size=32)"
        )


class DataLoader:
    """The samples of a dataset in batches: ``for x, y in DataLoader((x, y), batch_size=16, shuffle=True)``.

    ``dataset`` is a tuple of arrays, such as (x, y), a ``Dataset``, or anything else with ``__len__`` and
    ``__getitem__``. The rows of tensors and arrays are taken all at once; other samples one by one, and put together by
    ``collate_fn(list_of_samples)``, or by ``default_collate``. The last batch may be smaller: ``drop_last`` leaves it
    out. ``len(loader)`` is the number of batches.

    The order: with ``shuffle`` a permutation by ``steep.random``, drawn when the iteration begins, so that a seed gives
    the same batches again, and those of ``model.fit(x, y)``; else that of ``sampler``, an iterable of numbers; or
    ``batch_sampler``, an iterable of lists of them, says all.

    ``transform`` is applied to every batch's inputs, its first part; see ``steep.data.augment``. What it and the
    dataset draw from ``steep.random`` comes from a stream of each batch's own: the batches are the same, however many
    threads or processes make them.

    ``prefetch`` batches are made ahead in a background thread. With ``num_workers`` the batches are made in as many
    processes, ``prefetch`` of them ahead (two per process by default). They are started by ``start_method`` "spawn",
    "forkserver" or "fork" for each iteration, or, with ``persistent_workers``, once, and know only of the dataset as it
    was then. All but "fork" send the dataset to the processes by pickle, and need ``if __name__ == "__main__":`` around
    a script's own work; "fork" copies a process that may have threads, which can hang. What fails in a thread or a
    process is raised where the batch is awaited.

    ``device`` is where batches are brought: by default, tensors on a CUDA device stay there, and all others go to the
    default device.

    Raises TypeError for what is no dataset, ValueError for arguments that contradict each other.

    >>> import steep as st
    >>> x, y = st.arange(10).reshape(5, 2), st.arange(5)
    >>> loader = st.data.DataLoader((x, y), batch_size=2)
    >>> len(loader)
    3
    >>> for inputs, targets in loader:
    ...     print(inputs.shape, targets)
    (2, 2) tensor([0, 1])
    (2, 2) tensor([2, 3])
    (1, 2) tensor([4])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 32,
        shuffle: bool = False,
        *,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        transform: Callable[[Any], Any] | None = None,
        drop_last: bool = False,
        prefetch: int | None = None,
        num_workers: int = 0,
        persistent_workers: bool = False,
        start_method: str = "spawn",
        device: Any = None,
    ) -> None:
        _check_no_targets(batch_size)
        self.dataset = as_dataset(dataset)
        if shuffle and sampler is not None:
            raise ValueError("DataLoader: give shuffle or a sampler, not both: a sampler says the order")
        if batch_sampler is not None and (batch_size != 32 or shuffle or sampler is not None or drop_last):
            raise ValueError("DataLoader: a batch_sampler says all of batch_size, shuffle, sampler and drop_last")
        check_count("DataLoader: num_workers", num_workers, 0)
        check_count("DataLoader: prefetch", 0 if prefetch is None else prefetch, 0)
        self.batch_size = batch_size if batch_sampler is None else None
        self.drop_last = drop_last
        if batch_sampler is None:
            if sampler is None:
                sampler = RandomSampler(self.dataset) if shuffle else SequentialSampler(self.dataset)
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn
        self.transform = transform
        self.num_workers = num_workers
        self.prefetch = 2 * num_workers if prefetch is None else max(prefetch, num_workers)
        self.persistent_workers = persistent_workers
        self.start_method = start_method
        self.device = None if device is None else resolve(device)
        self._parked: list[Workers] = []  # persistent ones, between iterations
        weakref.finalize(self, _close, self._parked)

    def __len__(self) -> int:
        try:
            return len(self.batch_sampler)  # type: ignore[arg-type]
        except TypeError as error:
            raise TypeError(f"DataLoader: the number of batches is not known: {error}") from None

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.batch_sampler)  # draws the order now, in this thread
        return self._run(batches, random.get_state())

    def _run(self, batches: Iterator[Any], state: tuple[int, int]) -> Iterator[Any]:
        job = Job(self.dataset, self.collate_fn, self.transform)
        plain = (
            isinstance(self.dataset, Tensor | np.ndarray | TensorDataset) and self.collate_fn is self.transform is None
        )
        target, stays = resolve(self.device), self.device is None

        def placed(x: Tensor) -> Tensor:
            return x if x.device is target or (stays and x.device is not cpu) else to_device(x, target)

        if plain and not self.num_workers and not self.prefetch:
            for rows in batches:
                yield map_tensors(placed, job.batch(rows))
            return
        requests = (Request(rows, None if plain else _seed(state, i)) for i, rows in enumerate(batches))
        drawn = False
        with closing(self._results(job, requests)) as results:
            for batch, drew in results:
                if drew and not drawn:  # once an iteration, so that the next one has other seeds
                    drawn = True
                    random.uniform(1, device=cpu)
                yield map_tensors(placed, batch)

    def _results(self, job: Job, requests: Iterator[Request]) -> Results:
        if self.num_workers:
            return self._from_workers(job, requests)
        return (
            _ahead(job.__call__, requests, self.prefetch, 1)
            if self.prefetch
            else (job(request) for request in requests)
        )

    def _from_workers(self, job: Job, requests: Iterator[Request]) -> Results:
        from .workers import Workers

        workers = self._parked.pop() if self._parked else Workers(job, self.num_workers, self.start_method)
        yield from _ahead(workers, requests, self.prefetch, self.num_workers, workers.close)
        if self.persistent_workers:
            self._parked.append(workers)
        else:
            workers.close()

    def __repr__(self) -> str:
        size = "" if self.batch_size is None else f", batch_size={self.batch_size}"
        return f"DataLoader({type(self.dataset).__name__} of {len(self.dataset)}{size})"


def _ahead(
    function: Callable[[Request], Any],
    requests: Iterator[Request],
    count: int,
    threads: int,
    abandon: Callable[[], None] = lambda: None,
) -> Results:
    """The results in order, ``count`` of them begun before they are asked for.

    After an error or an interrupt, or if the rest is not wanted, ``abandon`` is called before the threads are joined:
    they may be waiting for something that takes long.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads, "steep-loader") as pool:
        pending: deque[Any] = deque()
        try:
            pending.extend(pool.submit(function, request) for request in islice(requests, count))
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(function, request) for request in islice(requests, 1))
                yield result
        except BaseException:
            for future in pending:
                future.cancel()
            abandon()
            raise


def _seed(state: tuple[int, int], number: int) -> int:
    """The seed of a batch: another one for every seed, place in its stream, and number of the batch."""
    text = f"{state[0]} {state[1]} {number}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _close(parked: list[Workers]) -> None:
    while parked:
        parked.pop().close()
