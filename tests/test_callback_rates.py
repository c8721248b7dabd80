"""Callbacks that change the learning rate or average weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from fits import X, Y, fit, model_of, planted, weights
from steep import nn
from steep.callbacks import (
    Callback,
    EarlyStopping,
    ExponentialMovingAverage,
    LambdaCallback,
    LearningRateFinder,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)

# --- learning rates ---------------------------------------------------------------------------------------------------


def keras_plateau(
    values: list[float], patience: int, min_delta: float, cooldown: int, factor: float, least: float
) -> list[float]:
    """Keras 3's rules: the rate in each epoch."""
    rate, best, wait, counter, rates = 1.0, math.inf, 0, 0, []
    for value in values:
        rates.append(rate)
        if counter > 0:
            counter -= 1
            wait = 0
        if value < best - min_delta:
            best, wait = value, 0
        elif counter <= 0:
            wait += 1
            if wait >= patience and rate > least:
                rate, counter, wait = max(rate * factor, least), cooldown, 0
    return rates


def test_plateau_by_keras_rules(rng: np.random.Generator) -> None:
    model = model_of()
    for case in range(40):
        values = rng.choice([0.11, 0.22, 0.33, 0.55, 0.88, math.nan], 12).tolist()
        patience, cooldown = int(rng.integers(1, 4)), int(rng.integers(0, 4))
        model.optimizer.lr = 1.0
        plateau = ReduceLROnPlateau("v", 0.5, patience, 0, "min", 0.1, cooldown, 0.1)
        history = fit([planted(values, "v"), plateau], model, epochs=12, initial_epoch=0, batch_size=40)
        assert history["learning_rate"] == keras_plateau(values, patience, 0.1, cooldown, 0.5, 0.1), case


def test_plateau_as_pytorch_without_cooldown(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    values = rng.uniform(size=30).tolist()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    # PyTorch's patience is one less: it waits for one epoch more.
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", 0.5, 1, threshold=0.05, threshold_mode="abs", min_lr=0.01
    )
    expected = []
    for value in values:
        expected.append(optimizer.param_groups[0]["lr"])
        reference.step(value)
    model = model_of(lambda parameters: st.optim.SGD(parameters, lr=1.0))
    plateau = ReduceLROnPlateau("accuracy", 0.5, patience=2, min_delta=0.05, min_lr=0.01)
    assert fit([planted(values, "accuracy"), plateau], model, epochs=30)["learning_rate"] == expected


def test_plateau_of_groups_prints_and_refuses_schedules(capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Linear(3, 1)
    groups = [{"params": [model.weight], "lr": 1e-3}, {"params": [model.bias], "lr": 1e-5}]
    model.compile(st.optim.SGD(groups), "mse")
    fit(ReduceLROnPlateau("loss", patience=1, min_delta=100.0, min_lr=1e-4, verbose=1), model, epochs=3)
    assert [group["lr"] for group in model.optimizer.param_groups] == [1e-4, 1e-5]
    assert capsys.readouterr().out == "ReduceLROnPlateau: the learning rate is 0.0001 after epoch 2\n"
    scheduled = model_of(lambda p: st.optim.SGD(p, lr=st.optim.schedules.CosineDecay(0.1, 10)))
    with pytest.raises(ValueError, match="the optimizer's lr is a schedule"):
        fit(ReduceLROnPlateau("loss"), scheduled)
    for factor in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"factor=.* must be between 0 and 1"):
            ReduceLROnPlateau(factor=factor)


