"""What somebody new to steep gets wrong: the error names the argument, and says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import nn, optim

X = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
Y = X.sum(1, keepdims=True)
LOGITS, LABELS = st.ones((2, 3)), st.tensor([0, 1])
NET = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def trained_by(loss: Callable[..., Any]) -> nn.Linear:
    model = nn.Linear(3, 1)
    model.compile("sgd", loss)
    return model


def squares(output: Any, target: Any) -> float:
    return float(((output - target) ** 2).mean())


def without(layer: nn.Module) -> nn.Module:
    layer.weight = None
    return layer


MISTAKES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: st.cross_entropy(LOGITS, LABELS, label_smoothing="x"),
        TypeError,
        "cross_entropy: label_smoothing must be a number, not 'x'",
    ),
    (
        lambda: nn.CrossEntropyLoss(label_smoothing=2)(LOGITS, LABELS),
        ValueError,
        "label_smoothing=2 is a share: it must be between 0 and 1",
    ),
    (
        lambda: st.cross_entropy(LOGITS, LABELS, ignore_index="a"),
        TypeError,
        "cross_entropy: ignore_index must be a label, an integer, or None, not 'a'",
    ),
    (
        lambda: st.cross_entropy(LOGITS, LABELS, ignore_index=1.0),
        TypeError,
        "ignore_index must be a label, an integer, or None, not 1.0",
    ),
    (
        lambda: st.nll_loss(LOGITS, LABELS, ignore_index=[1]),
        TypeError,
        r"nll_loss: ignore_index must be a label, .* not \[1\]",
    ),
    (
        lambda: st.cross_entropy(LOGITS, LABELS, weight="balanced"),
        TypeError,
        "cross_entropy: weight must be 3 numbers, one for each class, not 'balanced'",
    ),
    (lambda: st.nll_loss(LOGITS, LABELS, weight={0: 1.0}), TypeError, "nll_loss: weight must be 3 numbers"),
    (lambda: st.huber_loss(X, X, delta="a"), TypeError, "huber_loss: delta must be a number, not 'a'"),
    (
        lambda: nn.utils.clip_grad_norm_(NET, 1.0),
        TypeError,
        r"clip_grad_norm_: expected .*, not the model",
    ),
    (
        lambda: nn.utils.clip_grad_value_(NET, 1.0),
        TypeError,
        r"clip_grad_value_: expected .*, not the model",
    ),
    (
        lambda: nn.utils.clip_grad_norm_(NET.parameters, 1.0),
        TypeError,
        r"call the model's method: model.parameters\(\)",
    ),
    (lambda: optim.Adam(NET.parameters, 0.1), TypeError, r"Adam: call the model's method: model.parameters\(\)"),
    (lambda: without(nn.Linear(3, 4))(X), TypeError, "Linear: weight is None, .* assign a steep.nn.Parameter"),
    (lambda: without(nn.Embedding(3, 4))(LABELS), TypeError, "Embedding: weight is None"),
    (lambda: without(nn.Bilinear(3, 3, 1))(X, X), TypeError, "Bilinear: weight is None"),
    (lambda: nn.Dropout("0.5"), TypeError, "Dropout: p must be a number, not '0.5'"),
    (lambda: nn.Dropout(50), ValueError, "Dropout: p=50 is a probability: it must be between 0 and 1"),
    (lambda: st.metrics.Precision(threshold="a"), TypeError, "precision: threshold must be a number"),
    (lambda: st.metrics.F1Score(num_classes="a"), ValueError, "f1_score: num_classes='a' must be an integer of 2 or"),
    (lambda: trained_by(squares).fit(X, Y, verbose=0), TypeError, "loss squares returned .*, which has no gradient"),
    (lambda: trained_by(lambda o, t: None).evaluate(X, Y), TypeError, "returned None.* must return the Tensor"),
    (lambda: trained_by(squares).minimize(1.0), TypeError, "minimize: the loss must be a Tensor, .* not 1.0"),
    (
        lambda: trained_by(squares).fit(X, Y, validation_split="a", verbose=0),
        TypeError,
        "validation_split must be a number, not 'a'",
    ),
    (lambda: st.data.DataLoader(X, Y), TypeError, r"one dataset, DataLoader\(\(x, y\), batch_size=32\)"),
    (lambda: st.save("a.st", st.ones(3)), TypeError, r"path must be a path.* \(state, path\): are they swapped\?"),
    (lambda: st.load(3), TypeError, "steep.load: path must be a path, a str or a pathlib.Path, not 3"),
    (lambda: st.callbacks.ModelCheckpoint(3), TypeError, "ModelCheckpoint: filepath must be a path"),
    (lambda: st.callbacks.CSVLogger(3), TypeError, "CSVLogger: filename must be a path"),
    (lambda: st.callbacks.TensorBoard(3), TypeError, "TensorBoard: log_dir must be a path"),
    (lambda: st.callbacks.BackupAndRestore(3), TypeError, "BackupAndRestore: backup_dir must be a path"),
    (lambda: st.random.uniform(0, 1, (3,)), TypeError, r"high must be a number, .* are \(shape, low, high\)"),
    (lambda: st.random.normal(0, 1, (3,)), TypeError, r"std must be a number, .* are \(shape, mean, std\)"),
    (
        lambda: st.value_and_grad(lambda x: x.sum())(X),
        TypeError,
        "argument 0 must be a Tensor, .*: see argnums",
    ),
    (lambda: NET.compile("mse", "adam"), ValueError, r"no loss 'adam'.* \(optimizer, loss\): are they swapped\?"),
    (lambda: NET.compile("mse"), ValueError, r"no optimizer 'mse'.* \(optimizer, loss\): are they swapped\?"),
    (lambda: trained_by(squares).predict(None), TypeError, "x is None: it must be an array or a tensor"),
    (lambda: st.data.random_split((X, Y), 0.8), TypeError, r"lengths must be a number for each part.* not 0.8"),
    (lambda: st.data.random_split((X, Y), "a"), TypeError, r"lengths must be a number for each part.* not \['a'\]"),
    (lambda: st.concat(st.ones(3), st.ones(3)), TypeError, r"the tensors are in a list, concat\(\[a, b\]\)"),
    (lambda: st.stack(st.ones(3), st.ones(3)), TypeError, r"the tensors are in a list, stack\(\[a, b\]\)"),
    (lambda: nn.HuberLoss(delta="a"), TypeError, "HuberLoss: delta must be a number, not 'a'"),
    (lambda: nn.LeakyReLU("a"), TypeError, "LeakyReLU: negative_slope must be a number, not 'a'"),
    (lambda: NET["a"], TypeError, "Sequential: a place is an integer, not 'a'"),
    (lambda: st.random.bernoulli((3,), "a"), TypeError, "random.bernoulli: p must be a number, not 'a'"),
    (lambda: st.vector_norm(st.ones(3), ord="fro"), TypeError, "vector_norm: ord must be a number, not 'fro'"),
    (lambda: st.var(st.ones(3), correction="a"), TypeError, "var: correction must be a number, not 'a'"),
    (lambda: st.eye("a"), ValueError, "eye: n_rows='a' must be an integer of 0 or more"),
    (lambda: st.eye(2, -1), ValueError, "eye: n_cols=-1 must be an integer of 0 or more"),
    (lambda: st.set_num_threads("a"), TypeError, "set_num_threads: n must be an integer, not 'a'"),
]


@pytest.mark.parametrize(("call", "error", "message"), MISTAKES, ids=[row[2][:40] for row in MISTAKES])
def test_the_argument_and_the_remedy_are_named(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as found:
        call()
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 350


def test_a_loss_that_is_a_number_can_be_measured() -> None:
    model = trained_by(squares)
    expected = np.mean((X.astype(np.float64) @ model.weight.numpy().T.astype(np.float64) + model.bias.numpy() - Y) ** 2)
    assert model.evaluate(X, Y)["loss"] == pytest.approx(expected, rel=1e-5)


def test_labels_to_be_ignored_may_be_any_kind_of_integer() -> None:
    expected = -np.log(np.exp(1) / (np.exp(1) + np.exp(2)))
    for ignored in (1, np.int64(1), st.tensor(1)):
        loss = st.cross_entropy(st.tensor([[1.0, 2.0], [5.0, 1.0]]), st.tensor([0, 1]), ignore_index=ignored)
        assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_paths_of_all_kinds(tmp_path: Path) -> None:
    for path in (tmp_path / "a.st", str(tmp_path / "b.st")):
        st.save({"x": st.ones(2)}, path)
        assert st.load(path)["x"].tolist() == [1.0, 1.0]
