"""Data and models for the tests of mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn

X = np.random.default_rng(0).normal(size=(60, 2))
LABELS = np.sort(np.arange(60) % 3)
ONE_HOT = np.eye(3)[LABELS]
LOGITS = st.asarray(X.astype("float32"))
YES = st.asarray((X[:, ::-1] > 0).astype("float32"))
SWAPPED = r"the arguments are \(input, target\): are they swapped\?"


class Net(nn.Module):
    """A model of the user's own: a Linear layer, and a function behind it."""

    def __init__(self, function: Callable[[st.Tensor], Any], outputs: int = 3, **layer: Any) -> None:
        self.body = nn.Sequential(nn.Linear(2, 4, activation="tanh"), nn.Linear(4, outputs, **layer))
        self.function = function

    def forward(self, x: st.Tensor) -> Any:
        return self.function(self.body(x))


def same(x: st.Tensor) -> st.Tensor:
    return x


def classifier(outputs: int = 3, **layer: Any) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 4, activation="tanh"), nn.Linear(4, outputs, **layer))


def train(model: nn.Module, loss: Any, x: Any = X, y: Any = LABELS, **options: Any) -> Any:
    model.compile("sgd", loss)
    return model.fit(x, y, verbose=0, **options)


def squared(output: st.Tensor, target: st.Tensor) -> st.Tensor:
    return ((output - target) ** 2).mean()


def warned(message: str, make: Callable[[], object]) -> None:
    """It warns once, at a line of the tests."""
    with pytest.warns(UserWarning, match=message) as record:
        make()
    assert len(record) == 1
    assert Path(record[0].filename).parent == Path(__file__).parent
