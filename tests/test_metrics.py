"""Metrics that are means, R², and what all metrics do, against scikit-learn and NumPy in float64."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

import steep as st
from compare import Array
from metric_batches import assert_close, assert_equal, in_batches, scores, sigmoid, softmax
from steep import metrics

N = 50
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
NARROW = pytest.mark.parametrize("narrow", ["float16", "bfloat16", "float32", "float64"])


def weights(rng: np.random.Generator, weighted: bool) -> Array | None:
    return rng.uniform(0, 3, N) if weighted else None


# --- accuracies -------------------------------------------------------------------------------------------------------


@WEIGHTED
@NARROW
@pytest.mark.parametrize("metric", ["Accuracy", "CategoricalAccuracy", "SparseCategoricalAccuracy"])
def test_accuracy_of_classes(metric: str, weighted: bool, narrow: str, rng: np.random.Generator) -> None:
    x, labels = scores(rng, N, 4)
    x = np.round(x, 1)  # ties, in every dtype the same: the first of equal scores is the answer
    w = weights(rng, weighted)
    rounded = np.asarray(st.tensor(x).astype(getattr(st, narrow)).astype(st.float64))
    expected = reference.accuracy_score(labels, rounded.argmax(1), sample_weight=w)
    assert_close(in_batches(getattr(metrics, metric)(), x, labels, w, narrow), expected)
    if metric != "SparseCategoricalAccuracy":
        assert_close(in_batches(getattr(metrics, metric)(), x, np.eye(4)[labels], w, narrow), expected)


@WEIGHTED
@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 3)])
@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.0, 1.0])
@pytest.mark.parametrize("integers", [False, True])
def test_accuracy_of_yes_and_no(
    shape: Any, threshold: float, integers: bool, weighted: bool, rng: np.random.Generator
) -> None:
    x, y, w = rng.standard_normal(shape), rng.integers(0, 2, shape), weights(rng, weighted)
    p, t = sigmoid(x), y if integers else y.astype(float)
    each = (p > threshold) == y
    expected = np.average(each.reshape(N, -1).mean(1), weights=w)
    assert_close(in_batches(metrics.BinaryAccuracy(threshold), p, t, w), expected)
    assert_close(in_batches(metrics.BinaryAccuracy(threshold, from_logits=True), x, t, w), expected)
    if shape != (N, 3):
        assert_close(in_batches(metrics.Accuracy(threshold), p, t, w), expected)
        assert_close(in_batches(metrics.Accuracy(threshold, from_logits=True), x, t, w), expected)


def test_accuracy_of_places_within_samples(rng: np.random.Generator) -> None:
    x, labels = rng.standard_normal((6, 3, 4, 5)), rng.integers(0, 3, (6, 4, 5))
    right = x.argmax(1) == labels
    assert_close(metrics.CategoricalAccuracy()(x, labels), right.mean())
    by_sample, by_place = rng.uniform(0, 1, 6), rng.uniform(0, 1, (6, 4, 5))
    assert_close(metrics.CategoricalAccuracy()(x, labels, by_sample), np.average(right.mean((1, 2)), weights=by_sample))
    assert_close(metrics.CategoricalAccuracy()(x, labels, by_place), np.average(right, weights=by_place))
    top = np.argsort(-x, axis=1)[:, :2]
    assert_close(metrics.TopKCategoricalAccuracy(2)(x, labels), (top == labels[:, None]).any(1).mean())


def test_accuracy_of_predicted_labels() -> None:
    assert metrics.Accuracy()([3, 1, 7], [3, 1, 2]) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match=r"output has shape \(2,\), target \(2, 1\)"):
        metrics.Accuracy()([3, 1], [[3], [1]])


@WEIGHTED
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_top_k(k: int, weighted: bool, rng: np.random.Generator) -> None:
    x, labels = scores(rng, N, 5)
    w = weights(rng, weighted)
    expected = reference.top_k_accuracy_score(labels, x, k=k, labels=range(5), sample_weight=w)
    assert_close(in_batches(metrics.TopKCategoricalAccuracy(k), x, labels, w), expected)
    assert_close(in_batches(metrics.TopKCategoricalAccuracy(k), x, np.eye(5)[labels], w), expected)
    assert metrics.TopKCategoricalAccuracy()(x, labels) == 1.0


def test_top_k_of_ties_and_nan() -> None:
    top = metrics.TopKCategoricalAccuracy(2)
    assert top([[1.0, 2.0, 1.0, 1.0]], [3]) == 1.0  # one class scores higher
    top.reset_state()
    assert top([[2.0, 2.0, 1.0, 1.0]], [3]) == 0.0
    top.reset_state()
    assert top([[0.0, 1.0, math.nan], [0.0, 1.0, math.nan]], [0, 1]) == 0.5  # NaN is above every score
    top.reset_state()
    assert top([[0.0, 1.0, math.nan]], [2]) == 0.0


@WEIGHTED
@pytest.mark.parametrize("metric", ["CategoricalAccuracy", "SparseCategoricalAccuracy", "TopKCategoricalAccuracy"])
def test_ignored_labels(metric: str, weighted: bool, rng: np.random.Generator) -> None:
    x, labels = scores(rng, N, 4)
    w = weights(rng, weighted)
    kept = labels != 1
    top = 2 if metric.startswith("Top") else 1
    expected = reference.top_k_accuracy_score(
        labels[kept], x[kept], k=top, labels=range(4), sample_weight=None if w is None else w[kept]
    )
    options = {"k": top} if top > 1 else {}
    ignoring = getattr(metrics, metric)(ignore_index=-100, **options)
    x[~kept] = math.nan
    assert_close(in_batches(ignoring, x, np.where(kept, labels, -100), w), expected)
    assert math.isnan(ignoring(x[:2], [-100, -100]))


def test_nan_is_no_answer() -> None:
    assert metrics.BinaryAccuracy()([math.nan, math.nan], [0, 1]) == 0.5
    assert metrics.CategoricalAccuracy()([[2.0, math.nan, 1.0]], [1]) == 1.0
    assert math.isnan(metrics.MeanSquaredError()([math.nan, 1.0], [0.0, 1.0]))


# --- regression -------------------------------------------------------------------------------------------------------

ERRORS = {
    "MeanSquaredError": reference.mean_squared_error,
    "MeanAbsoluteError": reference.mean_absolute_error,
    "RootMeanSquaredError": lambda t, x, **o: np.sqrt(reference.mean_squared_error(t, x, **o)),
    "R2Score": reference.r2_score,
}


@WEIGHTED
@NARROW
@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 3)])
@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str, shape: Any, weighted: bool, narrow: str, rng: np.random.Generator) -> None:
    t = 300 * rng.standard_normal(shape)  # whose squares are too large for float16
    x = np.asarray(st.tensor(t + 30 * rng.standard_normal(shape)).astype(getattr(st, narrow)).astype(st.float64))
    w = weights(rng, weighted)
    assert_close(in_batches(getattr(metrics, name)(), x, t, w, narrow), ERRORS[name](t, x, sample_weight=w), rtol=1e-11)


@WEIGHTED
@pytest.mark.parametrize("multioutput", ["uniform_average", "variance_weighted", "raw_values"])
def test_r2_of_several_outputs(multioutput: str, weighted: bool, rng: np.random.Generator) -> None:
    t = rng.standard_normal((N, 4)) * [1, 10, 0, 0] + [0, 5, 0.1, 0.1]  # the last two never change
    x = t + rng.standard_normal((N, 4)) * [0.3, 2, 0, 0.1]
    w = weights(rng, weighted)
    # As the mean of many 0.1 is rounded, scikit-learn may see variance in them: the reference is on exact numbers.
    expected = reference.r2_score(t - [0, 0, 0.1, 0.1], x - [0, 0, 0.1, 0.1], sample_weight=w, multioutput=multioutput)
    assert_close(in_batches(metrics.R2Score(multioutput), x, t, w), expected, rtol=1e-11)


def test_r2_far_from_zero(rng: np.random.Generator) -> None:
    t = rng.integers(0, 1000, N) / 8
    x = t + rng.integers(0, 50, N) / 8
    expected = reference.r2_score(t, x)
    assert_close(in_batches(metrics.R2Score(), x + 2.0**40, t + 2.0**40), expected)


def test_r2_of_few_samples_and_constant_targets() -> None:
    r2 = metrics.R2Score()
    assert math.isnan(r2([1.0], [2.0]))
    assert r2([2.0], [2.0]) == 0.0
    assert metrics.R2Score()([0.1] * 3, [0.1] * 3) == 1.0
    assert metrics.R2Score("variance_weighted")([[1.0, 2.0]] * 2, [[1.0, 3.0]] * 2) == 0.5
    weighted = metrics.R2Score()
    weighted.update_state([5.0, 7.0], [1.0, 9.0], [0.0, 0.0])
    assert_close(weighted([1.0, 2.0, 4.0], [1.0, 2.0, 3.0]), 0.5)


@WEIGHTED
def test_cosine_similarity(weighted: bool, rng: np.random.Generator) -> None:
    x, t, w = rng.standard_normal((N, 3)), rng.standard_normal((N, 3)), weights(rng, weighted)
    each = (x * t).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(t, axis=1)
    assert_close(in_batches(metrics.CosineSimilarity(), x, t, w), np.average(each, weights=w))
    with pytest.raises(ValueError, match="axis -1 of shape \\(3,\\) counts the samples"):
        metrics.CosineSimilarity()(x[0], t[0])


# --- means ------------------------------------------------------------------------------------------------------------


@WEIGHTED
def test_perplexity(weighted: bool, rng: np.random.Generator) -> None:
    x, labels = scores(rng, N, 6)
    w = weights(rng, weighted)
    p = softmax(x)
    expected = np.exp(reference.log_loss(labels, p, labels=range(6), sample_weight=w))
    assert_close(in_batches(metrics.Perplexity(), x, labels, w), expected)
    assert_close(in_batches(metrics.Perplexity(), np.log(p), np.eye(6)[labels], w), expected)
    assert_close(in_batches(metrics.Perplexity(from_logits=False), p, labels, w), expected)
    kept = labels != 2
    expected = np.exp(
        reference.log_loss(labels[kept], p[kept], labels=range(6), sample_weight=None if w is None else w[kept])
    )
    ignored = np.where(kept, labels, -100)
    x[~kept, 0] = math.inf
    assert_close(in_batches(metrics.Perplexity(ignore_index=-100), x, ignored, w), expected)


def test_perplexity_without_bound() -> None:
    assert metrics.Perplexity()([[0.0, 1e4]], [0]) == math.inf
    assert math.isnan(metrics.Perplexity()([[0.0, math.nan]], [0]))


def test_mean(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((N, 2)), rng.uniform(0, 1, N)
    mean = metrics.Mean("loss")
    assert mean(3) == 3.0
    mean.reset_state()
    assert_close(mean(x), x.mean())
    mean.reset_state()
    assert_close(mean(x, w), np.average(x.mean(1), weights=w))
    mean.update_state(st.tensor(2.0, requires_grad=True) * 2, 1e9)
    assert mean.result() == pytest.approx(4.0)
    mean.reset_state()
    for _ in range(3):
        mean.update_state(np.full(1000, 60000, np.float16))  # whose sum float16 does not hold
    assert mean.result() == 60000


@WEIGHTED
def test_mean_of_a_function(weighted: bool, rng: np.random.Generator) -> None:
    x, t, w = rng.standard_normal((N, 3)), rng.standard_normal((N, 3)), weights(rng, weighted)
    each = metrics.MeanOf(lambda output, target: ((output - target) ** 2).sum(1), "squares")
    assert_close(in_batches(each, x, t, w), np.average(((x - t) ** 2).sum(1), weights=w))
    mean = metrics.MeanOf(st.mse_loss)
    assert mean.name == "mse_loss"
    if weighted:
        with pytest.raises(ValueError, match="mse_loss: the function returned one mean"):
            mean(st.tensor(x), st.tensor(t), w)
    else:
        assert_close(in_batches(mean, x, t), ((x - t) ** 2).mean())
        outputs = metrics.MeanOf(lambda output, target: float(output["a"].sum() - target["a"].sum()), "sums")
        outputs.update_state({"a": st.ones(3)}, {"a": st.zeros(3)})
        assert outputs({"a": st.ones(1)}, {"a": st.zeros(1)}) == 2.5
    with pytest.raises(TypeError, match="nothing: the function returned None, neither a tensor nor a number"):
        metrics.MeanOf(lambda output, target: None, "nothing")(st.ones(1), st.ones(1))


# --- all metrics ------------------------------------------------------------------------------------------------------

MULTICLASS = [
    *(metrics.Accuracy(), metrics.CategoricalAccuracy(), metrics.TopKCategoricalAccuracy(2), metrics.Perplexity()),
    *(metrics.Precision(), metrics.Recall(None), metrics.F1Score("weighted"), metrics.AUC(from_logits=True)),
    *(metrics.AUC("PR", from_logits=True, num_thresholds=20), metrics.ConfusionMatrix(3)),
]
NUMBERS = [
    *(metrics.MeanSquaredError(), metrics.RootMeanSquaredError(), metrics.MeanAbsoluteError()),
    *(metrics.R2Score(), metrics.R2Score("raw_values"), metrics.CosineSimilarity(), metrics.MeanOf(st.l1_loss)),
]


@pytest.mark.parametrize("metric", [*MULTICLASS, *NUMBERS], ids=repr)
def test_state(metric: metrics.Metric, rng: np.random.Generator) -> None:
    """No samples give NaN; outputs keep no graph; a resumed metric goes on to the same bits; a state is a copy."""
    x = [st.tensor(rng.standard_normal((4, 3)), requires_grad=True) * 1.0 for _ in range(3)]
    if metric in MULTICLASS:
        t = [st.tensor(rng.integers(0, 3, 4)) for _ in range(3)]
    else:
        t = [st.tensor(rng.standard_normal((4, 3))) for _ in range(3)]
    metric.reset_state()
    nothing = metric.result()
    if isinstance(metric, metrics.ConfusionMatrix):
        assert nothing.tolist() == [[0] * 3] * 3
    else:
        assert math.isnan(nothing)
    metric.update_state(x[0][:0], t[0][:0])
    np.testing.assert_array_equal(np.asarray(metric.result()), np.asarray(nothing))
    metric.reset_state()

    metric.update_state(x[0], t[0])
    metric.update_state(x[1], t[1])
    state = metric.state_dict()
    kept = {key: np.array(np.asarray(value)) for key, value in state.items()}
    expected = metric(x[2], t[2])
    assert not getattr(expected, "requires_grad", False)
    assert all(isinstance(value, int | float | st.Tensor) for value in state.values())
    assert_equal(state, kept)
    metric.reset_state()
    metric.load_state_dict(state)
    assert np.array_equal(np.asarray(metric(x[2], t[2])), np.asarray(expected))
    assert_equal(state, kept)
    metric.reset_state()
    metric.load_state_dict(kept)  # NumPy's arrays and scalars do as well
    for copied in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert_close(copied(x[2], t[2]), expected)
    assert_close(metric(x[2], t[2]), expected)
    metric.reset_state()


@pytest.mark.host(reason="the way of CUDA tensors is gone with the CPU's; on CUDA the other tests go it")
@WEIGHTED
@pytest.mark.parametrize("metric", [*MULTICLASS, *NUMBERS], ids=repr)
def test_totals_that_stay_on_a_device(
    metric: metrics.Metric, weighted: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where waiting for a number is avoided the result is the same."""
    x, w = rng.standard_normal((N, 3)), weights(rng, weighted)
    t = rng.integers(0, 3, N) if metric in MULTICLASS else rng.standard_normal((N, 3))
    if isinstance(metric, metrics.MeanOf):
        w = None
    expected = in_batches(metric, x, t, w)
    for module in (metrics.metric, metrics.checks, metrics.regression):
        monkeypatch.setattr(module, "cpu", None)
    assert_close(in_batches(metric, x, t, w), expected)
    metric.update_state(st.tensor(x), st.tensor(t), w)
    kept = [value for value in metric.state_dict().values() if not isinstance(value, st.Tensor)]
    assert all(isinstance(value, int) or (value == N and not weighted) for value in kept)  # counts of samples
    metric.reset_state()


