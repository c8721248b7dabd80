"""Training on CUDA follows the CPU's loss curve for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris

import steep as st
from steep import nn, optim

STEPS = 50


def digits() -> tuple[Any, Any]:
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype("f4"), y


def iris() -> tuple[Any, Any]:
    x, y = load_iris(return_X_y=True)
    return ((x - x.mean(0)) / x.std(0)).astype("f4"), y


MODELS: dict[str, tuple[Callable[[], tuple[Any, Any]], Callable[[], nn.Module], Callable[..., Any]]] = {
    "digits": (
        digits,
        lambda: nn.Sequential(nn.Linear(64, 64, activation="relu"), nn.Dropout(0.2), nn.Linear(64, 10)),
        lambda parameters: optim.Adam(parameters, lr=1e-2),
    ),
    "iris": (
        iris,
        lambda: nn.Sequential(nn.Linear(4, 16, activation="tanh"), nn.LayerNorm(16), nn.Linear(16, 3)),
        lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9),
    ),
    "mixed": (
        digits,
        lambda: nn.Sequential(
            nn.Linear(64, 32), nn.GELU(), nn.Dropout(0.5), nn.Linear(32, 16), nn.SiLU(), nn.Linear(16, 10)
        ),
        lambda parameters: optim.AdamW(parameters, lr=3e-3, weight_decay=0.1),
    ),
}


def curve(name: str, device: str) -> list[float]:
    """The losses of the first steps by hand; batches in a random order of steep's own."""
    data, make, make_optimizer = MODELS[name]
    x, y = data()
    st.manual_seed(1)
    with st.device(device):
        model = make()
        optimizer = make_optimizer(model.parameters())
        losses = []
        for _ in range(STEPS):
            rows = np.asarray(st.random.permutation(len(x)).numpy())[:32]
            optimizer.zero_grad()
            loss = st.cross_entropy(model(st.tensor(x[rows])), st.tensor(y[rows]))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", MODELS)
def test_steps_by_hand(cuda: str, name: str) -> None:
    expected = curve(name, "cpu")
    assert expected[-1] < 0.9 * expected[0]
    np.testing.assert_allclose(curve(name, cuda), expected, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_fit(cuda: str, name: str) -> None:
    data, make, make_optimizer = MODELS[name]
    x, y = data()

    def history(device: str) -> Any:
        st.manual_seed(2)
        with st.device("cpu"):
            model = make()
        model.to(device)
        model.compile(optimizer=make_optimizer(model.parameters()), loss="cross_entropy", metrics=["accuracy"])
        return model.fit(x[:200], y[:200], epochs=8, batch_size=32, verbose=0)

    expected, found = history("cpu"), history(cuda)
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-4)
    assert found["accuracy"] == pytest.approx(expected["accuracy"], abs=0.006)  # one sample in 200 may be on the edge
