"""What fit, evaluate and predict make of strange data and in strange circumstances: an error that says so."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import steep as st
from fits import X, Y, model_of, weights
from steep import nn
from steep.callbacks import LambdaCallback


class Sparse:
    """As scipy's matrices: no ``__array__``, but rows."""

    def toarray(self) -> np.ndarray:
        return X

    def __getitem__(self, i: int) -> Any:
        return X[i]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ((), "x is an empty tuple: it has no samples"),
        ({}, "x is an empty dict"),
        (np.ma.masked_greater(X, 0.0), "x has masked values"),
        (Sparse(), "x is sparse, a Sparse: make it dense"),
        (np.full((40, 3), 2**63 + 5, np.uint64), "x holds 9223372036854775813, more than an int64 does"),
        ([[1.0, 2.0], [3.0]], "x does not make an array: .* inhomogeneous"),
    ],
    ids=["tuple", "dict", "masked", "sparse", "uint64", "ragged"],
)
def test_data_that_would_become_something_else(x: Any, message: str) -> None:
    model = model_of()
    for call in (lambda: model.fit(x, Y, verbose=0), lambda: model.evaluate(x, Y), lambda: model.predict(x)):
        with pytest.raises((ValueError, TypeError), match=message):
            call()


def test_masked_arrays_without_masked_values_are_data() -> None:
    np.testing.assert_array_equal(model_of().predict(np.ma.array(X)).numpy(), model_of().predict(X).numpy())


def test_a_range_is_data() -> None:
    model = nn.Embedding(5, 2)
    assert model.predict(range(5)).shape == (5, 2)


@pytest.mark.parametrize("steps", [0, -1, 2.5, "1"])
def test_steps_are_counted(steps: Any) -> None:
    model = model_of()
    with pytest.raises(ValueError, match=r"steps=.* must be a positive integer"):
        model.evaluate(X, Y, steps=steps)
    with pytest.raises(ValueError, match=r"steps=.* must be a positive integer"):
        model.predict(X, steps=steps)


@pytest.mark.parametrize(
    "options",
    [
        {"fast_dev_run": -3},
        {"initial_epoch": -5},
        {"initial_epoch": 0.5},
        {"validation_freq": "every"},
        {"validation_freq": [0, 1]},
        {"batch_size": np.array([1, 2])},
        {"sample_weight": np.full(40, np.nan)},
        {"class_weight": "balanced"},
        {"class_weight": 5},
        {"class_weight": {0: 1.0, 1: float("nan")}},
        {"class_weight": {0: -1.0, 1: 1.0}},
        {"class_weight": {0: "x"}},
    ],
    ids=str,
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    model = model_of()
    before = weights(model)
    with pytest.raises(ValueError, match=next(iter(options))):
        model.fit(X, (Y > 0).astype(np.float32), verbose=0, **options)
    np.testing.assert_array_equal(weights(model), before)


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [None, 3])
def test_none_among_the_batches_is_not_their_end(steps: int | None) -> None:
    batches: list[Any] = [(X, Y), None, (X, Y)]
    with pytest.raises(ValueError, match="the generator gave None in the place of a batch"):
        model_of().fit((batch for batch in batches), steps_per_epoch=steps, verbose=0)


def test_a_loader_that_is_too_short_for_a_batch() -> None:
    loader = st.data.DataLoader((X, Y), batch_size=64, drop_last=True)
    model = model_of()
    with pytest.raises(ValueError, match="the DataLoader gave no batches"):
        model.fit(loader, verbose=0)
    with pytest.raises(ValueError, match="the DataLoader gave no batches"):
        model.evaluate(loader)


def test_a_last_group_of_unknown_length_is_a_mean_too() -> None:
    def batches() -> Iterator[Any]:
        yield from ((X[i : i + 8], Y[i : i + 8]) for i in range(0, 40, 8))

    known, unknown = model_of(), model_of()
    known.fit(X, Y, 8, shuffle=False, accumulate_gradients=4, verbose=0)
    unknown.fit(batches(), accumulate_gradients=4, verbose=0)
    np.testing.assert_allclose(weights(unknown), weights(known), rtol=1e-6)