def test_load_what_is_no_state() -> None:
    mean = metrics.Mean()
    mean.update_state(3.0)
    for wrong, message in [
        ([1], "takes a dict"),
        ({"sum": "many"}, "sum='many' in the state"),
        ({"a[]": 1}, "a\\[\\]"),
    ]:
        with pytest.raises(TypeError, match=message):
            mean.load_state_dict(wrong)  # type: ignore[arg-type]
    assert mean.result() == 3.0


def test_totals_of_other_shapes() -> None:
    recall = metrics.Recall()
    recall.update_state(st.ones((2, 3)), st.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"recall: this batch has hits of shape \(4,\), .* \(3,\): call reset_state"):
        recall.update_state(st.ones((2, 4)), st.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"hits of shape \(\), the batches before had \(3,\)"):
        recall.update_state(st.ones(2), st.tensor([0, 1]))
    recall.reset_state()
    recall.update_state(st.ones(2), st.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"hits of shape \(3,\), the batches before had \(\)"):
        recall.update_state(st.ones((2, 3)), st.tensor([0, 1]))
    assert recall.result() == 1.0
    r2 = metrics.R2Score()
    r2.update_state(st.ones((2, 3)), st.ones((2, 3)))
    with pytest.raises(ValueError, match="r2_score: this batch has 4 outputs, the batches before had 3"):
        r2.update_state(st.ones((2, 4)), st.ones((2, 4)))
    auc = metrics.AUC(multilabel=True)
    auc.update_state(st.ones((2, 3)), st.ones((2, 3)))
    with pytest.raises(ValueError, match="auc: this batch has 4 columns, the batches before had 3"):
        auc.update_state(st.ones((2, 4)), st.ones((2, 4)))