def test_plateau_goes_on_from_its_state() -> None:
    whole = ReduceLROnPlateau("v", 0.5, 2, cooldown=2)
    rates = fit([planted([1.0] * 8, "v"), whole], epochs=8)["learning_rate"]
    assert len(set(rates)) == 3
    for split in range(1, 8):
        model, first, second = model_of(), *(ReduceLROnPlateau("v", 0.5, 2, cooldown=2) for _ in range(2))
        before = fit([planted([1.0] * 8, "v"), first], model, epochs=split)["learning_rate"]

        def load(logs: Any, first: Callback = first, second: Callback = second) -> None:
            second.load_state_dict(first.state_dict())

        members = [planted([1.0] * 8, "v"), second, LambdaCallback(on_train_begin=load)]
        assert before + fit(members, model, epochs=8 - split)["learning_rate"] == rates


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (lambda epoch: 0.5**epoch, [1.0, 0.5, 0.25]),
        (lambda epoch, lr: lr * 0.5, [0.5, 0.25, 0.125]),
        (st.optim.schedules.StepDecay(1.0, 2, 0.5), [1.0, 1.0, 0.5]),
    ],
    ids=["epoch", "epoch and rate", "schedule"],
)
def test_learning_rate_scheduler(schedule: Any, rates: list[float]) -> None:
    model = model_of(lambda parameters: st.optim.SGD(parameters, lr=1.0))
    assert fit(LearningRateScheduler(schedule), model, epochs=3)["learning_rate"] == rates


def test_learning_rate_scheduler_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TypeError, match=r"schedule must be a function of the epoch, not 0\.1"):
        LearningRateScheduler(0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the schedule must return a number, not None"):
        fit(LearningRateScheduler(lambda epoch: None))  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match=r"lr=-1.* must not be negative"):
        fit(LearningRateScheduler(lambda epoch: -1.0))
    fit(LearningRateScheduler(lambda epoch: 0.125, verbose=1))
    assert capsys.readouterr().out == "LearningRateScheduler: the learning rate of epoch 1 is 0.125\n"


def test_learning_rate_finder_sweeps_and_restores() -> None:
    model = model_of(lambda p: st.optim.Adam(p, lr=st.optim.schedules.CosineDecay(0.02, 100)))
    fit((), model, epochs=1)
    schedule = model.optimizer.param_groups[0]["lr"]
    before = repr((model.optimizer.state_dict(), st.random.get_state())), weights(model).tobytes()
    losses: list[float] = []
    values = LambdaCallback(
        on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]),
    )
    finder = LearningRateFinder(1e-5, 1e3, steps=30, smoothing=0.0)
    history = fit([finder, values], model, epochs=100)
    assert (repr((model.optimizer.state_dict(), st.random.get_state())), weights(model).tobytes()) == before
    assert model.optimizer.param_groups[0]["lr"] is schedule
    n = len(finder.losses)
    assert 10 < n <= 30
    np.testing.assert_allclose(finder.rates, np.geomspace(1e-5, 1e3, 30)[:n])
    # Without smoothing they are the batches' losses: those whose means the logs have.
    parts = [losses[i : i + 4] for i in range(0, n, 4)]
    each = [k * m - (k - 1) * part[k - 2] if k > 1 else m for part in parts for k, m in enumerate(part, 1)]
    np.testing.assert_allclose(finder.losses, each, rtol=1e-4)
    assert n == 30 or finder.losses[-1] > 4 * min(finder.losses[:-1])
    assert 1e-5 < finder.suggestion < 1e3
    assert len(history["loss"]) == math.ceil(n / 4)
    assert fit((), model, epochs=1).epoch == [1]


def test_learning_rate_finder_restores_after_errors_and_refuses() -> None:
    model, finder = model_of(), LearningRateFinder(steps=50)
    before = weights(model)

    def fail(batch: int, logs: Any) -> None:
        if batch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit([finder, LambdaCallback(on_train_batch_begin=fail)], model)
    assert np.array_equal(weights(model), before)
    assert model.optimizer.lr == 0.01
    assert len(finder.losses) == 3
    with pytest.raises(RuntimeError, match="0 batches show no slope"):
        _ = LearningRateFinder().suggestion
    for options in ({"min_lr": 0}, {"min_lr": 1, "max_lr": 1}, {"steps": 1}, {"smoothing": 1}, {"divergence": 1}):
        with pytest.raises(ValueError, match="LearningRateFinder: "):
            LearningRateFinder(**options)  # type: ignore[arg-type]


