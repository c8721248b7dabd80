"""Metrics by name, made for what the loss expects of the model's output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import accuracy, auc, counts, means, regression
from .metric import Metric

__all__ = ["get"]

CLASSES = ("categorical", "scores", "log_probabilities")
YES_NO = ("binary", "binary_logits")
KINDS = (*CLASSES, *YES_NO, "regression", "unknown")


def _accuracy(kind: str, name: str) -> Metric:
    if kind in CLASSES:
        return accuracy.CategoricalAccuracy(name=name)
    return _yes_no(kind, name) if kind in YES_NO else accuracy.Accuracy(name=name)


def _yes_no(kind: str, name: str) -> Metric:
    return accuracy.BinaryAccuracy(from_logits=kind == "binary_logits", name=name)


def _counts(metric: Any) -> Callable[[str, str], Metric]:
    return lambda kind, name: metric(from_logits=kind == "binary_logits", multilabel=kind in YES_NO, name=name)


def _auc(kind: str, name: str) -> Metric:
    return auc.AUC(from_logits=kind in (*CLASSES, "binary_logits"), multilabel=kind in YES_NO, name=name)


def _plain(metric: Any) -> Callable[[str, str], Metric]:
    return lambda kind, name: metric(name=name)


METRICS: dict[str, Callable[[str, str], Metric]] = {
    "accuracy": _accuracy,
    "acc": _accuracy,
    "binary_accuracy": _yes_no,
    "categorical_accuracy": _plain(accuracy.CategoricalAccuracy),
    "sparse_categorical_accuracy": _plain(accuracy.SparseCategoricalAccuracy),
    "top_k_categorical_accuracy": _plain(accuracy.TopKCategoricalAccuracy),
    "precision": _counts(counts.Precision),
    "recall": _counts(counts.Recall),
    "f1": _counts(counts.F1Score),
    "f1_score": _counts(counts.F1Score),
    "auc": _auc,
    "mse": _plain(regression.MeanSquaredError),
    "mean_squared_error": _plain(regression.MeanSquaredError),
    "rmse": _plain(regression.RootMeanSquaredError),
    "root_mean_squared_error": _plain(regression.RootMeanSquaredError),
    "mae": _plain(regression.MeanAbsoluteError),
    "mean_absolute_error": _plain(regression.MeanAbsoluteError),
    "r2": _plain(regression.R2Score),
    "r2_score": _plain(regression.R2Score),
    "cosine_similarity": _plain(regression.CosineSimilarity),
    "perplexity": _plain(means.Perplexity),
}
NAMES = {"acc": "accuracy"}  # what is not called as it is written


def get(identifier: Any, kind: str = "unknown", name: str | None = None, *, ignore_index: int | None = None) -> Metric:
    """The metric that ``identifier`` names, in any case, or is; a function(output, target) becomes a ``MeanOf``.

    ``kind`` is what the loss expects of the model's output: "categorical" (logits of classes), "log_probabilities"
    or other "scores" of them, "binary" (probabilities), "binary_logits", "regression" or "unknown". So "precision"
    beside a loss of logits compares logits. ``name`` is the metric's, by default the identifier, and "accuracy" for
    "acc"; a Metric keeps its own. ``ignore_index`` is the loss's, for the metrics by name that have one too. Raises
    ValueError for other names and kinds, TypeError for what can't be a metric.

    >>> from steep import metrics
    >>> metrics.get("acc", "binary_logits")
    BinaryAccuracy(from_logits=True, name='accuracy')
    """
    if kind not in KINDS:
        raise ValueError(f"metrics.get: there is no kind {kind!r}; there are {', '.join(KINDS)}")
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, str):
        if identifier.lower() not in METRICS:
            raise ValueError(
                f"there is no metric {identifier!r}; there are {', '.join(METRICS)}, or pass a Metric or a function"
            )
        identifier = identifier.lower()
        metric = METRICS[identifier](kind, NAMES.get(identifier, identifier) if name is None else name)
        if isinstance(metric, means.AveragedOverLabels):
            metric.ignore_index = ignore_index
        return metric
    if callable(identifier) and not isinstance(identifier, type):
        return means.MeanOf(identifier, name)
    hint = f": write {identifier.__name__}()" if isinstance(identifier, type) else ""
    raise TypeError(f"a metric must be a name, a Metric or a function(output, target), not {identifier!r:.60}{hint}")
