"""What people who come from Keras, PyTorch and scikit-learn type first: it works, or says what to write instead."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn, optim
from steep.callbacks import History


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda model: optim.Adam(learning_rate=0.001),  # type: ignore[call-arg]
            r"Adam: the learning rate is lr: use Adam\(model.parameters\(\), lr=0.001\), or, in compile, "
            r"lambda params: Adam\(params, lr=0.001\)$",
        ),
        (
            lambda model: optim.RMSprop(model.parameters(), learning_rate=optim.schedules.CosineDecay(0.1, 9)),
            r"RMSprop: the learning rate is lr: use RMSprop\(model.parameters\(\), lr=…\)",
        ),
        (
            lambda model: optim.SGD(0.1),  # type: ignore[arg-type]
            r"SGD: the tensors to train come first, not 0.1: use SGD\(model.parameters\(\), lr=0.1\)",
        ),
    ],
)
def test_optimizers_as_in_keras(make: Callable[[nn.Module], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make(nn.Linear(2, 1))


def test_a_learning_rate_that_would_be_without_effect() -> None:
    optimizer = optim.Adam(nn.Linear(2, 1).parameters(), lr=0.5)
    with pytest.raises(AttributeError, match="'Adam' object has no attribute 'learning_rate': use lr"):
        optimizer.learning_rate = 0.1
    assert not hasattr(optimizer, "learning_rate")
    assert copy.deepcopy(optimizer).lr == 0.5


@pytest.mark.parametrize(
    ("theirs", "ours"), [("mean_squared_error", "mse"), ("mean_absolute_error", "mae"), ("MSE", "mse"), ("MAE", "mae")]
)
def test_losses_by_other_names(theirs: str, ours: str) -> None:
    model = nn.Linear(2, 1)
    x, y = st.ones(5, 2), st.ones(5, 1)
    model.compile("sgd", ours)
    expected = model.evaluate(x, y)
    model.compile("sgd", theirs)
    assert model.evaluate(x, y) == expected


def test_metrics_by_other_names() -> None:
    model = nn.Linear(2, 1)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), rng.integers(0, 2, size=(40, 1))
    model.compile("sgd", "bce_with_logits", metrics=["Accuracy", "AUC", "f1_score", "Precision"])
    theirs = model.evaluate(x, y)
    model.compile("sgd", "bce_with_logits", metrics=["acc", "auc", "f1", "precision"])
    ours = model.evaluate(x, y)
    assert [*theirs] == ["loss", "accuracy", "auc", "f1_score", "precision"]
    assert [*theirs.values()] == [*ours.values()]
    model.compile("sgd", "mse", metrics=["root_mean_squared_error", "r2_score"])
    theirs = model.evaluate(x, y)
    model.compile("sgd", "mse", metrics=["rmse", "r2"])
    assert [*theirs.values()] == [*model.evaluate(x, y).values()]


@pytest.mark.parametrize("returned", [None, st.ones(()), 0.5])
def test_a_step_that_returns_no_dict(returned: Any) -> None:
    class Net(nn.Linear):
        def train_step(self, batch: Any) -> Any:
            return returned

    model = Net(2, 1)
    model.compile("sgd", "mse")
    with pytest.raises(
        TypeError, match=r"train_step and validation_step return a dict .*, such as {'loss': loss}, not "
    ):
        model.fit(st.ones(4, 2), st.ones(4, 1), verbose=0)


def test_balanced_class_weights() -> None:
    model = nn.Linear(2, 2)
    model.compile("sgd", "cross_entropy")
    y = np.array([0, 0, 0, 1])
    with pytest.raises(ValueError, match=r"class_weight='balanced' must be numbers; balanced ones are n = np.bincount"):
        model.fit(st.ones(4, 2), y, class_weight="balanced")
    n = np.bincount(y)  # as the message says; scikit-learn's compute_class_weight gives the same
    np.testing.assert_allclose(n.sum() / (len(n) * n), [2 / 3, 2])


def test_a_history_is_short_to_look_at_and_whole_to_print() -> None:
    history = History()
    assert repr(history) == "History of 0 epochs"
    history.append(0, {"loss": 1.23456, "confusion": st.ones(2, 2)})
    assert repr(history) == "History of 1 epoch: loss 1.235"
    for epoch in range(1, 100):
        history.append(epoch, {"loss": 1 / epoch, "confusion": st.ones(2, 2)})
    assert repr(history) == "History of 100 epochs: loss 1.235 → 0.0101"
    assert str(history) == f"{history}" == str(dict(history))


def test_a_metric_that_begins_later() -> None:
    history = History()
    history.append(0, {"loss": 1.0})
    history.append(1, {"loss": 0.5, "val_loss": 0.75})
    assert repr(history) == "History of 2 epochs: loss 1 → 0.5, val_loss 0.75"


def test_what_is_no_function_that_makes_a_model() -> None:
    with pytest.raises(TypeError, match="learning_curve: make_model must be a function that returns a new model, not "):
        st.analysis.learning_curve("model", np.ones((8, 1)), np.ones(8))  # type: ignore[arg-type]
    pytest.importorskip("matplotlib")
    with pytest.raises(TypeError, match="max_weights: expected the WeightMonitor that fit was given, not a Linear"):
        st.plots.max_weights(nn.Linear(1, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize(("output", "target", "shape"), [((4, 1), (4,), (-1, 1)), ((4,), (4, 1), (-1,))])
@pytest.mark.parametrize("measure", [st.mse_loss, st.metrics.MeanSquaredError()])
def test_one_column_beside_none(measure: Any, output: Any, target: Any, shape: Any) -> None:
    written = ", ".join(str(n) for n in shape)
    with pytest.raises(ValueError, match=rf"so reshape one of them first: target.reshape\({written}\)"):
        measure(st.ones(output), st.ones(target))
    assert float(measure(st.ones(output), st.ones(target).reshape(shape))) == 0
