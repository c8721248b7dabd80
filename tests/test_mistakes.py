"""The twelve mistakes that learners make: each is caught where it is made, with a message that says what to do.

They are those of docs/mistakes.md, in its order; ``test_3_…`` is about the third.
"""

from __future__ import annotations

import gzip
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn, optim

X = np.random.default_rng(0).normal(size=(60, 2))
LABELS = np.sort(np.arange(60) % 3)
ONE_HOT = np.eye(3)[LABELS]
SWAPPED = r"the arguments are \(input, target\): are they swapped\?"


@pytest.fixture(autouse=True)
def seed() -> None:
    st.manual_seed(0)


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


# --- 1. (N, 1) against (N,) -------------------------------------------------------------------------------------------

PAIRED = [
    "mse_loss",
    "l1_loss",
    "huber_loss",
    "smooth_l1_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
    "poisson_nll_loss",
    "soft_margin_loss",
    "hinge_embedding_loss",
]


@pytest.mark.parametrize("name", PAIRED)
def test_1_a_column_against_a_row(name: str) -> None:
    for output, target in ((st.ones(4, 1), st.ones(4)), (st.ones(4), st.ones(4, 1))):
        with pytest.raises(ValueError, match=rf"{name}: .*input.* \(4,( 1)?\),? .*target.* \(4,( 1)?\)"):
            getattr(st, name)(output, target)
    with pytest.raises(ValueError, match="broadcasting them would pair every prediction with every target, so reshape"):
        st.mse_loss(st.ones(4, 1), st.ones(4))


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "bce_with_logits", nn.MSELoss()])
def test_1_in_fit(loss: Any) -> None:
    with pytest.raises(ValueError, match=r"input has shape \(32, 1\), target \(32,\)"):
        train(classifier(1), loss, y=LABELS % 2)


def squared(output: st.Tensor, target: st.Tensor) -> st.Tensor:
    return ((output - target) ** 2).mean()


def test_1_in_a_loss_of_ones_own() -> None:
    message = (
        r"squared: 'subtract' of Sequential's output \(32, 1\) and targets \(32,\) has the shape \(32, 32\): .*"
        r"Reshape one of them first, for example y to \(32, 1\)"
    )
    with pytest.raises(ValueError, match=message):
        train(classifier(1), squared, y=X[:, 0])
    with pytest.raises(ValueError, match=r"squared: .*Net's output \(32,\) and targets \(32, 1\)"):
        train(Net(lambda x: x.reshape(-1), 1), squared, y=X[:, :1])
    train(classifier(1), squared, y=X[:, :1])
    train(classifier(1), lambda output, target: squared(output[:, 0], target), y=X[:, 0])
    train(classifier(1), lambda output, target: (output - output.mT).square().mean(), y=X[:, 0])  # pairs are wanted


# --- 2. an activation that the loss applies itself, or does not want --------------------------------------------------


def warned(message: str, make: Callable[[], object]) -> None:
    """It warns once, at a line of this file."""
    with pytest.warns(UserWarning, match=message) as record:
        make()
    assert len(record) == 1
    assert record[0].filename == __file__


def test_2_softmax_before_cross_entropy() -> None:
    message = r"Softmax '2' ends the model in softmax, but the loss wants logits and applies softmax itself: .* Leave"
    model = nn.Sequential(*classifier(), nn.Softmax())
    warned(message, lambda: model.compile("adam", "cross_entropy"))
    warned(message, lambda: model.compile("adam", nn.CrossEntropyLoss()))
    nested = nn.Sequential({"top": classifier(activation="softmax"), "off": nn.Dropout(0.5), "flat": nn.Flatten()})
    warned("Linear 'top.1' ends the model in softmax", lambda: nested.compile("adam", "cross_entropy"))
    model.fit(X, LABELS, verbose=0)  # said once


