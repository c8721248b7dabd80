"""Memory stays flat: over many training steps and many predictions nothing is left behind."""

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import steep as st
from steep import nn

STATM = Path("/proc/self/statm")
PAGE = 4096
MIB = 1 << 20

pytestmark = [
    pytest.mark.skipif(not STATM.exists(), reason="reads Linux's /proc"),
    pytest.mark.host(reason="the process's own memory"),
]


def growth(work: Callable[[], None]) -> float:
    """MiB that the process grows by while it works a second time, without help from the cycle collector."""
    work()
    gc.collect()
    gc.disable()
    try:
        before = int(STATM.read_text().split()[1])
        work()
        return (int(STATM.read_text().split()[1]) - before) * PAGE / MIB
    finally:
        gc.enable()


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 16, activation="relu"), nn.Dropout(0.1), nn.Linear(16, 3))


def test_training_steps() -> None:
    net = model()
    optimizer = st.optim.Adam(net.parameters())
    x, y = st.random.normal((16, 4)), st.random.randint(0, 3, (16,))

    def steps(n: int) -> None:
        total = 0.0
        for _ in range(n):
            optimizer.zero_grad()
            loss = st.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            total += float(loss)

    assert abs(growth(lambda: steps(100_000))) <= 1
    allocations = st.memory_stats()["system_allocations"]
    steps(100)
    assert st.memory_stats()["system_allocations"] == allocations


def test_fit() -> None:
    net = model()
    net.compile("adam", "cross_entropy", metrics=["accuracy"])
    x, y = np.random.default_rng(0).normal(size=(160, 4)), np.arange(160) % 3

    def epochs(n: int) -> None:
        net.fit(x, y, batch_size=16, epochs=n, verbose=0, validation_split=0.2)

    assert abs(growth(lambda: epochs(1_000))) <= 1


def test_predictions() -> None:
    net = model()
    x = np.random.default_rng(0).normal(size=(1_000, 4))

    def predictions(n: int) -> None:
        for _ in range(n):
            net.predict(x)

    assert abs(growth(lambda: predictions(1_000))) <= 1