def test_repr_and_names() -> None:
    assert repr(metrics.TopKCategoricalAccuracy(3, name="top3")) == "TopKCategoricalAccuracy(k=3, name='top3')"
    assert repr(metrics.AUC("PR", num_thresholds=9)) == "AUC(curve='PR', num_thresholds=9)"
    names = [metric.name for metric in (metrics.TopKCategoricalAccuracy(), metrics.F1Score(), metrics.AUC())]
    assert names == ["top_k_categorical_accuracy", "f1_score", "auc"]


# --- by name ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("acc", "categorical", "CategoricalAccuracy(name='accuracy')"),
        ("accuracy", "binary", "BinaryAccuracy(name='accuracy')"),
        ("accuracy", "unknown", "Accuracy()"),
        ("accuracy", "regression", "Accuracy()"),
        ("binary_accuracy", "binary_logits", "BinaryAccuracy(from_logits=True)"),
        ("binary_accuracy", "unknown", "BinaryAccuracy()"),
        ("sparse_categorical_accuracy", "unknown", "SparseCategoricalAccuracy()"),
        ("precision", "binary_logits", "Precision(from_logits=True, multilabel=True)"),
        ("recall", "categorical", "Recall()"),
        ("f1", "binary", "F1Score(multilabel=True, name='f1')"),
        ("auc", "scores", "AUC(from_logits=True)"),
        ("auc", "binary", "AUC(multilabel=True)"),
        ("rmse", "regression", "RootMeanSquaredError(name='rmse')"),
        ("mean_squared_error", "regression", "MeanSquaredError()"),
    ],
)
def test_get(name: str, kind: str, expected: str) -> None:
    assert repr(metrics.get(name, kind)) == expected