def test_learning_rate_finder_finds_the_steep_part_and_plots() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    finder = LearningRateFinder(1e-6, 1.0)
    finder.rates = np.geomspace(1e-6, 1, 61).tolist()
    finder.losses = [1 / (1 + rate / 1e-3) for rate in finder.rates]  # steepest over the logarithm at 1e-3
    assert finder.suggestion == pytest.approx(1e-3, rel=0.3)
    axes = finder.plot()
    assert axes.get_xscale() == "log"
    assert axes.lines[0].get_xdata().tolist() == finder.rates
    assert finder.plot(axes) is axes
    pyplot.close("all")


# --- averages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("final", ["averaged", "last"])
def test_moving_average(start: int, final: str) -> None:
    model, steps = model_of(), []
    note = LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(weights(model).astype(np.float64)))
    ema = ExponentialMovingAverage(0.8, start, final)
    history = fit([note, ema], model, epochs=3, validation_data=(X, Y))
    average = steps[start]
    measured = []
    for number, step in enumerate(steps):
        if number > start:
            average = 0.8 * average + 0.2 * step
        if number % 4 == 3:  # the end of an epoch
            outputs = X.astype(np.float64) @ average[:3] + average[3]
            measured.append(np.mean((outputs - Y[:, 0]) ** 2))
    np.testing.assert_allclose(np.concatenate([x.numpy().ravel() for x in ema.averages.values()]), average, rtol=1e-5)
    np.testing.assert_allclose(weights(model), average if final == "averaged" else steps[-1], rtol=1e-5)
    np.testing.assert_allclose(history["val_loss"], measured, rtol=1e-4)


def test_moving_average_of_steps_that_accumulate() -> None:
    ema = ExponentialMovingAverage(0.5)
    fit(ema, epochs=2, accumulate_gradients=3)  # 4 batches, 2 steps in each epoch
    assert ema.steps == 4


def test_moving_average_is_taken_out_after_an_error_in_validation() -> None:
    model, steps = model_of(), []
    note = LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(weights(model)))

    def fail(batch: int, logs: Any) -> None:
        assert not np.array_equal(weights(model), steps[-1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            [ExponentialMovingAverage(0.9), note, LambdaCallback(on_test_batch_begin=fail)],
            model,
            validation_data=(X, Y),
        )
    assert np.array_equal(weights(model), steps[-1])


@pytest.mark.parametrize("ema_first", [True, False])
def test_the_best_averages_are_kept(ema_first: bool, tmp_path: Path) -> None:
    """EarlyStopping and ModelCheckpoint keep the weights that were measured."""
    model, kept = model_of(), []
    ema, stopping = ExponentialMovingAverage(0.7), EarlyStopping("v")
    note = LambdaCallback(
        on_epoch_end=lambda epoch, logs: kept.append({k: v.numpy().copy() for k, v in ema.averages.items()})
    )
    checkpoint = ModelCheckpoint(tmp_path / "best.safetensors", "v", save_best_only=True)
    both = [ema, stopping] if ema_first else [stopping, ema]
    fit([planted([3.0, 2.0, 2.5], "v"), note, *both, checkpoint], model, epochs=3)
    for name, values in kept[1].items():
        assert np.array_equal(model.state_dict()[name].numpy(), values)
        assert np.array_equal(st.load(tmp_path / "best.safetensors")[name].numpy(), values)
        assert not np.array_equal(kept[2][name], values)


def test_moving_average_of_bfloat16_is_float32_and_refuses() -> None:
    model = nn.Linear(3, 1).to(st.bfloat16)
    model.compile("sgd", "mse")
    ema = ExponentialMovingAverage(0.9)
    fit(ema, model, epochs=2)
    assert {x.dtype for x in ema.averages.values()} == {st.float32}
    assert model.weight.dtype is st.bfloat16
    for decay in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"decay=.* must be at least 0 and less than 1"):
            ExponentialMovingAverage(decay)
    with pytest.raises(ValueError, match="final='first' must be"):
        ExponentialMovingAverage(final="first")
    other = ExponentialMovingAverage()
    other.set_model(nn.Linear(2, 1))
    with pytest.raises(ValueError, match=r"averages of .*weight.*, and the model has "):
        other.load_state_dict(ema.state_dict())
