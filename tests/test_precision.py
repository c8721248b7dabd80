"""fit(precision=…): float32 weights, and 16 bits where they do no harm."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

import steep as st
from classifiers import compiled, labelled, net, weights
from steep import callbacks, nn, optim
from test_accuracy import standardised

LOW = ["bfloat16", "float16"]


class Seen(nn.Module):
    """Notes the dtype that a product has here."""

    def __init__(self) -> None:
        self.dtypes: list[str] = []

    def forward(self, x: st.Tensor) -> st.Tensor:
        self.dtypes.append((x @ x.T).dtype.name)
        return x


def watched() -> tuple[nn.Sequential, Seen]:
    st.manual_seed(3)
    seen = Seen()
    model = nn.Sequential(seen, nn.Linear(4, 8, activation="tanh"), nn.Linear(8, 3))
    model.compile(optim.SGD(model.parameters(), lr=0.1), "cross_entropy", metrics=["accuracy"])
    return model, seen


@functools.cache
def digits(precision: str) -> float:
    """The mean validation accuracy of some seeds."""
    x_train, x_test, y_train, y_test = standardised(datasets.load_digits)
    accuracies = []
    for seed in range(5):
        st.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 64, activation="relu"), nn.Linear(64, 10))
        model.compile(optim.Adam(model.parameters(), lr=2e-3), "cross_entropy", metrics=["accuracy"])
        history = model.fit(
            x_train, y_train, epochs=12, validation_data=(x_test, y_test), verbose=0, precision=precision
        )
        accuracies.append(history["val_accuracy"][-1])
    return mean(accuracies)


@pytest.mark.parametrize("precision", LOW)
def test_digits_are_learned_as_in_float32(precision: str) -> None:
    assert digits("float32") > 0.965
    assert abs(digits(precision) - digits("float32")) <= 0.005, (digits(precision), digits("float32"))


@pytest.mark.parametrize("precision", LOW)
def test_all_of_a_fit_computes_in_it(precision: str) -> None:
    model, seen = watched()
    x, y = labelled()
    kept = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.dtypes.append("callback"))
    outside: list[str] = []
    look = callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: outside.append((st.ones(2, 2) @ st.ones(2, 2)).dtype.name)
    )
    model.fit(x, y, epochs=1, validation_split=0.5, callbacks=[kept, look], verbose=0, precision=precision)
    assert set(seen.dtypes) == {precision, "callback"}
    assert set(outside) == {"float32"}
    seen.dtypes.clear()
    results = model.evaluate(x, y)
    output = model.predict(x)
    assert set(seen.dtypes) == {precision}
    assert output.dtype is st.float32
    assert {p.dtype for p in model.parameters()} == {st.float32}
    with st.autocast(precision):
        expected = model(st.tensor(x))
    np.testing.assert_array_equal(output.numpy(), expected.detach().astype("float32").numpy())
    np.testing.assert_allclose(results["loss"], st.cross_entropy(output, y).item(), rtol=1e-6)
    seen.dtypes.clear()
    model.fit(x, y, verbose=0)  # float32 unless it is asked for
    model.predict(x)
    assert set(seen.dtypes) == {"float32"}


def test_it_is_the_loop_by_hand() -> None:
    x, y = labelled()
    fitted, model = net(), net()
    fitted.compile(optim.Adam(fitted.parameters(), lr=0.01), "cross_entropy")
    fitted.fit(x, y, batch_size=20, epochs=3, shuffle=False, verbose=0, precision="float16", gradient_clip_norm=0.1)
    optimizer, scaler = optim.Adam(model.parameters(), lr=0.01), st.amp.GradScaler()
    for _ in range(3):
        for i in range(0, len(x), 20):
            optimizer.zero_grad()
            with st.autocast("float16"):
                output = model(st.tensor(x[i : i + 20]))
            loss = st.cross_entropy(output.astype("float32"), y[i : i + 20])
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
    for a, b in zip(weights(fitted), weights(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("precision", LOW)
def test_accumulated_gradients_and_steps_of_ones_own(precision: str) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(4, 3)
            self.found: set[str] = set()

        def forward(self, x: st.Tensor) -> st.Tensor:
            return self.layer(x)

        def train_step(self, batch: Any) -> dict[str, Any]:
            output = self(batch[0])
            self.found.add(output.dtype.name)
            loss = self.compute_loss(output, batch[1])
            self.found.add(loss.dtype.name)
            self.minimize(loss)
            return {"loss": loss}

    x, y = labelled()
    st.manual_seed(0)
    own = Own()
    wide = copy.deepcopy(own)
    for model, chosen in ((own, precision), (wide, "float32")):
        model.compile(optim.SGD(model.parameters(), lr=0.1), "cross_entropy")
        model.fit(x, y, batch_size=10, epochs=2, accumulate_gradients=3, shuffle=False, verbose=0, precision=chosen)
    assert own.found == {precision, "float32"}
    for a, b in zip(weights(own), weights(wide), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)


def overflowing() -> nn.Sequential:
    """Gradients of its loss times 65536 are beyond float16: the scaler has to find a smaller number."""
    st.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 8, activation="relu"), nn.Dropout(0.3), nn.Linear(8, 1))
    model.compile(optim.Adam(model.parameters(), lr=0.01), "mse")
    return model


X = np.random.default_rng(0).normal(size=(48, 3)).astype(np.float32)
Y = 100 * X.sum(1, keepdims=True)
OPTIONS: dict[str, Any] = {"batch_size": 12, "verbose": 0, "validation_split": 0.25, "precision": "float16"}


def test_steps_that_overflow_are_left_out() -> None:
    model = overflowing()
    before = weights(model)
    model.fit(X, Y, epochs=1, steps_per_epoch=1, **OPTIONS)
    assert [np.array_equal(a, b) for a, b in zip(before, weights(model), strict=True)] == [True] * 4
    scaler = model._compiled.precision.scaler
    assert scaler.get_scale() == 2.0**15
    history = model.fit(X, Y, epochs=30, **OPTIONS)  # goes on with its scale
    assert model._compiled.precision.scaler is scaler
    assert scaler.get_scale() < 2.0**15
    assert history["loss"][-1] < history["loss"][0]


class Interrupt(callbacks.Callback):
    def __init__(self, after: int) -> None:
        self.left = after

    def on_train_batch_end(self, batch: int, logs: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_a_run_goes_on_with_the_scalers_state(tmp_path: Path) -> None:
    def run(folder: Path, *more: callbacks.Callback, **options: Any) -> tuple[Any, ...]:
        model = overflowing()
        backup = callbacks.BackupAndRestore(folder, save_freq=1)
        history = model.fit(X, Y, epochs=5, callbacks=[backup, *more], **{**OPTIONS, **options})
        state = model._compiled.precision.state_dict()
        return [w.tobytes() for w in weights(model)], dict(history), state

    expected = run(tmp_path / "whole")
    assert expected[2]["scale"] < 2.0**16
    for after in (1, 2, 3, 7, 14):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / str(after), Interrupt(after))
        assert run(tmp_path / str(after)) == expected, after
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Interrupt(2))
    for other, here in (("bfloat16", "bfloat16"), ("float32", "None")):
        with pytest.raises(ValueError, match=f"precision: here {here}, in the saved run float16"):
            run(tmp_path, precision=other)


def test_names() -> None:
    x, y = labelled()
    model = compiled()
    for name, meant in (
        ("mixed_bfloat16", "bfloat16"),
        ("mixed_float16", "float16"),
        (st.bfloat16, "bfloat16"),
        ("float16", "float16"),
    ):
        model.fit(x, y, verbose=0, precision=name)
        assert model._compiled.precision.name == meant
    for wrong in ("16-mixed", "float64", None, 16, st.float64):
        with pytest.raises(ValueError, match=r'precision=.* must be "float32", "bfloat16" or "float16"'):
            model.fit(x, y, verbose=0, precision=wrong)
    for dtype in ("bfloat16", "float64"):
        model = net().to(dtype)
        model.compile("sgd", "cross_entropy")
        with pytest.raises(ValueError, match=rf"is for float32 parameters, which it keeps, and 0.weight is {dtype}"):
            model.fit(x, y, verbose=0, precision="bfloat16")


def test_several_inputs_and_outputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 1)

        def forward(self, x: st.Tensor, z: st.Tensor) -> dict[str, st.Tensor]:
            return {"classes": self.a(x), "value": self.b(z)}

    x, y = labelled()
    model = Two()
    model.compile("adam", {"classes": "cross_entropy", "value": "mse"})
    model.fit((x, x), {"classes": y, "value": x[:, :1]}, verbose=0, precision="bfloat16")
    output = model.predict((x, x))
    assert {part.dtype for part in output.values()} == {st.float32}
