"""Datasets that the tests of loaders send to other processes, which import them from here."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from typing import Any

import numpy as np

import steep as st


class Numbers(st.data.Dataset):
    """Sample i is (an array of i, i)."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: Any) -> Any:
        return np.full(2, i, np.float32), i


class Noisy(Numbers):
    """With random numbers of steep, and, where asked for, of NumPy and Python."""

    def __init__(self, n: int, others: bool = False) -> None:
        super().__init__(n)
        self.others = others

    def __getitem__(self, i: Any) -> Any:
        extra = [np.random.random(), random.random()] if self.others else []  # noqa: NPY002
        return np.array([st.random.uniform().item(), *extra]), i


class AwkwardError(Exception):
    """It cannot be made from its arguments again."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class Failing(Numbers):
    """Fails at sample 7, in a way of choice."""

    def __init__(self, n: int, how: str) -> None:
        super().__init__(n)
        self.how = how

    def __getitem__(self, i: Any) -> Any:
        if i != 7:
            return super().__getitem__(i)
        if self.how == "error":
            raise LookupError("sample seven is broken")
        if self.how == "awkward":
            raise AwkwardError(7, 8)
        if self.how == "lambda":
            return lambda: 7
        if self.how == "exit":
            os._exit(3)
        if self.how == "sys.exit":
            sys.exit("enough")
        if self.how == "interrupt":
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
        return None


class Unloadable(Numbers):
    """Cannot be loaded by another process."""

    def __setstate__(self, state: Any) -> None:
        raise ValueError("not here")


class SlowElsewhere(Numbers):
    """Fails at the first sample, while the second takes its time in another process."""

    def __getitem__(self, i: Any) -> Any:
        time.sleep(60 if i else 1)
        raise LookupError("sample zero is broken")


class Slow(Numbers):
    """Takes its time for all samples but the first."""

    def __getitem__(self, i: Any) -> Any:
        if i:
            time.sleep(30)
        return super().__getitem__(i)


def double(x: Any) -> Any:
    """A transform."""
    return 2 * x


def noisy(x: Any) -> Any:
    """A transform with random numbers."""
    return x + st.random.normal(x.shape, dtype=x.dtype, device=x.device)


def as_list(samples: list[Any]) -> list[Any]:
    """A collate_fn."""
    return samples
