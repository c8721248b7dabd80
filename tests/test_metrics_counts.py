"""Precision, recall, F1 and the confusion matrix against scikit-learn; what metrics refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

import steep as st
from compare import Array
from metric_batches import assert_close, in_batches, scores, sigmoid, softmax
from steep import metrics

N = 50
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
NAMES = {
    "Precision": reference.precision_score,
    "Recall": reference.recall_score,
    "F1Score": reference.f1_score,
}
RATIOS = pytest.mark.parametrize("name", NAMES)
AVERAGES = pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])


def weights(rng: np.random.Generator, weighted: bool) -> Array | None:
    return rng.uniform(0, 3, N) if weighted else None


# --- ratios -----------------------------------------------------------------------------------------------------------


@RATIOS
@WEIGHTED
@pytest.mark.parametrize("shape", [(N,), (N, 1)])
@pytest.mark.parametrize("threshold", [0.5, 0.2, 1.0])
def test_of_yes_and_no(name: str, shape: Any, threshold: float, weighted: bool, rng: np.random.Generator) -> None:
    x, y, w = rng.standard_normal(shape), rng.integers(0, 2, shape), weights(rng, weighted)
    p = sigmoid(x)
    answers = (p > threshold).reshape(N)
    expected = NAMES[name](y.reshape(N), answers, sample_weight=w, zero_division=0)
    metric = getattr(metrics, name)
    for target in (y, y.astype(np.float32), y.astype(bool), 2 * y - 1):
        assert_close(in_batches(metric(threshold=threshold), p, target, w), expected)
    assert_close(in_batches(metric(threshold=threshold, from_logits=True), x, y, w), expected)
    for average in ("micro", "weighted", None):
        assert_close(in_batches(metric(average, threshold=threshold), p, y, w), expected)
    assert_close(in_batches(metric(num_classes=2, average=None), answers.astype(int), y.reshape(N), w)[1], expected)


@RATIOS
@WEIGHTED
@AVERAGES
@pytest.mark.parametrize("classes", [2, 5])
def test_of_classes(name: str, average: Any, weighted: bool, classes: int, rng: np.random.Generator) -> None:
    x, labels = scores(rng, N, classes + 1)
    x[:, -1] = -9.0  # a class that is neither wanted nor given
    w = weights(rng, weighted)
    present = range(classes) if average else range(classes + 1)
    expected = NAMES[name](labels, x.argmax(1), labels=present, average=average, sample_weight=w, zero_division=0)
    metric = getattr(metrics, name)(average)
    assert_close(in_batches(metric, x, labels, w), expected)
    assert_close(in_batches(metric, x, np.eye(classes + 1)[labels], w), expected)
    metric = getattr(metrics, name)(average, num_classes=classes + 1)
    assert_close(in_batches(metric, x.argmax(1), labels.astype(np.int32), w), expected)
    if average:
        plain = NAMES[name](labels, x.argmax(1), average=average, sample_weight=w, zero_division=0)
        assert_close(expected, plain)


@RATIOS
@WEIGHTED
@AVERAGES
def test_of_several_labels(name: str, average: Any, weighted: bool, rng: np.random.Generator) -> None:
    x, y, w = rng.standard_normal((N, 4)), rng.integers(0, 2, (N, 4)), weights(rng, weighted)
    x[:, 1], y[:, 2] = -1.0, 0  # never given, never wanted
    y[:, 3] = x[:, 3] = 0
    expected = NAMES[name](y, x > 0, average=average, sample_weight=w, zero_division=0)
    metric = getattr(metrics, name)
    assert_close(in_batches(metric(average, from_logits=True, multilabel=True), x, y, w), expected)
    assert_close(in_batches(metric(average, multilabel=True), sigmoid(x), y.astype(float), w), expected)


@RATIOS
def test_of_places_within_samples(name: str, rng: np.random.Generator) -> None:
    x, labels, w = rng.standard_normal((6, 3, 5)), rng.integers(0, 3, (6, 5)), rng.uniform(0, 1, (6, 5))
    flat = labels.ravel(), x.argmax(1).ravel()
    metric = getattr(metrics, name)
    assert_close(metric(None)(x, labels), NAMES[name](*flat, average=None))
    assert_close(metric(None)(x, labels, w), NAMES[name](*flat, average=None, sample_weight=w.ravel()))
    by_sample = np.repeat(w[:, 0], 5)
    assert_close(metric(None)(x, labels, w[:, 0]), NAMES[name](*flat, average=None, sample_weight=by_sample))


@RATIOS
def test_of_nothing(name: str) -> None:
    metric = getattr(metrics, name)()
    assert math.isnan(metric.result())
    assert metric([0.1, 0.2], [0, 0]) == 0.0
    assert metric([1, 0, 0], [1, 0, 0]) == 1.0
    weightless = getattr(metrics, name)("weighted")
    assert weightless([[1.0, 0.0]], [0], [0.0]) == 0.0


# --- the confusion matrix ---------------------------------------------------------------------------------------------


@WEIGHTED
@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
def test_confusion_matrix(normalize: Any, weighted: bool, rng: np.random.Generator) -> None:
    x, labels = scores(rng, N, 4)
    w = weights(rng, weighted)
    expected = reference.confusion_matrix(labels, x.argmax(1), labels=range(4), normalize=normalize, sample_weight=w)
    matrix = metrics.ConfusionMatrix(4, normalize)
    for output in (x, softmax(x), x.argmax(1)):
        assert_close(in_batches(matrix, output, labels, w), expected)
    assert_close(in_batches(matrix, x, np.eye(4)[labels], w), expected)
    assert matrix(x, labels, w).dtype is (st.float64 if weighted or normalize else st.int64)


@WEIGHTED
def test_confusion_matrix_of_yes_and_no(weighted: bool, rng: np.random.Generator) -> None:
    x, y, w = rng.standard_normal(N), rng.integers(0, 2, N), weights(rng, weighted)
    expected = reference.confusion_matrix(y, sigmoid(x) > 0.3, sample_weight=w)
    for target in (y, y.astype(float), y.astype(bool)):
        assert_close(in_batches(metrics.ConfusionMatrix(2, threshold=0.3), sigmoid(x), target, w), expected)
    logits = metrics.ConfusionMatrix(2, threshold=0.3, from_logits=True)
    assert_close(in_batches(logits, x.reshape(N, 1), y.reshape(N, 1), w), expected)


def test_the_result_is_the_callers_own() -> None:
    matrix = metrics.ConfusionMatrix(2)
    matrix([0, 1], [0, 1], [0.5, 0.5]).fill_(7)
    assert matrix.result().tolist() == [[0.5, 0.0], [0.0, 0.5]]


# --- what metrics refuse ----------------------------------------------------------------------------------------------

HOST = pytest.mark.host(reason="values are looked at on the CPU only, except where a result is waited for")
X, LABELS = [[0.1, 0.9, 0.0], [0.5, 0.2, 0.3]], [1, 0]

SHAPES: list[tuple[metrics.Metric, Any, Any, str]] = [
    (metrics.BinaryAccuracy(), [[0.5], [0.5]], [1, 0], r"\(2, 1\), target \(2,\); .*pair every prediction with every"),
    (metrics.MeanSquaredError(), [[0.5], [0.5]], [1.0, 0.0], r"mean_squared_error: output has shape \(2, 1\), target"),
    (metrics.R2Score(), [0.5, 0.5], [[1.0], [0.0]], r"r2_score: output has shape \(2,\), target \(2, 1\)"),
    (metrics.AUC(), [0.5, 0.5], [1, 0, 1], r"auc: output has shape \(2,\), target \(3,\)"),
    (metrics.AUC(multilabel=True), [X], [X], r"auc: output of shape \(1, 2, 3\) must be \(N,\) or \(N, C\)"),
    (metrics.Precision(), [[0.5], [0.5]], [1, 0], r"precision: output has shape \(2, 1\), target \(2,\)"),
    (metrics.CategoricalAccuracy(), X, [[1], [0]], r"target of shape \(2, 1\) .*: reshape them with target\.reshape"),
    (metrics.CategoricalAccuracy(), [0.1, 0.2], X, r"shape \(2,\) has no scores of .*are \(output, target\)"),
    (metrics.CategoricalAccuracy(), [[0.1], [0.2]], LABELS, r"shape \(2, 1\) has no scores of two or more classes"),
    (metrics.SparseCategoricalAccuracy(), X, X, r"labels have shape \(2,\): for one-hot targets use Cat"),
    (metrics.Accuracy(), X, [X], r"one-hot targets \(2, 3\); the arguments are \(output, target\)"),
    (metrics.Accuracy(), X, [1, 0, 1], r"accuracy: target of shape \(3,\) does not fit output of shape \(2, 3\)"),
    (metrics.ConfusionMatrix(4), X, LABELS, r"has 3 classes along axis 1, not num_classes=4"),
]
VALUES: list[tuple[metrics.Metric, Any, Any, str]] = [
    (metrics.CategoricalAccuracy(), X, [1, 3], r"categorical_accuracy: labels range from 1 to 3, but with 3 classes"),
    (metrics.Recall(), X, [-1, 0], "recall: labels range from -1 to 0"),
    (metrics.Recall(num_classes=3), [0, 1], [0, 3], "recall: labels range from 0 to 3"),
    (metrics.BinaryAccuracy(), [0.1, 0.2], [-2, 1], r"binary_accuracy: targets range from -2 to 1, but .* 0 \(or -1\)"),
    (metrics.BinaryAccuracy(), [0.1, 0.2], [math.nan, 1], "targets range from nan to nan"),
    (metrics.Precision(), [-3.0, 2.5], [0, 1], "outputs range from -3 to 2.5, .*for logits pass from_logits=True"),
    (metrics.F1Score(), [2, 0], [1, 0], "f1_score: outputs range from 0 to 2, .* need num_classes="),
    (metrics.AUC(), [[-3.0, 2.5]], [1], "auc: outputs range from -3 to 2.5"),
    (metrics.AUC(num_thresholds=5), [-3.0, 2.5], [0, 1], "auc: outputs range from -3 to 2.5"),
    (metrics.Perplexity(from_logits=False), [[-3.0, 2.5]], [1], "perplexity: outputs range from -3 to 2.5"),
    (metrics.ConfusionMatrix(2), [-3.0, 2.5], [0, 1], "confusion_matrix: outputs range from -3 to 2.5"),
]


@pytest.mark.parametrize(("metric", "output", "target", "message"), SHAPES, ids=lambda v: repr(v)[:30])
def test_shapes_that_do_not_fit(metric: metrics.Metric, output: Any, target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(st.tensor(output), st.tensor(target))


@HOST
@pytest.mark.parametrize(("metric", "output", "target", "message"), VALUES, ids=lambda v: repr(v)[:30])
def test_values_out_of_range(metric: metrics.Metric, output: Any, target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(st.tensor(output), st.tensor(target))
    assert metric.state_dict() == {}


@pytest.mark.parametrize(("output", "target"), [([0, 1], [0, 2]), ([0, -1], [0, 1])])
def test_the_confusion_matrix_always_checks_labels(output: Any, target: Any) -> None:
    with pytest.raises(ValueError, match=r"confusion_matrix: labels range from .* they must lie in 0…1"):
        metrics.ConfusionMatrix(2)(output, target)


@pytest.mark.parametrize("name", ["accuracy", "auc", "f1", "mse", "r2", "categorical_accuracy"])
def test_swapped_arguments(name: str) -> None:
    with pytest.raises(TypeError, match=r"output is int64 and target float32; the arguments are \(output, target\)"):
        metrics.get(name)(st.tensor(LABELS), st.tensor(X))


def test_labels_of_floats() -> None:
    with pytest.raises(TypeError, match="class labels must be integers, not float32"):
        metrics.CategoricalAccuracy()(X, [1.0, 0.0])


@pytest.mark.parametrize("metric", [metrics.Accuracy(), metrics.R2Score(), metrics.AUC(), metrics.ConfusionMatrix(2)])
def test_weights_that_do_not_fit(metric: metrics.Metric) -> None:
    for wrong in ([1.0], [1.0, 2.0, 3.0], [[1.0], [2.0]]):
        with pytest.raises(ValueError, match=r"sample_weight of shape \(.*\) does not fit \(2,\)"):
            metric([0.2, 0.7], [1, 0], wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metrics.Precision("mean"), "precision: average='mean' must be one of 'macro', 'micro'"),
        (lambda: metrics.Accuracy(1.5), "accuracy: threshold=1.5 is a probability"),
        (lambda: metrics.TopKCategoricalAccuracy(0), "k=0 must be a positive integer"),
        (lambda: metrics.AUC("roc"), "auc: curve='roc' must be 'ROC' or 'PR'"),
        (lambda: metrics.AUC(average="micro"), "auc: average='micro' must be 'macro' or None"),
        (lambda: metrics.AUC(num_thresholds=1), "num_thresholds=1 must be an integer of 2 or more"),
        (lambda: metrics.ConfusionMatrix(1), "num_classes=1 must be an integer of 2 or more"),
        (lambda: metrics.ConfusionMatrix(2, "rows"), "normalize='rows' must be one of 'true'"),
        (lambda: metrics.R2Score("none"), "r2_score: multioutput='none' must be one of uniform_average"),
    ],
)
def test_options(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
