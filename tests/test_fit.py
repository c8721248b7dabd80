"""compile, fit, evaluate, predict: what they compute, what they show, and what they refuse."""

import math
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn, optim
from steep.callbacks import ProgressBar, ProgressLines
from steep.callbacks.progress_bar import progress
from steep.train.batches import Form, as_data, split


@pytest.fixture(autouse=True)
def seed() -> None:
    st.manual_seed(0)


def blobs(n: int = 150, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Points around the corners of a polygon, sorted by class."""
    rng = np.random.default_rng(0)
    y = np.sort(np.arange(n) % classes)
    angle = 2 * np.pi * y / classes
    return np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(scale=0.15, size=(n, 2)), y


def classifier(outputs: int = 3, **layer: Any) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 16, activation="tanh"), nn.Linear(16, outputs, **layer))


def compiled(
    outputs: int = 3, loss: Any = "cross_entropy", metrics: Any = ("accuracy",), lr: float = 0.02
) -> nn.Module:
    model = classifier(outputs)
    model.compile(optim.Adam(model.parameters(), lr=lr), loss, metrics)
    return model


# --- what fit computes ------------------------------------------------------------------------------------------------


def test_fit_learns_and_reports() -> None:
    x, y = blobs()
    model = compiled()
    history = model.fit(x, y, epochs=30, verbose=0, validation_split=0.2)
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.epoch == list(range(30))
    assert all(len(values) == 30 for values in history.values())
    assert history["loss"][-1] < 0.2 < history["loss"][0]
    assert history["val_accuracy"][-1] == 1
    assert history.history["val_acc"] is history["val_accuracy"]
    with pytest.raises(KeyError, match="'f1' is not in the history, which has loss, accuracy, val_loss, val_accuracy"):
        history["f1"]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_fit_is_the_documented_loop_bit_for_bit(shuffle: bool, optimizer: str) -> None:
    x, y = blobs()
    fitted = nn.Sequential(nn.Linear(2, 8, activation="relu"), nn.Dropout(0.3), nn.Linear(8, 3))
    model = nn.Sequential(nn.Linear(2, 8, activation="relu"), nn.Dropout(0.3), nn.Linear(8, 3))
    model.load_state_dict(fitted.state_dict())
    fitted.compile(optimizer, "cross_entropy", metrics=["acc"])
    st.manual_seed(5)
    history = fitted.fit(x, y, batch_size=32, epochs=3, shuffle=shuffle, verbose=0, validation_data=(x, y))

    step = {"sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW}[optimizer](model.parameters())
    x, y = st.tensor(x, dtype=st.float32), st.tensor(y)
    st.manual_seed(5)
    losses, accuracies, validation = [], [], []
    for _ in range(3):
        order = st.random.permutation(len(x)) if shuffle else st.arange(len(x))
        total = right = 0.0
        for start in range(0, len(x), 32):
            rows = order[start : start + 32]
            step.zero_grad()
            output = model(st.take(x, rows, 0))
            loss = st.cross_entropy(output, st.take(y, rows, 0))
            loss.backward()
            step.step()
            total += float(loss) * len(rows)
            right += float((output.argmax(1) == y[rows]).sum())
        losses.append(total / len(x))
        accuracies.append(right / len(x))
        with st.no_grad():
            validation.append(float(st.cross_entropy(model.eval()(x), y)))
        model.train()
    assert history["loss"] == losses
    assert history["accuracy"] == pytest.approx(accuracies)
    assert history["val_loss"] == pytest.approx(validation)
    assert all((value == model.state_dict()[name]).all() for name, value in fitted.state_dict().items())


def test_repeated_fit_continues() -> None:
    x, y = blobs()
    runs = []
    for parts in ([4], [1, 3]):
        st.manual_seed(1)
        model = compiled()
        histories = [model.fit(x, y, epochs=n, verbose=0, validation_split=0.25) for n in parts]
        runs.append([value for history in histories for value in history["loss"]])
    assert runs[0] == runs[1]
    assert histories[-1].epoch == [1, 2, 3]
    model.compile("adam", "cross_entropy")
    assert model.fit(x, y, verbose=0).epoch == [0]


def test_tail_batches_count_by_their_size() -> None:
    x, y = blobs(33)
    model = compiled()
    results = model.evaluate(x, y, batch_size=32)
    whole = model.evaluate(x, y, batch_size=33)
    assert results == pytest.approx(whole, rel=1e-6)
    with st.no_grad():
        expected = float(st.cross_entropy(model(x), st.tensor(y)))
    assert results["loss"] == pytest.approx(expected, rel=1e-6)


def test_modes_are_restored_and_validation_drops_nothing() -> None:
    x, y = blobs()
    modes = []

    class Spy(nn.Module):
        def forward(self, x: st.Tensor) -> st.Tensor:
            modes.append((self.training, st.is_grad_enabled()))
            return x

    model = nn.Sequential(nn.Linear(2, 3), Spy(), nn.Dropout(0.5))
    model[2].eval()
    model.compile("adam", "cross_entropy")
    model.fit(x, y, batch_size=150, verbose=0, validation_data=(x, y))
    assert modes == [(True, True), (False, False)]
    modes.clear()
    model.evaluate(x, y, batch_size=150)
    model.predict(x, batch_size=150)
    assert modes == [(False, False)] * 2
    assert [m.training for m in model] == [True, True, False]
    assert st.is_grad_enabled()


def test_data_of_every_form_gives_the_same() -> None:
    x, y = blobs()
    x = x.astype(np.float32)
    losses = set()
    for inputs, labels in (
        (x, y),
        (x.astype(np.float64), y.astype(np.uint8)),
        (x.tolist(), y.tolist()),
        (st.tensor(x), st.tensor(y)),
        (np.asfortranarray(x), y.astype(np.int32)),
        (x[::-1][::-1], y),
        (st.tensor(x, requires_grad=True), np.eye(3)[y]),
    ):
        st.manual_seed(2)
        model = compiled()
        losses.add(round(model.fit(inputs, labels, epochs=2, verbose=0)["loss"][-1], 5))
    assert len(losses) == 1


def test_float64_models_train_in_float64() -> None:
    x, y = blobs()
    model = classifier().to(st.float64)
    model.compile("adam", "cross_entropy")
    model.fit(x, y, verbose=0)
    assert model.predict(x).dtype is st.float64


def test_regression() -> None:
    x = np.linspace(-1, 1, 100)[:, None]
    model = nn.Linear(1, 1)
    model.compile(optim.SGD(model.parameters(), lr=0.3), "mse", metrics=["mae", "mse"])
    history = model.fit(x, 3 * x - 1, epochs=30, verbose=0, validation_split=0.1)
    assert list(history) == ["loss", "mae", "mse", "val_loss", "val_mae", "val_mse"]
    assert history["loss"] == history["mse"]
    assert history["val_mae"][-1] < 0.01
    assert model.weight.item() == pytest.approx(3, abs=0.01)
    integers = nn.Linear(1, 1)
    integers.compile("sgd", "huber")
    integers.fit([[1], [2]], [[3], [5]], verbose=0)


@pytest.mark.parametrize("optimizer", ["Adam", optim.SGD, lambda params: optim.SGD(params, lr=0.5)])
def test_optimizers_by_name_class_and_function(optimizer: Any) -> None:
    model = classifier()
    model.compile(optimizer, "cross_entropy")
    model.fit(*blobs(), verbose=0)
    assert isinstance(model.optimizer, optim.Optimizer)


# --- accuracy ---------------------------------------------------------------------------------------------------------


class Given(nn.Module):
    """Outputs its inputs."""

    def forward(self, x: st.Tensor) -> st.Tensor:
        return x


@pytest.mark.parametrize(
    ("loss", "output", "target", "accuracy"),
    [
        ("cross_entropy", [[0.0, 2.0], [3.0, 1.0], [0.0, 1.0]], [1, 0, 0], 2 / 3),
        ("sparse_categorical_crossentropy", [[0.0, 2.0], [3.0, 1.0]], [1, 1], 1 / 2),
        ("categorical_crossentropy", [[0.0, 2.0], [3.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]], 1),
        ("cross_entropy", [[[0.0, 5.0], [1.0, 2.0]]], [[1, 0]], 1),  # (1, 2 classes, 2 places)
        ("binary_crossentropy", [[0.2], [0.7], [0.4]], [[0], [1], [1]], 2 / 3),
        ("bce_with_logits", [[0.2], [-0.7], [0.4]], [[1], [0], [0]], 2 / 3),
        ("bce_with_logits", [[0.2, -1.0], [-0.7, 1.0]], [[1, 1], [0, 1]], 3 / 4),
        ("mse", [[0.2, 0.7], [0.9, 0.4]], [[0.0, 1.0], [0.0, 1.0]], 1 / 2),
        (nn.CrossEntropyLoss(), [[0.0, 2.0], [3.0, 1.0]], [1, 1], 1 / 2),
        (nn.BCEWithLogitsLoss(), [[0.2], [-0.2]], [[1.0], [1.0]], 1 / 2),
        (st.binary_cross_entropy_with_logits, [[0.2], [-0.2]], [[1.0], [1.0]], 1 / 2),
        (lambda z, t: st.cross_entropy(z, t), [[0.0, 2.0], [3.0, 1.0]], [1, 1], 1 / 2),
    ],
)
def test_accuracy_fits_the_loss(loss: Any, output: Any, target: Any, accuracy: float) -> None:
    model = Given()
    model.compile(lambda _: optim.SGD([st.ones(1, requires_grad=True)]), loss, "accuracy")
    assert model.evaluate(output, target)["accuracy"] == pytest.approx(accuracy)


def test_metric_functions() -> None:
    def largest(output: st.Tensor, target: st.Tensor) -> st.Tensor:
        assert not st.is_grad_enabled()
        return output.max()

    model = compiled(metrics=["acc", largest, nn.CrossEntropyLoss()])
    history = model.fit(*blobs(), verbose=0)
    assert list(history) == ["loss", "accuracy", "largest", "CrossEntropyLoss"]


# --- validation split -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["labels", "column", "one_hot", "floats"])
def test_split_is_stratified_and_shuffled(form: str) -> None:
    counts = {0: 50, 1: 30, 2: 20} if form in ("labels", "one_hot") else {0: 70, 1: 30}
    y: Any = np.repeat(list(counts), list(counts.values()))
    labels = y
    y = {"labels": y, "column": y[:, None], "one_hot": np.eye(3)[y], "floats": y.astype(float)}[form]
    data = as_data(np.arange(100)[:, None], y, None, Form(st.float32, "unknown"))
    train, validation = split(data, 0.2)
    rows = validation[0].numpy()[:, 0]
    assert {c: int((labels[rows] == c).sum()) for c in counts} == {c: n // 5 for c, n in counts.items()}
    assert sorted([*rows, *train[0].numpy()[:, 0]]) == list(range(100))
    assert len(set(np.diff(rows))) > 3  # not every fifth
    assert (split(data, 0.2)[1][0] == validation[0]).all()


def test_split_of_values_is_shuffled() -> None:
    y = np.linspace(0, 1, 1000)
    (_, train), (_, validation) = split(as_data(y[:, None], y, None, Form(st.float64, "regression")), 0.3)
    assert (len(train), len(validation)) == (700, 300)
    assert float(validation.mean()) == pytest.approx(0.5, abs=0.05)
    for fraction in (0.0001, 0.9999):
        with pytest.raises(ValueError, match=f"validation_split={fraction} of 1000 samples leaves one part empty"):
            split(as_data(y, y, None, Form(st.float64, "regression")), fraction)
    for fraction in (-0.5, 1.0):
        with pytest.raises(ValueError, match="it must be between 0 and 1"):
            split(as_data(y, y, None, Form(st.float64, "regression")), fraction)


def test_split_leaves_the_random_stream_alone() -> None:
    before = st.random.get_state()
    split(as_data(np.ones((10, 1)), np.arange(10), None, Form(st.float32, "categorical")), 0.5)
    assert st.random.get_state() == before


# --- predict ----------------------------------------------------------------------------------------------------------


def test_predict_is_the_forward_pass() -> None:
    x, _ = blobs(100)
    model = classifier()
    with st.no_grad():
        expected = model(x)
    for batch_size in (1, 32, 100, 1000, np.int64(7)):
        output = model.predict(x, batch_size)
        assert isinstance(output, st.Tensor)
        assert not output.requires_grad
        np.testing.assert_allclose(output.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert model.predict(x[:1].tolist()).shape == (1, 3)
    pair = type("Pair", (nn.Module,), {"forward": lambda self, x: (x, x)})()
    first, second = pair.predict(x)
    np.testing.assert_array_equal(first.numpy(), x.astype(np.float32))
    np.testing.assert_array_equal(second.numpy(), x.astype(np.float32))
    words = type("Words", (nn.Module,), {"forward": lambda self, x: ["a"]})()
    with pytest.raises(TypeError, match="predict: Words returned a str, not a Tensor"):
        words.predict(x)


# --- low level inside high level --------------------------------------------------------------------------------------


def test_own_train_step_needs_no_compile() -> None:
    class Trainer(nn.Module):
        def __init__(self) -> None:
            self.net = classifier()
            self.steps = optim.SGD(self.net.parameters(), lr=0.5)

        def train_step(self, batch: Any) -> dict[str, Any]:
            x, y = batch
            self.steps.zero_grad()
            loss = st.cross_entropy(self.net(x), y)
            loss.backward()
            self.steps.step()
            return {"loss": loss, "size": len(x)}

        def validation_step(self, batch: Any) -> dict[str, Any]:
            return {"error": (self.net(batch[0]).argmax(1) != batch[1]).mean()}

    x, y = blobs()
    trainer = Trainer()
    history = trainer.fit(x, y, epochs=30, verbose=0, validation_data=(x, y))
    assert list(history) == ["loss", "size", "val_error"]
    assert history["val_error"][-1] < 0.02
    assert history["size"][0] == pytest.approx((4 * 32 * 32 + 22 * 22) / 150)
    assert trainer.evaluate(x, y) == {"error": history["val_error"][-1]}


def test_a_fitted_model_goes_on_in_a_loop_and_back() -> None:
    x, y = blobs()
    model = compiled()
    model.fit(x, y, epochs=5, verbose=0)
    before = model.evaluate(x, y)["loss"]
    for _ in range(20):
        model.optimizer.zero_grad()
        st.cross_entropy(model(x), y).backward()
        model.optimizer.step()
    middle = model.evaluate(x, y)["loss"]
    model.fit(x, y, epochs=5, verbose=0)
    assert model.evaluate(x, y)["loss"] < middle < before


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = blobs()
    model = compiled()
    model.fit(x, y, verbose=0, validation_data=(x, y))
    model.evaluate(x, y)
    model.predict(x)
    assert capsys.readouterr() == ("", "")
    model.fit(x, y, epochs=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 2/3", "epoch 3/3"]
    assert "  running mean:  loss 0." in lines[0]
    assert "  accuracy " in lines[0]
    model.fit(x, y, epochs=2, verbose=1, validation_data=(x, y))
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 5/5 100%|" in err
    assert "val_accuracy" in err.splitlines()[-1]
    assert err.count("\r") < 10
    model.fit(x, y)
    assert capsys.readouterr().out.startswith("epoch 6/6  running mean:  loss")
    with pytest.raises(ValueError, match=r"verbose='loud' must be 0 \(silent\), 1 \(bar\)"):
        model.fit(x, y, verbose="loud")


def test_auto_is_a_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [type(callback) for callback in progress("auto")] == [ProgressLines]
    assert progress(False) == []
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert [type(callback) for callback in progress("auto")] == [ProgressBar]


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_warns_once() -> None:
    x, y = blobs()
    model = compiled(lr=0.5)
    x[40] = np.nan
    message = r"loss became nan in epoch 1, batch 2 \(x holds NaN or inf there; learning rate 0.5\)"
    with pytest.warns(RuntimeWarning, match=message) as record:
        history = model.fit(x, y, epochs=2, verbose=0, shuffle=False)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert math.isnan(history["loss"][0])
    values = nn.Linear(1, 1)
    values.compile(optim.SGD(values.parameters(), lr=1e10), "mse")
    with pytest.warns(RuntimeWarning, match=r"loss became inf .*x is finite there.*lower the learning rate"):
        values.fit(np.ones((100, 1)), np.ones((100, 1)), epochs=3, verbose=0)


def test_fit_before_compile_raises() -> None:
    x, y = blobs()
    with pytest.raises(RuntimeError, match=r"fit: call Sequential.compile\(optimizer, loss\) first"):
        classifier().fit(x, y)
    with pytest.raises(RuntimeError, match=r"evaluate: call Sequential.compile\(optimizer, loss\) first"):
        classifier().evaluate(x, y)
    model = classifier()
    model.compile("adam")
    with pytest.raises(RuntimeError, match="Sequential has no loss"):
        model.fit(x, y)


def test_bad_data_raises() -> None:
    x, y = blobs()
    model = compiled()
    for inputs, targets, error, message in (
        (x, y[:-1], ValueError, r"x has 150 samples and y has 149 \(shapes \(150, 2\) and \(149,\)\)"),
        (x[:0], y[:0], ValueError, r"x of shape \(0, 2\) has no samples"),
        (1.0, y, ValueError, "x is a single number"),
        (x, np.array(["a", "b", "c"])[y], TypeError, "y holds <U1 values, not numbers: encode them first"),
        (x, y + 1, ValueError, "3"),
        (x, y.astype(float), TypeError, "labels must be integers, not float32"),
        (x[:, :1], y, ValueError, r"Linear '0' \(in_features=2\) got input of shape \(32, 1\)"),
    ):
        with pytest.raises(error, match=message):
            model.fit(inputs, targets, verbose=0)
    for arguments, message in (
        ({"batch_size": 0}, "batch_size=0 must be a positive integer"),
        ({"epochs": 2.5}, "epochs=2.5 must be a positive integer"),
        ({"validation_data": x}, r"validation_data must be a pair \(x, y\)"),
        ({"validation_split": 0.1, "validation_data": (x, y)}, "not both"),
        ({"validation_split": 1.5}, "between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(x, y, verbose=0, **arguments)
    assert model.fit(x, y, verbose=0).epoch == [0]


def test_bad_compile_raises() -> None:
    model = classifier()
    for arguments, error, message in (
        (("adamm", "mse"), ValueError, "there is no optimizer 'adamm'; there are sgd, adam, adamw"),
        ((3, "mse"), TypeError, "the optimizer must be a name, an Optimizer or a function, not 3"),
        ((list, "mse"), TypeError, "made a list, not an Optimizer"),
        (("adam", "crossentropy"), ValueError, "there is no loss 'crossentropy'; there are cross_entropy, "),
        (("adam", nn.MSELoss), TypeError, r"the loss must be .* write MSELoss\(\)"),
        (("adam", 3), TypeError, "the loss must be a name"),
        (("adam", "mse", ["f7"]), ValueError, "there is no metric"),
        (("adam", "mse", [3]), TypeError, "a metric must be a name, a Metric or a function"),
    ):
        with pytest.raises(error, match=message):
            model.compile(*arguments)


def test_an_optimizer_of_other_parameters_raises() -> None:
    x, y = blobs()
    message = r"the optimizer's parameters are not those of Sequential .*create it from model.parameters\(\)"
    model = classifier()
    model.compile(optim.Adam(classifier().parameters()), "cross_entropy")
    with pytest.raises(RuntimeError, match=message):
        model.fit(x, y)
    model.compile("adam", "cross_entropy")
    model.append(nn.Linear(3, 3))
    with pytest.raises(RuntimeError, match=message):
        model.fit(x, y)
    model.compile(optim.Adam(model[2].parameters()), "cross_entropy")
    model.fit(x, y, verbose=0)


def test_means_of_all_kinds_of_numbers() -> None:
    from steep.train.means import Means

    means = Means(waits=False)
    means.add({"loss": 0.5, "hits": st.tensor(3), "share": st.tensor([[0.25]], dtype=st.float16)}, 2)
    means.add({"loss": np.float64(2.0), "hits": 4, "share": True}, 6)
    assert means.result() == {"loss": (0.5 * 2 + 2 * 6) / 8, "hits": (3 * 2 + 4 * 6) / 8, "share": (0.5 + 6) / 8}
    before = dict(means.totals)
    with pytest.raises(TypeError, match=r"'loss' of a batch is .* a 1-element tensor or a Metric"):
        means.add({"loss": st.zeros(2), "hits": 1.0}, 1)
    assert means.totals == before
    means.add({"loss": math.nan, "hits": 1.0}, 1)
    assert means.lost is not None
    assert means.lost[0] == 4
