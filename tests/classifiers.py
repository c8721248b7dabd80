"""Small classifiers, and data for them, for the tests of fit."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import steep as st
from steep import nn, optim


def labelled() -> tuple[np.ndarray, np.ndarray]:
    """70 samples of three classes."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 70)
    return (rng.normal(size=(70, 4)) + y[:, None]).astype(np.float32), y


def net(outputs: int = 3) -> nn.Sequential:
    st.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8, activation="tanh"), nn.Linear(8, outputs))


def compiled(loss: Any = "cross_entropy", lr: float = 0.1, **options: Any) -> nn.Sequential:
    model = net()
    model.compile(optim.SGD(model.parameters(), lr=lr), loss, **options)
    return model


def weights(model: nn.Module) -> list[np.ndarray]:
    return [p.numpy().copy() for p in model.parameters()]


def assert_equal_weights(a: nn.Module, b: nn.Module) -> None:
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(x, y)


def in_batches(x: Any, y: Any, size: int) -> list[tuple[Any, ...]]:
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


class Loader:
    """Batches that can be iterated over again, without a length."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


class Sized(Loader):
    def __len__(self) -> int:
        return len(self.batches)
