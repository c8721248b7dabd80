"""The options of fit, and its callbacks: checked against loops written by hand."""

from typing import Any

import numpy as np
import pytest

import steep as st
from classifiers import Loader, assert_equal_weights, compiled, in_batches, labelled, net, weights
from steep import nn, optim
from steep.callbacks import Callback, CallbackList, History


@pytest.fixture(autouse=True)
def seed() -> None:
    st.manual_seed(0)


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    return labelled()


# --- options ----------------------------------------------------------------------------------------------------------


def test_gradients_are_clipped(data: Any) -> None:
    x, y = data
    fitted, model = compiled(lr=1.0), net()
    fitted.fit(x, y, batch_size=70, shuffle=False, gradient_clip_norm=0.01, verbose=0)
    before = weights(model)
    change = [a - b for a, b in zip(weights(fitted), before, strict=True)]
    assert np.sqrt(sum((c**2).sum() for c in change)) == pytest.approx(0.01, rel=1e-3)
    before = weights(fitted)
    fitted.minimize(1e3 * fitted(st.tensor(x)).square().sum())  # after fit it is a step like any other
    assert max(abs(a - b).max() for a, b in zip(weights(fitted), before, strict=True)) > 1
    with pytest.raises(ValueError, match="gradient_clip_norm=0 must be positive"):
        fitted.fit(x, y, gradient_clip_norm=0)