def test_get_all_names_and_other_things() -> None:
    for name in metrics.lookup.METRICS:
        assert metrics.get(name).name == ("accuracy" if name == "acc" else name)
    metric = metrics.AUC()
    assert metrics.get(metric) is metric
    assert metrics.get("mae", name="error").name == "error"
    assert (
        repr(metrics.get("acc", "scores", ignore_index=-1)) == "CategoricalAccuracy(ignore_index=-1, name='accuracy')"
    )
    assert repr(metrics.get("auc", ignore_index=-1)) == "AUC()"
    assert isinstance(metrics.get(st.mse_loss), metrics.MeanOf)
    with pytest.raises(ValueError, match=r"there is no metric 'acuracy'; there are accuracy, acc, .*perplexity"):
        metrics.get("acuracy")
    with pytest.raises(ValueError, match="there is no kind 'logits'; there are categorical"):
        metrics.get("auc", "logits")
    with pytest.raises(TypeError, match=r"not <class .*: write AUC\(\)"):
        metrics.get(metrics.AUC)
    with pytest.raises(TypeError, match="a metric must be a name, a Metric or a function"):
        metrics.get(3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32"])
def test_accuracy_of_a_batch_is_that_of_the_metric(dtype: str, rng: np.random.Generator) -> None:
    from steep.train.objectives import ACCURACIES

    values = rng.integers(-3, 3, (37, 5)).astype("f8")  # with ties
    if dtype != "int32":
        values[4, 2] = values[5] = values[6:10, 1] = values[6:10, 3] = np.nan
    labels = rng.integers(0, 5, 37)
    labels[4:10] = [2, 0, 0, 1, 3, 4]
    output, target = st.tensor(values, dtype=getattr(st, dtype)), st.tensor(labels)
    expected = pytest.approx(metrics.SparseCategoricalAccuracy()(output, target), rel=1e-6)
    assert float(ACCURACIES["categorical"](output, target)) == expected
    assert float(ACCURACIES["categorical"](output, target.astype(st.int32))) == expected
    assert float(ACCURACIES["categorical"](output.T.contiguous().T, target)) == expected
    if output.device == "cpu":  # on CUDA a look at the labels would wait
        with pytest.raises(ValueError, match="5"):
            ACCURACIES["categorical"](output, target + 1)


def test_the_best_k_of_no_scores() -> None:
    with pytest.raises(ValueError, match="no scores of two or more classes"):
        metrics.TopKCategoricalAccuracy()(st.zeros(4), st.zeros(4))
