"""The least time that a machine needs for a row, from peaks measured in the same run."""

from __future__ import annotations

import time
from dataclasses import dataclass

import steep as st

__all__ = ["Peaks", "Work", "floor", "measure_peaks"]

CACHES = 64_000_000  # bytes: rows that move less are taken to stay in the caches
COPIED = 256_000_000  # bytes a copy, several times the caches
REPEATS = 7


@dataclass(frozen=True)
class Peaks:
    """What the processor reaches at best, with the threads that steep uses."""

    operations: float  # float32 multiplications and additions a second, in fused multiply-adds
    bandwidth: float  # bytes read and written a second, by a copy past the caches


@dataclass(frozen=True)
class Work:
    """The least that an operation has to do: every input and output moved once, and the arithmetic of its products."""

    moved: int  # bytes
    operations: int = 0  # multiplications and additions; 0 where memory is the limit anyway


def measure_peaks() -> Peaks:
    """Both peaks: the best of several tries. Takes less than a second."""
    rounds = 1000
    while _multiply_adds(rounds)[0] < 0.02:
        rounds *= 2
    rates = [done / seconds for seconds, done in (_multiply_adds(rounds) for _ in range(REPEATS))]
    return Peaks(operations=max(rates), bandwidth=st._core.peak_bandwidth(COPIED))


def floor(work: Work | None, peaks: Peaks) -> float | None:
    """The least seconds for the work; None where the machine sets no limit that is known.

    Memory counts only where the caches cannot hold what is moved.
    """
    if work is None:
        return None
    moving = work.moved / peaks.bandwidth if work.moved > CACHES else 0.0
    return max(moving, work.operations / peaks.operations) or None


def _multiply_adds(rounds: int) -> tuple[float, int]:
    """The seconds that so many rounds take, and the operations done."""
    start = time.perf_counter()
    done = st._core.peak_multiply_adds(rounds)
    return time.perf_counter() - start, done
