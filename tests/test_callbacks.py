"""Callbacks: when they are called, and when they end the training."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from fits import X, Y, fit, model_of, planted, weights
from steep import callbacks, hints
from steep.callbacks import (
    BackupAndRestore,
    Callback,
    CallbackList,
    EarlyStopping,
    History,
    LambdaCallback,
    Monitor,
    ProgressBar,
    ReduceLROnPlateau,
    TerminateOnNaN,
    Timer,
)
from steep.callbacks.callback import HOOKS

# --- when they are called ---------------------------------------------------------------------------------------------


def recorder() -> tuple[list[tuple[Any, ...]], LambdaCallback]:
    calls: list[tuple[Any, ...]] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *arguments: calls.append((name, *[x for x in arguments if isinstance(x, int)]))

    return calls, LambdaCallback(**{name: note(name) for name in HOOKS})


def test_order_of_calls() -> None:
    calls, callback = recorder()
    model = model_of()
    fit(callback, model, epochs=2, batch_size=30, validation_data=(X, Y), validation_batch_size=30)
    batch = lambda n: [("on_train_batch_begin", n), ("on_train_batch_end", n)]  # noqa: E731
    test = [("on_test_begin",), ("on_test_batch_begin", 0), ("on_test_batch_end", 0)]
    test += [("on_test_batch_begin", 1), ("on_test_batch_end", 1), ("on_test_end",)]
    epoch = lambda n: [("on_epoch_begin", n), *batch(0), *batch(1), *test, ("on_epoch_end", n)]  # noqa: E731
    assert calls == [("on_train_begin",), *epoch(0), *epoch(1), ("on_train_end",)]
    calls.clear()
    model.predict(X, batch_size=30, callbacks=callback)
    assert [name for name, *_ in calls] == [
        "on_predict_begin",
        *["on_predict_batch_begin", "on_predict_batch_end"] * 2,
        "on_predict_end",
    ]
    calls.clear()
    model.evaluate(X, Y, batch_size=30, callbacks=callback)
    batches = ["on_test_batch_begin", "on_test_batch_end"] * 2
    assert [name for name, *_ in calls] == ["on_test_begin", *batches, "on_test_end"]


def test_lambda_callback_takes_the_names_of_the_hooks() -> None:
    with pytest.raises(TypeError, match="nothing is called 'on_epoch_finish': there are on_train_begin, "):
        LambdaCallback(on_epoch_finish=print)
    with pytest.raises(TypeError, match="on_epoch_end must be a function, not 3"):
        LambdaCallback(on_epoch_end=3)  # type: ignore[arg-type]
    fit(LambdaCallback(on_epoch_end=None))


def test_lists() -> None:
    backup, timer = BackupAndRestore("x"), Timer()
    members = CallbackList([backup, CallbackList([timer, History()])])
    assert [type(member).__name__ for member in members] == ["Timer", "History", "BackupAndRestore"]
    assert len(members) == 3
    assert members.find(Timer) is timer
    assert members.find(EarlyStopping) is None
    with pytest.raises(TypeError, match=r"write Timer\(\)"):
        CallbackList([Timer])
    with pytest.raises(TypeError, match="wrap a function in LambdaCallback"):
        CallbackList(print)
    state = CallbackList([EarlyStopping(), ProgressBar()]).state_dict()
    CallbackList([EarlyStopping()]).load_state_dict(state)  # a display has no state
    with pytest.raises(ValueError, match="callbacks EarlyStopping, and here are Timer, EarlyStopping"):
        CallbackList([Timer(), EarlyStopping()]).load_state_dict(state)


def test_all_are_closed_even_if_one_raises() -> None:
    closed = []

    class Closing(Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            closed.append(self.name)
            if self.name == "b":
                raise OSError("b")

    with pytest.raises(OSError, match="b"):
        fit([Closing("a"), Closing("b"), Closing("c")])
    assert closed == ["a", "b", "c"]


@pytest.mark.parametrize("name", hints.CALLBACKS)
def test_names_of_other_libraries(name: str) -> None:
    with pytest.raises(AttributeError, match=f"has no attribute '{name}': use "):
        getattr(callbacks, name)
    for used in re.findall(r"\b[A-Z]\w+", hints.CALLBACKS[name]):
        assert used in callbacks.__all__
    with pytest.raises(AttributeError, match=r"has no attribute 'Foo'$"):
        callbacks.Foo  # noqa: B018


# --- what is watched --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("val_loss", "min"),
        ("loss", "min"),
        ("mae", "min"),
        ("val_accuracy", "max"),
        ("acc", "max"),
        ("val_head_f1_score", "max"),
        ("val_cosine_similarity", "max"),
        ("roc_auc", "max"),
        ("r2", "max"),
        ("precision", "max"),
        ("val_recall", "max"),
        ("accident_rate", "min"),
    ],
)
def test_mode_by_name(name: str, mode: str) -> None:
    assert Monitor(name, "auto").mode == mode
    assert Monitor(name, "min").mode == "min"


def test_what_cannot_be_watched() -> None:
    with pytest.raises(ValueError, match="EarlyStopping monitors 'val_loss', and there is no validation: give fit"):
        fit(EarlyStopping())
    with pytest.raises(ValueError, match="EarlyStopping monitors 'auc', which is not in the logs: there are loss, mae"):
        fit(EarlyStopping("auc"))
    with pytest.raises(ValueError, match="monitors 'val_auc', which is not in the logs: there are loss, mae, val_loss"):
        fit(ReduceLROnPlateau("val_auc"), validation_data=(X, Y))
    with pytest.raises(TypeError, match="monitors 'table', which is not one number: "):
        fit([planted([st.ones(2)], "table"), EarlyStopping("table")])
    with pytest.raises(ValueError, match="EarlyStopping: mode='least' must be"):
        EarlyStopping(mode="least")
    with pytest.raises(TypeError, match="monitor must be a name in the logs"):
        EarlyStopping(3)  # type: ignore[arg-type]


def test_epochs_without_validation_are_passed_over() -> None:
    stopping = EarlyStopping(patience=1, min_delta=100.0)
    history = fit(stopping, validation_data=(X, Y), validation_freq=3, epochs=20)
    assert history.epoch[-1] == stopping.stopped_epoch == 5
    assert stopping.best_epoch == 2


def test_acc_is_accuracy() -> None:
    stopping = EarlyStopping("acc", patience=1)
    fit([planted([0.5, 0.6, 0.6, 0.7], "accuracy"), stopping], epochs=4)
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (0.6, 1, 2)


# --- EarlyStopping ----------------------------------------------------------------------------------------------------


def keras_early_stopping(
    values: list[float], patience: int, min_delta: float, baseline: float | None, start: int, sign: int
) -> tuple[int, int, int]:
    """Keras 3's rules: the number of epochs, the best one, and the one in which it stopped."""
    best, best_epoch, wait, known = math.inf, 0, 0, False
    for epoch, value in enumerate(values):
        value *= sign
        if epoch < start:
            continue
        if not known:
            best_epoch, known = epoch, True
        wait += 1
        if value + min_delta < best:
            best, best_epoch = value, epoch
            if baseline is None or value + min_delta < sign * baseline:
                wait = 0
            continue
        if wait >= patience and epoch > 0:
            return epoch + 1, best_epoch, epoch
    return len(values), best_epoch, 0


