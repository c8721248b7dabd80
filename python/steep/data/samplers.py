"""Samplers: in which order a loader takes the samples, and in which batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

import numpy as np

from .. import random
from ..checks import check_count
from ..devices import cpu
from .dataset import Rows

__all__ = ["BatchSampler", "RandomSampler", "Sampler", "SequentialSampler", "WeightedRandomSampler"]


class Sampler:
    """The numbers of samples in some order. A subclass defines ``order``, which draws it, and ``__len__``.

    An epoch asks once, before its first batch. A loader takes any other iterable of numbers too, one by one.
    """

    def order(self) -> Rows:
        """The numbers of an epoch, as an int64 array."""
        raise NotImplementedError(f"{type(self).__name__} needs a method order(self): an array of samples' numbers")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} needs a method __len__(self): how many numbers an epoch has")

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())


class SequentialSampler(Sampler):
    """All samples of a dataset (or of a number of them), in their order.

    >>> import steep as st
    >>> list(st.data.SequentialSampler(3))
    [0, 1, 2]
    """

    def __init__(self, dataset: Sized | int) -> None:
        self.samples = _length("SequentialSampler", dataset)

    def order(self) -> Rows:
        """0, 1, 2, …"""
        return np.arange(self.samples)

    def __len__(self) -> int:
        return self.samples


class RandomSampler(Sampler):
    """The samples of a dataset (or of a number of them) in random order, another one in every epoch.

    An epoch has ``num_samples`` (all, by default): each anew from all with ``replacement``; without, every sample comes
    once before any comes again. Raises ValueError for counts that are none.

    >>> import steep as st
    >>> sorted(st.data.RandomSampler(4))
    [0, 1, 2, 3]
    """

    def __init__(self, dataset: Sized | int, replacement: bool = False, num_samples: int | None = None) -> None:
        self.samples = _length("RandomSampler", dataset)
        self.replacement = replacement
        self.num_samples = (
            self.samples if num_samples is None else check_count("RandomSampler: num_samples", num_samples, 0)
        )
        if self.num_samples and not self.samples:
            raise ValueError("RandomSampler: there are no samples to draw from")

    def order(self) -> Rows:
        """Numbers drawn from ``steep.random``: without replacement, its permutations."""
        if self.replacement and self.num_samples:
            return random.randint(0, self.samples, self.num_samples, device=cpu).numpy()
        rounds = -(-self.num_samples // self.samples) if self.samples else 0
        parts = [random.permutation(self.samples, cpu).numpy() for _ in range(rounds)]
        return np.concatenate(parts)[: self.num_samples] if parts else np.arange(0)

    def __len__(self) -> int:
        return self.num_samples


class WeightedRandomSampler(Sampler):
    """Samples drawn in proportion to their ``weights``, such as 1 / (the number of samples in the sample's class).

    Without ``replacement`` no sample comes twice in an epoch, and each draw is in proportion to the weights of those
    that are left (Efraimidis and Spirakis 2006). Raises ValueError for weights that are negative, not finite or all 0,
    and for more draws without replacement than samples of positive weight.

    >>> import steep as st
    >>> set(st.data.WeightedRandomSampler([0.0, 1.0, 3.0], 100))
    {1, 2}
    """

    def __init__(self, weights: Any, num_samples: int, replacement: bool = True) -> None:
        self.weights = np.array(weights, np.float64)
        if self.weights.ndim != 1 or not np.isfinite(self.weights).all() or not (self.weights >= 0).all():
            raise ValueError("WeightedRandomSampler: weights must be finite numbers of 0 or more, one for each sample")
        self.num_samples = check_count("WeightedRandomSampler: num_samples", num_samples, 0)
        self.replacement = replacement
        drawable = int(np.count_nonzero(self.weights))
        if not drawable or (not replacement and drawable < num_samples):
            raise ValueError(
                f"WeightedRandomSampler: {drawable} of {self.weights.size} weights are positive, too few for "
                f"num_samples={num_samples} and replacement={replacement}"
            )

    def order(self) -> Rows:
        """Numbers drawn from ``steep.random``."""
        if not self.replacement:
            u = 1 - random.uniform(self.weights.size, dtype="float64", device=cpu).numpy()  # in (0, 1]
            with np.errstate(divide="ignore"):
                arrivals = np.where(self.weights > 0, -np.log(u) / self.weights, np.inf)
            return np.argsort(arrivals, kind="stable")[: self.num_samples]
        bounds = np.cumsum(self.weights / self.weights.max())
        u = random.uniform(self.num_samples, dtype="float64", device=cpu).numpy() * bounds[-1]
        return np.searchsorted(bounds, np.minimum(u, np.nextafter(bounds[-1], 0)), side="right")

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler:
    """The numbers of a sampler (or of any iterable) in batches of ``batch_size``.

    The last one may be smaller, or is left out with ``drop_last``. A Sampler's order is drawn when iteration begins.

    >>> import steep as st
    >>> [batch.tolist() for batch in st.data.BatchSampler(st.data.SequentialSampler(5), 2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool = False) -> None:
        self.sampler = sampler
        self.batch_size = check_count("batch_size", batch_size)
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.sampler, Sampler):
            order, size = self.sampler.order(), self.batch_size
            end = len(order) - len(order) % size if self.drop_last else len(order)
            return (order[start : start + size] for start in range(0, end, size))
        return self._one_by_one(iter(self.sampler))

    def _one_by_one(self, numbers: Iterator[Any]) -> Iterator[list[Any]]:
        while batch := list(islice(numbers, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        if not isinstance(self.sampler, Sized):
            raise TypeError(f"the sampler, a {type(self.sampler).__name__}, has no length: nor have its batches")
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def _length(name: str, dataset: Sized | int) -> int:
    return len(dataset) if isinstance(dataset, Sized) else check_count(f"{name}: samples", dataset, 0)
