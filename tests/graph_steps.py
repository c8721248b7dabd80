"""Training steps for the tests of captured steps, and how they are run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import steep as st
from steep import nn

Step = Callable[..., Any]


def network(p: float = 0.3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 16, activation="relu"), nn.Dropout(p), nn.Linear(16, 3))


def training(make: Callable[[Any], Any], model: nn.Module, loss: Step = st.cross_entropy) -> tuple[Step, Any]:
    optimizer = make(model.parameters())

    def step(x: st.Tensor, y: st.Tensor) -> st.Tensor:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    return step, optimizer


def batches(
    rng: np.random.Generator, steps: int, device: Any = None, rows: int = 7
) -> list[tuple[st.Tensor, st.Tensor]]:
    return [
        (
            st.tensor(rng.standard_normal((rows, 5), np.float32), device=device),
            st.tensor(rng.integers(0, 3, rows), device=device),
        )
        for _ in range(steps)
    ]


def run(wrap: Callable[[Step], Step], data: Any, make: Callable[[Any], Any], device: Any = None, **options: Any) -> Any:
    """Losses, parameters and the optimizer after training."""
    st.manual_seed(0)
    with st.device(device or st.get_default_device()):
        model = network(**options)
    step, optimizer = training(make, model)
    step = wrap(step)
    losses = [step(x, y) for x, y in data]
    return [loss.numpy() for loss in losses], [p.detach().numpy() for p in model.parameters()], optimizer


def assert_equal(got: Any, expected: Any) -> None:
    for a, b in zip((*got[0], *got[1]), (*expected[0], *expected[1]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert str(got[2].state_dict()["state"].keys()) == str(expected[2].state_dict()["state"].keys())