def test_early_stopping_by_keras_rules(rng: np.random.Generator) -> None:
    model = model_of()
    stops = 0
    for case in range(200):
        values = rng.choice([0.1, 0.2, 0.3, 0.5, 0.8, math.nan], 9).tolist()
        patience, start = int(rng.integers(0, 6)), int(rng.integers(0, 3))
        delta, baseline = float(rng.choice([0.0, 0.15])), [None, 0.25][case % 2]
        mode, sign = [("min", 1), ("max", -1)][case % 3 % 2]
        stopping = EarlyStopping("v", delta, patience, 0, mode, baseline, start_from_epoch=start)
        history = fit([planted(values, "v"), stopping], model, epochs=9, initial_epoch=0, batch_size=40)
        expected = keras_early_stopping(values, patience, delta, baseline, start, sign)
        assert (len(history["loss"]), stopping.best_epoch, stopping.stopped_epoch) == expected, case
        stops += stopping.stopped_epoch > 0
    assert 100 < stops < 200


@pytest.mark.parametrize("stops", [True, False])
def test_the_best_weights_come_back(stops: bool, capsys: pytest.CaptureFixture[str]) -> None:
    values = [0.5, 0.3, 0.4, 0.6, 0.7]
    seen: list[np.ndarray] = []
    model = model_of()
    note = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(weights(model)))
    stopping = EarlyStopping(patience=3 if stops else 10, verbose=1)
    fit([planted(values), note, stopping], model, epochs=5)
    assert np.array_equal(weights(model), seen[1])
    assert not np.array_equal(seen[1], seen[-1])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "EarlyStopping: the model has the weights of epoch 2 again, the best by val_loss (0.3)"
    assert lines[:-1] == ["EarlyStopping: val_loss has not improved since epoch 2"] * stops
    other = model_of()
    fit([planted(values), EarlyStopping(patience=3, restore_best_weights=False)], other, epochs=5)
    assert np.array_equal(weights(other), seen[4])