def test_2_sigmoid_before_bce_with_logits() -> None:
    multi_label = classifier(3, activation="sigmoid")
    message = r"Linear '1' ends the model in sigmoid.*applies sigmoid itself.*'binary_crossentropy'"
    warned(message, lambda: multi_label.compile("adam", "bce_with_logits"))


def test_2_the_activation_of_another_loss() -> None:
    model = nn.Sequential(*classifier(), nn.Sigmoid())
    message = "Sigmoid '2' ends .*applies softmax itself.*sigmoid belongs to the loss 'bce_with_logits' for yes/no"
    warned(message, lambda: model.compile("adam", "cross_entropy"))
    message = (
        "Linear '1' ends the model in softmax.*applies sigmoid itself.*softmax belongs to the loss 'cross_entropy'"
    )
    warned(message, lambda: classifier(activation="softmax").compile("adam", "bce_with_logits"))


@pytest.mark.parametrize("loss", ["nll", nn.NLLLoss()])
def test_2_no_log_probabilities_before_nll(loss: Any) -> None:
    message = (
        "'1' ends the model in (softmax|raw scores), but the loss 'nll' wants log-prob.* End the model in log_soft"
    )
    warned(message, lambda: classifier(activation="softmax").compile("adam", loss))
    warned(message, lambda: classifier().compile("adam", loss))
    warned(
        r"Net's output \(Linear 'body.1'\) comes from softmax, but the loss 'nll'",
        lambda: train(Net(st.softmax), loss),
    )


@pytest.mark.parametrize(
    ("model", "loss", "message"),
    [
        (Net(st.softmax), "cross_entropy", r"Net's output \(Linear 'body.1'\) comes from softmax, but .* wants logits"),
        (Net(lambda x: st.softmax(x).reshape(-1, 3)), "cross_entropy", r"\(Linear 'body.1'\) comes from softmax"),
        (nn.Sequential(nn.Identity(), Net(st.softmax)), "cross_entropy", r"Sequential's output \(Linear '1.body.1'\)"),
        (Net(same, activation="sigmoid"), "bce_with_logits", r"Net's output \(Linear 'body.1'\) comes from sigmoid"),
        (
            Net(lambda x: (x, st.softmax(x))),
            ["mse", "cross_entropy"],
            r"Net's output 'output_1' \(Linear 'body.1'\) comes from softmax",
        ),
    ],
)
def test_2_a_model_of_ones_own_at_its_first_batch(model: nn.Module, loss: Any, message: str) -> None:
    targets = {"bce_with_logits": ONE_HOT, "cross_entropy": LABELS}
    y = targets[loss] if isinstance(loss, str) else (ONE_HOT, LABELS)
    model.compile("sgd", loss)
    model.evaluate(X, y)  # keeps no graph, and says nothing
    warned(message, lambda: model.fit(X, y, epochs=2, verbose=0))


def test_2_in_a_loop_of_ones_own() -> None:
    x, labels, hot = st.asarray(X), st.asarray(LABELS), st.asarray(ONE_HOT)
    model = classifier()
    message = "cross_entropy: input is the result of softmax, but cross_entropy wants logits and applies softmax itself"
    warned(message, lambda: st.cross_entropy(st.softmax(model(x)), labels))
    warned(message, lambda: nn.CrossEntropyLoss()(Net(st.softmax)(x), labels))
    message = "binary_cross_entropy_with_logits: input is the result of sigmoid, .* Leave the sigmoid out"
    warned(message, lambda: st.binary_cross_entropy_with_logits(st.sigmoid(model(x)), hot))
    warned(message, lambda: nn.BCEWithLogitsLoss()(classifier(activation="sigmoid")(x), hot))


def test_2_what_is_right_says_nothing() -> None:
    x, labels = st.asarray(X), st.asarray(LABELS)
    st.cross_entropy(st.log_softmax(classifier()(x)), labels)  # a log_softmax of a log_softmax is the same
    st.cross_entropy(classifier()(x), st.softmax(st.asarray(ONE_HOT)))
    train(nn.Sequential(*classifier(), nn.LogSoftmax()), "cross_entropy")
    train(Net(st.log_softmax), "nll")
    train(classifier(3, activation="sigmoid"), "binary_crossentropy", y=ONE_HOT)
    train(Net(same), "cross_entropy", y=ONE_HOT)
    train(nn.Sequential(*classifier(), nn.ReLU()), "cross_entropy")