@pytest.mark.parametrize("kind", ["arrays", "loader"])
def test_accumulated_gradients_are_those_of_larger_batches(kind: str, data: Any) -> None:
    x, y = data[0][:64], data[1][:64]
    large, small = compiled(), compiled()
    large.fit(x, y, batch_size=32, shuffle=False, epochs=2, verbose=0)
    given = (x, y, 8) if kind == "arrays" else (Loader(in_batches(x, y, 8)),)
    small.fit(*given, shuffle=False, epochs=2, verbose=0, accumulate_gradients=4)
    for a, b in zip(weights(large), weights(small), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert small.optimizer._steps[0][0] == 4


def test_a_last_group_may_be_smaller(data: Any) -> None:
    x, y = data[0][:48], data[1][:48]
    model, expected = compiled(), compiled()
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0, accumulate_gradients=2)
    expected.fit(Loader([(x[:32], y[:32]), (x[32:], y[32:])]), verbose=0)
    for a, b in zip(weights(model), weights(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_epochs_and_validation(data: Any) -> None:
    model = compiled()
    history = model.fit(*data, epochs=6, validation_data=data, validation_freq=2, verbose=0)
    assert (len(history["loss"]), len(history["val_loss"])) == (6, 3)
    assert model.fit(*data, epochs=9, initial_epoch=6, verbose=0).epoch == [6, 7, 8]
    assert model.fit(*data, epochs=1, verbose=0).epoch == [9]
    named = model.fit(*data, epochs=4, initial_epoch=0, validation_data=data, validation_freq=[1, 4], verbose=0)
    assert len(named["val_loss"]) == 2
    with pytest.raises(ValueError, match="validation_freq=0 must be a positive integer, or a list of epochs"):
        model.fit(*data, validation_freq=0)
    weighted = model.fit(*data, validation_data=(*data, np.zeros(70)), validation_batch_size=7, verbose=0)
    assert weighted["val_loss"] == [0.0]


def test_steps(data: Any) -> None:
    sizes: list[int] = []

    class Counter(Callback):
        def on_train_batch_end(self, batch: int, logs: Any) -> None:
            sizes.append(batch)

        def on_test_batch_end(self, batch: int, logs: Any) -> None:
            sizes.append(-1 - batch)

    model = compiled()
    model.fit(*data, batch_size=16, epochs=2, steps_per_epoch=2, validation_data=data, validation_steps=1, verbose=0,
              callbacks=[Counter()])  # fmt: skip
    assert sizes == [0, 1, -1, 0, 1, -1]
    with pytest.raises(ValueError, match="3 steps are asked for, and 70 samples make 2 batches"):
        model.fit(*data, batch_size=64, steps_per_epoch=3, verbose=0)


def test_a_dev_run_is_short_and_writes_nothing(data: Any) -> None:
    calls = []

    class Writer(Callback):
        writes_files = True

        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            calls.append("wrote")

    class Reader(Callback):
        def on_train_batch_end(self, batch: int, logs: Any) -> None:
            calls.append(batch)

    model = compiled()
    history = model.fit(*data, 16, 50, 0, [Writer(), Reader()], validation_data=data, fast_dev_run=2)
    assert calls == [0, 1]
    assert list(history) == ["loss", "val_loss"]


def test_overfitting_a_few_batches(data: Any) -> None:
    x, y = data
    model, expected = compiled(), compiled()
    history = model.fit(x, y, 16, 3, 0, overfit_batches=2, validation_data=(x[:5], y[:5]))
    expected.fit(x[:32], y[:32], 16, 3, 0, shuffle=False)
    assert_equal_weights(model, expected)
    assert history["val_loss"][-1] == model.evaluate(x[:32], y[:32], batch_size=16)["loss"]


def test_deterministic(data: Any) -> None:
    runs = []
    for deterministic in (True, True, 1, 0):
        model = compiled()
        st.random.uniform(len(runs))
        model.fit(*data, epochs=2, deterministic=deterministic, verbose=0) if deterministic != 0 else None
        runs.append(weights(model))
    for a, b, c in zip(*runs[:3], strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


# --- callbacks --------------------------------------------------------------------------------------------------------


def test_the_list_is_a_callback(data: Any) -> None:
    calls: list[str] = []

    class Named(Callback):
        def __init__(self, name: str, last: bool = False) -> None:
            self.name, self.runs_last = name, last

        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            assert self.loop is not None
            calls.append(f"{self.name} {epoch} {self.params['epochs']} {self.loop.epoch}")
            logs[self.name] = 1.0

        def close(self) -> None:
            calls.append(f"close {self.name}")

    inner = CallbackList([Named("c", last=True), Named("a")])
    history = compiled().fit(*data, callbacks=[inner, Named("b")], verbose=0)
    assert calls == ["a 0 1 1", "b 0 1 1", "c 0 1 1", "close a", "close b", "close c"]
    assert list(history) == ["loss", "a", "b"]
    for wrong, message in (
        ([Named], r"not <class .*: write Named\(\)"),
        ([print], "wrap a function in LambdaCallback"),
        (3, "callbacks must be steep.callbacks.Callback objects, not 3"),
    ):
        with pytest.raises(TypeError, match=message):
            compiled().fit(*data, callbacks=wrong)


def test_a_callback_ends_fit_within_an_epoch(data: Any) -> None:
    class Stop(Callback):
        def on_train_batch_end(self, batch: int, logs: Any) -> None:
            self.model.stop_training = batch == 1

    model = compiled()
    assert model.fit(*data, batch_size=16, epochs=5, callbacks=[Stop()], verbose=0).epoch == [0]
    assert model.optimizer._steps[0][0] == 2
    assert model.fit(*data, epochs=2, verbose=0).epoch == [1, 2]


def test_what_is_raised_leaves_a_history_and_closes(data: Any) -> None:
    closed = []

    class Failing(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

        def close(self) -> None:
            closed.append(self.loop is not None)

    history, model = History(), compiled()
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data, epochs=5, callbacks=[Failing(), history], verbose=0)
    assert history.epoch == [0, 1]
    assert closed == [True]
    assert model.training
    model.fit(*data, epochs=1, callbacks=history, verbose=0)
    assert history.epoch == [0, 1, 2]


@pytest.mark.parametrize("at", [(0, 1), (1, 0), (1, 4), (2, 2)])
def test_a_saved_loop_goes_on_bit_for_bit(at: tuple[int, int], data: Any) -> None:
    saved: list[Any] = []

    class Save(Callback):
        def on_train_batch_end(self, batch: int, logs: Any) -> None:
            assert self.loop is not None
            if (self.loop.epoch, self.loop.batch) == at:
                saved.append(self.loop.state_dict())

        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            self.on_train_batch_end(0, logs)

        runs_last = True

    class Restore(Save):
        def on_train_begin(self, logs: Any = None) -> None:
            assert self.loop is not None
            self.loop.load_state_dict(saved[0])

    def model() -> nn.Module:
        st.manual_seed(3)
        made = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 3))
        made.compile("adam", "cross_entropy", metrics=["accuracy"])
        return made

    whole, resumed = model(), model()
    expected = whole.fit(*data, 16, 4, 0, Save(), validation_data=data)
    end = st.random.get_state()
    Restore.__name__ = "Save"  # the state names the classes
    st.manual_seed(99)
    history = resumed.fit(*data, 16, 4, 0, Restore(), validation_data=data)
    assert history == expected
    assert history.epoch == expected.epoch
    assert_equal_weights(whole, resumed)
    assert st.random.get_state() == end


def test_the_hint_at_overfitting(data: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from steep.train.loop import overfitting_hint

    falling = [1 / (1 + i) for i in range(20)]
    turning = [1.0, 0.8, 0.7, 0.6, 0.65, *[0.7 + 0.02 * i for i in range(15)]]
    hint = overfitting_hint({"loss": falling, "val_loss": turning}, list(range(20)))
    assert hint is not None
    assert "val_loss was best, 0.6, in epoch 4" in hint
    for loss, validation in (
        (falling, falling),
        (turning, turning),
        (falling[:4], turning[:4]),
        (falling, [float("nan")] * 20),
        (falling, [0.6] * 19 + [0.7]),
    ):
        assert overfitting_hint({"loss": loss, "val_loss": validation}, list(range(20))) is None
    assert overfitting_hint({"loss": falling}, list(range(20))) is None
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    model = nn.Sequential(nn.Linear(4, 64, activation="relu"), nn.Linear(64, 3))
    model.compile(optim.Adam(model.parameters(), lr=0.05), "cross_entropy")
    model.fit(x[:15], y[:15], epochs=40, validation_data=(x[15:], y[15:]), verbose=2)
    assert capsys.readouterr().out.count("hint: the model overfits") == 1


def test_a_regularizer_of_all_weights(data: Any) -> None:
    x, y = data
    fitted, model = compiled(regularizer="l2"), net()
    history = fitted.fit(x, y, batch_size=70, shuffle=False, verbose=0)
    penalty = sum(float((p.numpy().astype(np.float64) ** 2).sum()) for p in model.parameters() if p.ndim == 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loss = st.cross_entropy(model(st.tensor(x)), st.tensor(y))
    assert history["loss"][0] == pytest.approx(float(loss) + 0.01 * penalty, rel=1e-5)
    (loss + 0.01 * sum((p * p).sum() for p in model.parameters() if p.ndim == 2)).backward()
    optimizer.step()
    for a, b in zip(weights(fitted), weights(model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="compile: there is no regularizer"):
        compiled(regularizer="l3")


def test_metrics_count_on_from_batch_to_batch(data: Any) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    x, y = data
    w = np.random.default_rng(3).uniform(size=70)
    metrics = ["f1", st.metrics.AUC(from_logits=True, name="roc"), "acc", "top_k_categorical_accuracy"]
    model = compiled(metrics=metrics, weighted_metrics=["acc"])
    history = model.fit(x, y, batch_size=16, epochs=2, validation_data=(x, y, w), sample_weight=w, verbose=0)
    names = ["loss", "f1", "roc", "accuracy", "top_k_categorical_accuracy", "weighted_accuracy"]
    assert list(history) == names + [f"val_{name}" for name in names]
    output = st.softmax(model.predict(x), 1).numpy()
    chosen = output.argmax(1)
    assert history["val_f1"][-1] == pytest.approx(sklearn.f1_score(y, chosen, average="macro"), rel=1e-6)
    auc = sklearn.roc_auc_score(y, output, multi_class="ovr")
    assert history["val_roc"][-1] == pytest.approx(auc, abs=0.02)
    assert history["val_accuracy"][-1] == pytest.approx(sklearn.accuracy_score(y, chosen), rel=1e-6)
    weighted = sklearn.accuracy_score(y, chosen, sample_weight=w)
    assert history["val_weighted_accuracy"][-1] == pytest.approx(weighted, rel=1e-6)


def test_ignored_labels_do_not_count_in_the_accuracy() -> None:
    model = compiled(nn.CrossEntropyLoss(ignore_index=-1), metrics=["accuracy"])
    x = np.eye(4, dtype=np.float32)
    labels = model.predict(x).argmax(1).numpy()
    labels[:2] = -1
    assert model.evaluate(x, labels)["accuracy"] == 1.0


def test_a_trial_takes_what_there_is(data: Any) -> None:
    model = compiled()
    history = model.fit(*data, batch_size=64, fast_dev_run=5, validation_data=data, verbose=0)
    assert list(history) == ["loss", "val_loss"]
    assert model.optimizer._steps[0][0] == 2
    model.fit(*data, batch_size=64, overfit_batches=5, verbose=0)
    assert model.optimizer._steps[0][0] == 4


def test_evaluate_and_predict_show_what_they_do(data: Any, capsys: pytest.CaptureFixture[str]) -> None:
    model = compiled(metrics=["accuracy"])
    results = model.evaluate(*data, verbose=2)
    assert capsys.readouterr() == (f"evaluate  loss {results['loss']:.4g}  accuracy {results['accuracy']:.4g}\n", "")
    model.evaluate(*data, batch_size=32, verbose=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert "evaluate: 100%" in err
    assert "3/3" in err
    assert f"loss {results['loss']:.4g}" in err
    model.predict(data[0], batch_size=32, verbose=1)
    assert "predict: 100%" in capsys.readouterr().err
    model.predict(data[0], verbose="auto")
    model.evaluate(*data)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ValueError, match="verbose=7 must be 0"):
        model.evaluate(*data, verbose=7)
