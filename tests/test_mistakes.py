"""The twelve mistakes that learners make: each is caught where it is made, with a message that says what to do.

They are those of docs/mistakes.md, in its order; ``test_3_…`` is about the third. From the sixth on they are in
test_mistakes_training.py.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from mistaken import LABELS, LOGITS, ONE_HOT, SWAPPED, YES, Net, X, classifier, same, squared, train, warned
from steep import nn


@pytest.fixture(autouse=True)
def seed() -> None:
    st.manual_seed(0)


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