# --- 3. classes on one output -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "multi_margin_loss"])
def test_3_one_class(name: str) -> None:
    message = rf"{name}: input of shape \(4, 1\) has one class, whose loss is always 0: .*binary_cross_entropy_with_log"
    with pytest.raises(ValueError, match=message):
        getattr(st, name)(st.ones(4, 1), st.zeros(4, dtype="int64"))


@pytest.mark.parametrize("loss", ["cross_entropy", "sparse_categorical_crossentropy", "nll", nn.MultiMarginLoss()])
@pytest.mark.parametrize("behind", [[], [nn.Sigmoid()], [nn.Dropout(0.1), nn.Softmax()]])
def test_3_at_compile(loss: Any, behind: list[nn.Module]) -> None:
    model = nn.Sequential(*classifier(1), *behind)
    with pytest.raises(ValueError, match=r"compile: Linear '1' has one output, .* always 1: .* 'bce_with_logits'"):
        model.compile("adam", loss)


def test_3_at_the_first_batch() -> None:
    with pytest.raises(ValueError, match="Net has one output, and the share of one class among one is always 1"):
        train(Net(same, 1), "cross_entropy")
    with pytest.raises(ValueError, match="Net, in output 'output_1', has one output"):
        train(Net(lambda x: (x, x[:, :1])), ["cross_entropy"] * 2, y=(LABELS, LABELS * 0))


@pytest.mark.parametrize("loss", ["mse", "binary_crossentropy", "bce_with_logits"])
def test_3_the_softmax_of_one_output(loss: str) -> None:
    with pytest.raises(ValueError, match="compile: Softmax '2' is the softmax of one output, which is always 1: use a"):
        nn.Sequential(*classifier(1), nn.Softmax()).compile("adam", loss)
    with pytest.raises(ValueError, match="compile: Linear '1' is the softmax of one output"):
        classifier(1, activation="softmax").compile("adam", loss)


# --- 4. output and target swapped -------------------------------------------------------------------------------------

LOGITS = st.asarray(X.astype("float32"))
YES = st.asarray((X[:, ::-1] > 0).astype("float32"))


@pytest.mark.parametrize(
    ("name", "output", "found"),
    [
        ("binary_cross_entropy", YES, r"targets must lie in \[0, 1\], but they range from -2\.\d+ to 2\.\d+"),
        ("binary_cross_entropy_with_logits", YES, r"targets must lie in \[0, 1\], but they range from -2\.\d+ to"),
        ("cross_entropy", YES, r"target probabilities must lie in \[0, 1\], but they range from"),
        ("kl_div", YES, r"targets are probabilities, but the smallest is -2\.\d+"),
        ("soft_margin_loss", 2 * YES - 1, r"targets must be 1 or -1 .*, but they range from -2\.\d+ to 2\.\d+"),
        ("hinge_embedding_loss", 2 * YES - 1, "targets must be 1 or -1"),
    ],
)
def test_4_values_where_probabilities_are_needed(name: str, output: st.Tensor, found: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: {found}.*{SWAPPED}"):
        getattr(st, name)(output, LOGITS)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "multi_margin_loss", "mse_loss", "poisson_nll_loss"])
def test_4_labels_where_the_output_is_needed(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}: input.* must be floating-point, not int64; {SWAPPED}"):
        getattr(st, name)(st.asarray(LABELS), LOGITS[:, 0])


