"""The mistakes of docs/mistakes.md from the sixth on, those of training and of data; see test_mistakes.py."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from mistaken import LABELS, LOGITS, YES, Net, X, classifier, same, squared, train, warned
from steep import nn, optim


@pytest.fixture(autouse=True)
def seed() -> None:
    st.manual_seed(0)


# --- 6. the loop of one's own -----------------------------------------------------------------------------------------


def loop(optimizer: optim.Optimizer, model: nn.Module, before: Callable[[int], object], passes: int = 1) -> None:
    for step in range(12):
        before(step)
        for _ in range(passes):
            st.mse_loss(model(LOGITS), YES).backward()
        optimizer.step()


def by_hand(model: nn.Module) -> None:
    for p in model.parameters():
        p.grad = None


def in_place(model: nn.Module) -> None:
    for p in model.parameters():
        if p.grad is not None:
            p.grad.fill_(0)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
@pytest.mark.parametrize("passes", [1, 3])
def test_6_zero_grad_forgotten(make: Any, passes: int) -> None:
    model = classifier(2)
    message = r"step\(\): backward has added to the gradients that the step before had used, .*zero_grad\(\) before"
    warned(message, lambda: loop(make(model.parameters()), model, lambda step: None, passes))


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("forget", ["zero_grad", by_hand, in_place])
def test_6_gradients_that_are_accumulated_on_purpose(forget: Any, passes: int) -> None:
    model = classifier(2)
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    loop(optimizer, model, lambda step: optimizer.zero_grad() if forget == "zero_grad" else forget(model), passes)


def test_6_gradients_that_are_set_on_purpose() -> None:
    w = nn.Parameter([1.0, 2.0])
    optimizer = optim.SGD([w], lr=0.1)
    w.grad = st.zeros(2)
    for _ in range(6):  # one tensor is filled anew for every step
        (g,) = st.grad((w * w).sum(), w)
        w.grad.copy_(g)
        optimizer.step()
    for _ in range(3):  # several steps along one gradient
        optimizer.step()
    w.requires_grad = False  # a gradient of another origin
    optimizer = optim.SGD([w], lr=0.1)
    for _ in range(3):
        optimizer.step()
    w.requires_grad = True
    mine, other = optim.SGD([w], lr=0.1), optim.SGD([w], lr=0.2)
    for _ in range(4):  # turns of two optimizers
        for one in (mine, other):
            one.zero_grad()
            (w * w).sum().backward()
            one.step()


def test_6_in_a_train_step_of_ones_own() -> None:
    class Forgetful(Net):
        def train_step(self, batch: Any) -> dict[str, Any]:
            loss = self.compute_loss(self(batch[0]), batch[1])
            loss.backward()
            self.optimizer.step()
            return {"loss": loss}

    with pytest.warns(UserWarning, match=r"SGD.step\(\): backward has added"):
        train(Forgetful(same), "cross_entropy", batch_size=10)


def test_6_parameters_that_are_not_the_models() -> None:
    with pytest.raises(ValueError, match=r"SGD got no parameters: does the model register any\? See model.named_param"):
        optim.SGD([])
    model = classifier()
    st.cross_entropy(model(X), st.asarray(LABELS)).backward()
    optimizer = optim.SGD(classifier().parameters())
    warned("no parameter has a gradient.* the optimizer holds the parameters of another model", optimizer.step)
    model.compile(optimizer, "cross_entropy")
    message = r"the optimizer's parameters are not those of Sequential .*create it from model.parameters\(\)"
    with pytest.raises(RuntimeError, match=message):
        model.fit(X, LABELS)


def test_6_backward_twice() -> None:
    loss = squared(classifier(2)(LOGITS), YES)
    loss.backward()
    with pytest.raises(RuntimeError, match=r"backward a second time through '\w+', .* retain_graph=True .* or compute"):
        loss.backward()


def test_6_a_weight_changed_while_the_tape_needs_it() -> None:
    model = classifier(2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loss = squared(model(LOGITS), YES)
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="backward through 'linear' needs a tensor that has been changed in place"):
        loss.backward()
    with pytest.raises(RuntimeError, match=r"add_ would change a leaf .* use 'with steep.no_grad\(\):'"):
        model[0].weight.add_(1)


# --- 7. float64 data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [np.asarray, st.asarray, np.ndarray.tolist])
def test_7_float64_is_cast_at_the_boundary(make: Callable[[Any], Any]) -> None:
    model = classifier(1)
    x, y = make(X), make(X[:, :1])
    output = model(x)
    assert output.dtype is st.float32
    assert st.mse_loss(output, y).dtype is st.float32
    assert model.predict(x).dtype is st.float32
    assert np.isfinite(train(model, "mse", x=x, y=y)["loss"]).all()
    np.testing.assert_array_equal(output.numpy(), classifier_like(model)(X.astype("float32")).numpy())


def classifier_like(model: nn.Module) -> nn.Module:
    """The model before it was trained."""
    st.manual_seed(0)
    return classifier(1)


def test_7_a_model_in_float64_stays_so() -> None:
    model = classifier(1).to("float64")
    assert model(X.astype("float32")).dtype is st.float64
    assert model.predict(X).dtype is st.float64


# --- 8. a split of sorted labels --------------------------------------------------------------------------------------


def test_8_validation_split_of_sorted_labels() -> None:
    seen: list[Any] = []

    def looked_at(output: st.Tensor, target: st.Tensor) -> float:
        seen.append((st.autograd.is_grad_enabled(), len(target), np.bincount(target.numpy(), minlength=3).tolist()))
        return 0.0

    model = classifier()
    model.compile("sgd", "cross_entropy", metrics=[looked_at])
    model.fit(X, LABELS, validation_split=0.2, batch_size=60, verbose=0)
    assert [counts for _, _, counts in seen] == [[16, 16, 16], [4, 4, 4]]


def test_8_other_splits() -> None:
    train_part, held_out = st.data.random_split(LABELS, (0.8, 0.2), stratify=LABELS)
    assert [np.bincount([int(part[i]) for i in range(len(part))]).tolist() for part in (train_part, held_out)] == [
        [16, 16, 16],
        [4, 4, 4],
    ]


# --- 9. a sum of losses that keeps every graph ------------------------------------------------------------------------


@pytest.mark.host(reason="the allocator of the CPU")
def test_9_a_sum_of_losses() -> None:
    model = classifier()

    def held(as_number: bool) -> int:
        """Bytes in use after 20 batches, beyond those before."""
        before = st.memory_stats()["in_use"]
        total: Any = 0.0
        for _ in range(20):
            loss = st.cross_entropy(model(LOGITS), st.asarray(LABELS))
            total += float(loss) if as_number else loss
        del loss
        assert total == pytest.approx(20 * 1.1, rel=0.3)
        return st.memory_stats()["in_use"] - before

    assert held(True) == 0
    assert held(False) >= 20 * 60 * 4 * 4  # the hidden layer's output, for every batch


# --- 10. NaN and inf --------------------------------------------------------------------------------------------------


def test_10_the_layer_the_operation_and_the_batch() -> None:
    x = X.copy()
    x[21] = np.nan
    with st.autograd.detect_anomaly(), pytest.raises(st.autograd.AnomalyError) as raised:
        train(classifier(), "cross_entropy", x=x, batch_size=10, shuffle=False)
    assert "'linear' of shape (10, 4) holds NaN" in str(raised.value)
    assert "in layer '0' (fit: epoch 1, batch 3)" in str(raised.value)
    with st.autograd.detect_anomaly(), pytest.raises(st.autograd.AnomalyError, match=r"'log' .*inf.* in layer 'Net'"):
        Net(lambda x: st.log(st.relu(-x * x)))(LOGITS)


def test_10_fit_says_when_the_loss_is_lost() -> None:
    x = X.copy()
    x[40] = np.inf
    message = r"loss became nan in epoch 1, batch 2 \(x holds NaN or inf there; learning rate 0.01\): check the data"
    with pytest.warns(RuntimeWarning, match=message):
        train(classifier(), "cross_entropy", x=np.where(np.isinf(x), np.nan, x), shuffle=False)


# --- 11. test data by its own statistics ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [nn.Normalization, nn.MinMaxScaling])
def test_11_the_statistics_are_those_of_the_training_data(make: Any) -> None:
    model = nn.Sequential({"scale": make(), "out": nn.Linear(2, 3)})
    with pytest.raises(RuntimeError, match=r"'scale' has not seen data yet: call its adapt\(x_train\) before training"):
        train(model, "cross_entropy")
    model.scale.adapt(X)
    before = {name: value.numpy().copy() for name, value in model.scale.state_dict().items()}
    train(model, "cross_entropy")
    model.evaluate(X + 5, LABELS)
    model.predict(X + 5)
    for name, value in model.scale.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    model.scale.adapt(X)  # the same again changes nothing
    message = r"'scale'.adapt: the layer has already scaled data.* Adapt it once, to the training data"
    model(X)
    warned(message, lambda: model.scale.adapt(X + 5))


def test_11_adapting_before_use_is_free() -> None:
    layer = nn.Normalization().adapt(X)
    layer.adapt(X + 5)
    np.testing.assert_allclose(layer.mean.numpy(), X.mean(0) + 5, rtol=1e-5)


# --- 12. MNIST without a network --------------------------------------------------------------------------------------


def test_12_what_there_is_instead(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no data set 'mnist'; there are .*digits, iris.* load_mnist\(folder\) reads"):
        st.data.load("mnist")
    with pytest.raises(FileNotFoundError) as raised:
        st.data.load_mnist(tmp_path)
    for part in (str(tmp_path), "t10k-labels-idx1-ubyte", "SHA-256", "read_idx", "load_digits28()", "load('digits')"):
        assert part in str(raised.value)


def test_12_local_files_and_checksums(tmp_path: Path) -> None:
    for part, n in (("train", 5), ("t10k", 2)):
        images = struct.pack(">4B3I", 0, 0, 8, 3, n, 28, 28) + bytes(n * 784)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, n) + bytes(range(n)))
    (x_train, y_train), (x_test, y_test) = st.data.load_mnist(tmp_path)
    assert (x_train.shape, x_test.shape) == ((5, 28, 28), (2, 28, 28))
    assert (y_train.tolist(), y_test.tolist()) == ([0, 1, 2, 3, 4], [0, 1])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz is not the expected file: its SHA-256 is"):
        st.data.load_mnist(tmp_path, verify=True)


def test_12_digits_in_the_same_form() -> None:
    pytest.importorskip("sklearn")
    (x_train, y_train), (x_test, _) = st.data.load_digits28()
    assert x_train.shape[1:] == x_test.shape[1:] == (28, 28)
    assert set(y_train.tolist()) == set(range(10))
