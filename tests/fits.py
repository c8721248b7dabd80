"""Small models that are fitted, for the tests of callbacks."""

from __future__ import annotations

from typing import Any

import numpy as np

import steep as st
from steep import nn
from steep.callbacks import (
    History,
    LambdaCallback,
)

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X.sum(1, keepdims=True)


def model_of(optimizer: Any = "sgd", seed: int = 0) -> nn.Module:
    st.manual_seed(seed)
    model = nn.Linear(3, 1)
    model.compile(optimizer, "mse", ["mae"])
    return model


def fit(members: Any, model: nn.Module | None = None, **options: Any) -> History:
    settings = {"x": X, "y": Y, "batch_size": 10, "verbose": 0, **options}
    return (model or model_of()).fit(callbacks=members, **settings)


def planted(values: Any, name: str = "val_loss") -> LambdaCallback:
    """Puts these numbers into the logs, one in each epoch."""
    return LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update({name: values[epoch]}))


def weights(model: nn.Module) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])