@pytest.mark.parametrize(
    "name", ["binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "kl_div"]
)
def test_4_probabilities_where_the_gradient_tells(name: str) -> None:
    output = st.softmax(LOGITS.copy().requires_grad_())
    message = f"{name}: target requires a gradient and input, the model's output, does not; {SWAPPED}"
    warned(message, lambda: getattr(st, name)(YES, output))
    getattr(st, name)(output.log() if name == "kl_div" else 1 * output, YES / YES.sum(1, keepdims=True).clip(1))


def test_4_in_fit() -> None:
    with pytest.raises(ValueError, match=rf"with_logits: targets .*range from .*{SWAPPED} The labels .* are 0 and 1"):
        train(classifier(1), "bce_with_logits", y=X[:, :1])

    def keras_order(target: st.Tensor, output: st.Tensor) -> st.Tensor:
        return st.binary_cross_entropy_with_logits(output, target)

    with pytest.raises(ValueError, match=SWAPPED):
        train(classifier(), keras_order, y=ONE_HOT)
    with pytest.raises(ValueError, match=r"Linear '0' \(in_features=2\) got input of shape \(32,\)"):
        train(classifier(), "cross_entropy", x=LABELS, y=X)


# --- 5. labels that are none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 1, 5, 2], ValueError, r"labels range from 0 to 5, but with 3 classes they .* 0…2\. .* output for each: 6"),
        ([1, 2, 3, 1], ValueError, r"labels range from 1 to 3, .* If they count from 1, use target - 1"),
        ([-1, 0, 1, 2], ValueError, r"labels range from -1 to 2, .*ignore_index"),
        ([0.0, 1.0, 2.0, 1.0], TypeError, r"not float32: use target.astype\(steep.int64\) \(they range from 0 to 2\)"),
        ([0.0, 1.5, 2.0, 1.0], TypeError, r"not float32: they range from 0 to 2, and not all are whole.* mse_loss"),
        (
            [[0], [1], [2], [1]],
            ValueError,
            r"the shape \(4,\) \(labels\).*, not \(4, 1\): use target.reshape\(\(4,\)\)",
        ),
    ],
)
def test_5_labels(labels: list[Any], error: type[Exception], message: str) -> None:
    for name, options in (("cross_entropy", {}), ("nll_loss", {}), ("cross_entropy", {"label_smoothing": 0.1})):
        with pytest.raises(error, match=f"{name}: .*{message}"):
            getattr(st, name)(st.zeros(4, 3), st.tensor(labels), **options)
    model = classifier()
    model.compile("sgd", "cross_entropy")
    for work in (model.fit, model.evaluate):
        with pytest.raises(error, match=message):
            work(X[:4], np.array(labels))


def test_5_other_places_where_labels_are_taken() -> None:
    with pytest.raises(ValueError, match="one_hot: labels range from 1 to 3, but with 3 classes they must lie in 0…2"):
        st.one_hot(st.tensor([1, 2, 3]), 3)
    with pytest.raises(IndexError, match="embedding: indices range from 1 to 3, but with 3 rows"):
        nn.Embedding(3, 2)(st.tensor([1, 3]))
    with pytest.raises(
        ValueError, match=r"targets .*range from 1 to 2; .* yes/no questions are 0 and 1; .* for cross_"
    ):
        train(classifier(1), "bce_with_logits", y=LABELS[:, None] % 2 + 1)


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


def test_right_programs_say_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = nn.Sequential(nn.Normalization().adapt(X), classifier())
        train(model, "cross_entropy", epochs=3, validation_split=0.2)
        model.evaluate(X, LABELS)


def test_the_document_quotes_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Every comment behind a print, or that begins a line, is printed, but for what its … stand for."""
    text = (Path(__file__).parents[1] / "docs/mistakes.md").read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    exec(compile(blocks, "mistakes.md", "exec"), {"__name__": "document"})
    printed = capsys.readouterr().out.splitlines()
    quoted = re.findall(r"^(?: *print\(.*\)  )?# (.+)$", blocks, re.MULTILINE)
    assert len(quoted) == len(printed)
    for quote, line in zip(quoted, printed, strict=True):
        assert re.fullmatch(".*".join(re.escape(part) for part in quote.split("…")), line), line
