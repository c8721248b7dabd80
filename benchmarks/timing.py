"""Fair times for several libraries in one process.

After a call the threads of a library go on spinning in case the next one comes soon: OpenBLAS's (NumPy) for about
100 ms, libgomp's (PyTorch) for 8 ms. Whatever runs then shares its cores with them and looks many times slower than it
is. So the libraries take turns in short blocks, each block begins with calls that don't count, and after it the
machine rests until that library's threads are asleep.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .peers import ERRORS

__all__ = ["Failure", "Plan", "Runner", "Summary", "race", "ratio", "summary", "time_limit"]


class Failure(Exception):
    """A library failed while it was timed; the cause is ``__cause__``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int
    seconds: float  # of a block, at least; a block has at least one call


@dataclass(frozen=True)
class Runner:
    """One library's way to do the work of a row."""

    call: Callable[[], Any]
    rest: float  # seconds until its threads sleep


@dataclass(frozen=True)
class Summary:
    """The seconds of one call: median and quartiles of the rounds."""

    median: float
    low: float
    high: float


def race(runners: Mapping[str, Runner], plan: Plan) -> dict[str, list[float]]:
    """The seconds of one call of each runner, in each round. Every other round goes through them backwards.

    Raises Failure if one of them does.
    """
    counts: dict[str, int] = {}
    times: dict[str, list[float]] = {name: [] for name in runners}
    names = list(runners)
    name = ""
    collecting = gc.isenabled()
    gc.disable()
    try:
        for name in names:
            counts[name] = _calls(runners[name].call, plan.seconds)
        for turn in range(plan.rounds):
            for name in names[::-1] if turn % 2 else names:
                times[name].append(_block(runners[name].call, counts[name]))
                time.sleep(runners[name].rest)
    except ERRORS as error:
        raise Failure(name) from error
    finally:
        if collecting:
            gc.enable()
    return times


def _calls(call: Callable[[], Any], seconds: float) -> int:
    """How many calls fill a block."""
    call()
    start = time.perf_counter()
    call()
    call()
    return max(1, int(seconds / max((time.perf_counter() - start) / 2, 1e-7)))


def _block(call: Callable[[], Any], count: int) -> float:
    for _ in range(min(count, 20)):
        call()
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def summary(times: list[float]) -> Summary:
    """Median and quartiles."""
    low, median, high = (float(q) for q in np.percentile(times, [25, 50, 75]))
    return Summary(median, low, high)


def ratio(peer: list[float], own: list[float]) -> float:
    """How many times as long the peer takes: the median over the rounds, whose two blocks saw the same machine."""
    return float(np.median(np.array(peer) / np.array(own)))


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError if its body takes longer. Only the main thread has such an alarm; others are not limited."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def give_up(*ignored: Any) -> None:
        raise TimeoutError(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, give_up)
    remaining, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, remaining)
        signal.signal(signal.SIGALRM, before)
