"""Areas under curves against scikit-learn."""

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

N = 60
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
CURVES = {"ROC": reference.roc_auc_score, "PR": reference.average_precision_score}
CURVE = pytest.mark.parametrize("curve", CURVES)


def weights(rng: np.random.Generator, weighted: bool) -> Array | None:
    return rng.uniform(0, 3, N) if weighted else None


def answers(rng: np.random.Generator, shape: Any) -> tuple[Array, Array]:
    """Logits with many ties, and targets that have something to do with them."""
    y = rng.integers(0, 2, shape)
    return np.round(rng.standard_normal(shape) + y, 1), y


@CURVE
@WEIGHTED
@pytest.mark.parametrize("shape", [(N,), (N, 1)])
@pytest.mark.parametrize("narrow", ["float16", "bfloat16", "float32", "float64"])
def test_exact(curve: str, shape: Any, weighted: bool, narrow: str, rng: np.random.Generator) -> None:
    x, y = answers(rng, shape)
    w = weights(rng, weighted)
    rounded = np.asarray(st.tensor(x).astype(getattr(st, narrow)).astype(st.float64)).reshape(N)
    expected = CURVES[curve](y.reshape(N), rounded, sample_weight=w)
    for target in (y, y.astype(float), y.astype(bool)):
        assert_close(in_batches(metrics.AUC(curve), x, target, w, narrow), expected)
    assert_close(in_batches(metrics.AUC(curve, from_logits=True), x, y, w, narrow), expected)


@CURVE
@WEIGHTED
def test_of_several_labels(curve: str, weighted: bool, rng: np.random.Generator) -> None:
    x, y = answers(rng, (N, 3))
    w = weights(rng, weighted)
    for average in ("macro", None):
        expected = CURVES[curve](y, x, average=average, sample_weight=w)
        assert_close(in_batches(metrics.AUC(curve, multilabel=True, average=average), x, y, w), expected)


@CURVE
@WEIGHTED
@pytest.mark.parametrize("classes", [2, 4])
def test_of_classes(curve: str, weighted: bool, classes: int, rng: np.random.Generator) -> None:
    x, _ = scores(rng, N, classes)
    labels = rng.integers(0, classes, N)
    w, p, one_hot = weights(rng, weighted), softmax(x), np.eye(classes)[labels]
    each = CURVES[curve](one_hot, p, average=None, sample_weight=w)
    assert_close(in_batches(metrics.AUC(curve), p, labels, w), each.mean())
    assert_close(in_batches(metrics.AUC(curve), p, one_hot, w), each.mean())
    assert_close(in_batches(metrics.AUC(curve, average=None), p, labels, w), each)
    assert_close(in_batches(metrics.AUC(curve, from_logits=True), x, labels, w), each.mean())
    assert_close(in_batches(metrics.AUC(curve, from_logits=True), np.log(p), labels, w), each.mean())
    if curve == "ROC" and classes > 2:
        expected = reference.roc_auc_score(labels, p, multi_class="ovr", labels=range(classes), sample_weight=w)
        assert_close(each.mean(), expected)


@CURVE
@WEIGHTED
@pytest.mark.parametrize("steps", [2, 7, 100])
def test_by_thresholds(curve: str, weighted: bool, steps: int, rng: np.random.Generator) -> None:
    """The area is the exact one of the probabilities rounded down."""
    x, y = answers(rng, (N, 3))
    w, p = weights(rng, weighted), sigmoid(x)
    p[:3], y[:3] = [[0.0], [1.0], [1.0]], [[1], [0], [1]]
    steps_of = np.minimum(np.floor(p * steps), steps - 1)
    each = np.array([CURVES[curve](y[:, i], steps_of[:, i], sample_weight=w) for i in range(3)])
    metric = metrics.AUC(curve, num_thresholds=steps, multilabel=True, average=None)
    assert_close(in_batches(metric, p, y, w), each)
    one = metrics.AUC(curve, num_thresholds=steps)
    assert_close(in_batches(one, p[:, 0], y[:, 0], w), each[0])
    logits = np.array([math.inf if v == 1 else -math.inf if v == 0 else math.log(v / (1 - v)) for v in p[:, 0]])
    near = metrics.AUC(curve, num_thresholds=1000, from_logits=True)
    assert in_batches(near, logits, y[:, 0], w) == pytest.approx(
        CURVES[curve](y[:, 0], p[:, 0], sample_weight=w), abs=1e-2
    )


def test_classes_by_thresholds(rng: np.random.Generator) -> None:
    x, labels = scores(rng, N, 4)
    p = softmax(x)
    steps_of = np.floor(p * 50)
    for curve, expected in CURVES.items():
        present = range(3) if curve == "ROC" else range(4)  # the last class does not occur: its PR area is 0
        each = [expected(labels == i, steps_of[:, i]) if i < 3 else 0.0 for i in present]
        metric = metrics.AUC(curve, num_thresholds=50, from_logits=True)
        assert_close(in_batches(metric, x, labels), np.mean(each))


def test_memory_is_flat_by_thresholds(rng: np.random.Generator) -> None:
    metric = metrics.AUC(num_thresholds=10)
    for _ in range(3):
        metric.update_state(rng.uniform(0, 1, 1000), rng.integers(0, 2, 1000))
    state = metric.state_dict()
    assert sum(value.size for value in state.values() if isinstance(value, st.Tensor)) <= 21  # two numbers a step


@pytest.mark.parametrize("steps", [None, 10])
def test_one_class_and_nan(steps: Any) -> None:
    def of(curve: str, output: Any, target: Any) -> Any:
        return metrics.AUC(curve, num_thresholds=steps)(output, target)

    assert math.isnan(of("ROC", [0.2, 0.7], [1, 1]))
    assert math.isnan(of("ROC", [0.2, 0.7], [0, 0]))
    assert of("PR", [0.2, 0.7], [0, 0]) == 0.0
    assert of("PR", [0.2, 0.7], [1, 1]) == 1.0
    assert of("ROC", [0.5, 0.5, 0.5], [1, 0, 1]) == 0.5
    for curve in CURVES:
        assert math.isnan(of(curve, [0.2, math.nan, 0.7], [1, 0, 1]))
    each = metrics.AUC(num_thresholds=steps, average=None)
    areas = each([[0.2, 0.7, 0.1], [0.6, 0.2, 0.2], [0.9, 0.05, 0.05]], [1, 0, 0])
    assert areas.dtype is st.float64
    np.testing.assert_array_equal(areas.numpy(), [1.0, 1.0, math.nan])


def test_what_is_kept_is_the_metrics_own() -> None:
    x, y = st.tensor([0.1, 0.9]), st.tensor([0.0, 1.0])
    metric = metrics.AUC()
    metric.update_state(x, y)
    x.fill_(0.0)
    assert metric.result() == 1.0