class Steps(nn.Linear):
    result: Any = None

    def train_step(self, batch: Any) -> Any:
        return self.result


@pytest.mark.parametrize("result", [None, 0.5, [("loss", 1.0)], {"loss": None}, {"loss": st.ones(3)}], ids=str)
def test_what_a_train_step_returns(result: Any) -> None:
    model = Steps(3, 1)
    model.result = result
    with pytest.raises(TypeError, match=r"return a dict of what the history shows|'loss' of a batch is"):
        model.fit(X, Y, verbose=0)


class Outputs(nn.Module):
    """Gives these functions of the input in turn."""

    def __init__(self, *functions: Any) -> None:
        super().__init__()
        self.functions = list(functions)

    def forward(self, x: st.Tensor) -> Any:
        return self.functions.pop(0)(x)


def test_predict_refuses_outputs_that_change_shape() -> None:
    with pytest.raises(ValueError, match=r"returned shapes \[\(3,\)\] for each .* \[\(1,\)\] for those of batch 2"):
        Outputs(lambda x: x, lambda x: x[:, :1]).predict(X, batch_size=20)
    with pytest.raises(ValueError, match="for those of batch 2"):
        Outputs(lambda x: (x, x), lambda x: x).predict(X, batch_size=20)


def test_predict_finds_outputs_by_their_names() -> None:
    model = Outputs(lambda x: {"a": x, "b": -x}, lambda x: {"b": -x, "a": x})
    found = model.predict(X[i : i + 20] for i in (0, 20))
    np.testing.assert_array_equal(found["a"].numpy(), X)
    np.testing.assert_array_equal(found["b"].numpy(), -X)


# --- fits within fits -------------------------------------------------------------------------------------------------


def test_evaluate_in_a_callback_leaves_the_metrics_alone() -> None:
    def run(callbacks: Any) -> Any:
        st.manual_seed(0)
        model = nn.Linear(3, 1)
        model.compile("sgd", "mse", ["r2"], weighted_metrics=[st.metrics.MeanAbsoluteError()])
        if callbacks:
            callbacks = LambdaCallback(on_train_batch_end=lambda batch, logs: model.evaluate(100 * X, Y))
        return dict(model.fit(X, Y, 10, epochs=2, shuffle=False, callbacks=callbacks, verbose=0))

    assert run([1]) == run([])


@pytest.mark.parametrize("hook", ["on_train_begin", "on_train_batch_begin", "on_epoch_end"])
def test_a_fit_within_a_fit_of_the_same_model(hook: str) -> None:
    model = model_of()
    inner = LambdaCallback(**{hook: lambda *_: model.fit(X, Y, verbose=0)})
    with pytest.raises(RuntimeError, match="Linear is being trained by another fit"):
        model.fit(X, Y, callbacks=inner, verbose=0)
    assert len(model.fit(X, Y, verbose=0)["loss"]) == 1  # it is free again


def test_a_copy_made_in_a_fit_can_be_trained_there() -> None:
    model, losses = model_of(), []
    other = LambdaCallback(on_epoch_end=lambda *_: losses.append(copy.deepcopy(model).fit(X, Y, verbose=0)["loss"]))
    model.fit(X, Y, epochs=2, callbacks=other, verbose=0)
    assert len(losses) == 2


def test_two_threads_do_not_train_one_model() -> None:
    model, inside, leave = model_of(), threading.Event(), threading.Event()

    def wait(*_: Any) -> None:
        inside.set()
        leave.wait(10)

    first = threading.Thread(
        target=model.fit, args=(X, Y), kwargs={"callbacks": LambdaCallback(on_train_begin=wait), "verbose": 0}
    )
    first.start()
    inside.wait(10)
    try:
        with pytest.raises(RuntimeError, match="by another fit"):
            model.fit(X, Y, verbose=0)
    finally:
        leave.set()
        first.join()


def test_clipping_ends_with_the_fit() -> None:
    model = model_of()
    model.fit(X, Y, gradient_clip_norm=1e-9, verbose=0)
    before = weights(model)
    model.minimize(nn.MSELoss()(model(st.tensor(X)), st.tensor(Y)))
    assert np.abs(weights(model) - before).max() > 1e-4