def test_early_stopping_options() -> None:
    with pytest.raises(ValueError, match="patience=-1 must be"):
        EarlyStopping(patience=-1)
    stopping = EarlyStopping("loss", patience=1, min_delta=100.0)
    model = model_of()
    assert len(fit(stopping, model, epochs=5)["loss"]) == 2
    assert len(fit(stopping, model, epochs=5)["loss"]) == 2  # it begins anew


# --- time, NaN and what is shown --------------------------------------------------------------------------------------


def test_timer() -> None:
    timer = Timer()
    fit([timer, LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.01))], epochs=2)
    assert len(timer.epoch_seconds) == 2
    assert timer.batches == 8
    assert sum(timer.epoch_seconds) > 0.08
    assert 8 * timer.seconds_per_batch < sum(timer.epoch_seconds)
    assert math.isnan(Timer().seconds_per_batch)
    for duration in (0, -1, timedelta(0)):
        with pytest.raises(ValueError, match="must be positive"):
            Timer(duration)


def test_time_is_over() -> None:
    timer = Timer(timedelta(seconds=0.05))
    pause = LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.02))
    history = fit([pause, timer], epochs=1000, validation_data=(X, Y), accumulate_gradients=2)
    assert timer.out_of_time
    assert 2 <= timer.batches < 20
    assert timer.batches % 2 == 0
    assert len(history["val_loss"]) == len(history["loss"])


def test_terminate_on_nan(capsys: pytest.CaptureFixture[str]) -> None:
    x = X.copy()
    x[15] = np.nan
    with pytest.warns(RuntimeWarning, match="the loss became nan in epoch 1, batch 2"):
        history = fit(TerminateOnNaN(), x=x, shuffle=False, epochs=3)
    assert len(history["loss"]) == 1
    assert capsys.readouterr().out == "TerminateOnNaN: the loss is nan in epoch 1, batch 2\n"
    assert len(fit(TerminateOnNaN(), epochs=3)["loss"]) == 3


def test_progress_bar_is_throttled(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(ProgressBar, "INTERVAL", 1000.0)
    fit((), epochs=50, verbose=1)
    assert capsys.readouterr().err.count("\r") < 10


def test_progress_bar_without_a_number_of_steps(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar()
    bar.set_params({"epochs": 2, "initial_epoch": 0, "steps": None})
    bar.on_train_begin()
    bar.on_epoch_begin(0)
    for batch in range(7):
        bar.on_train_batch_end(batch, {"loss": 1.0})
    bar.on_epoch_end(0, {"loss": 0.5})
    bar.on_train_end({"loss": 0.5})
    bar.close()
    assert "epoch 1/2 7 batches" in capsys.readouterr().err.replace("\r", "\n").splitlines()[-1]


def test_progress_bar_of_a_run_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(batch: int, logs: Any) -> None:
        if killed and batch == 2:
            raise KeyboardInterrupt

    for killed in (True, False):  # noqa: B007
        backup = BackupAndRestore(tmp_path, save_freq=1)
        members = [LambdaCallback(on_train_batch_begin=fail), backup]
        try:
            fit(members, epochs=2, verbose=1)
        except KeyboardInterrupt:
            assert capsys.readouterr().err.replace("\r", "\n").splitlines()[1].startswith("epoch 1/2   0%|")
    out, err = capsys.readouterr()
    assert out.startswith("BackupAndRestore: going on in epoch 1, after batch 2, from ")
    lines = err.replace("\r", "\n").splitlines()
    assert lines[1].startswith(("epoch 1/2  25%|", "epoch 1/2  38%|"))
    assert lines[-1].startswith("epoch 2/2 100%|")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "much"])
def test_min_delta_is_a_finite_number(value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="EarlyStopping: min_delta"):
        EarlyStopping(min_delta=value)
