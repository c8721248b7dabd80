"""Metrics: numbers that say how good a model's outputs are, gathered batch by batch.

    accuracy = steep.metrics.Accuracy()
    for x, y in batches:
        accuracy.update_state(model(x), y)
    print(accuracy.result())

Arguments are (output, target, sample_weight=None): Tensors, arrays or lists with a first axis that counts samples. What
is counted stays on the tensors' device until ``result`` reads it, and no operation is recorded. Values are those of
scikit-learn; a ratio of nothing, such as the precision where no yes was given, is 0, and a metric of no samples is NaN.
The ranges of labels, probabilities and targets are checked on the CPU; on CUDA that would wait for the device, and a
label that is no class is simply never right.
"""

from typing import Any

from .. import hints
from .accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from .auc import AUC
from .confusion import ConfusionMatrix
from .counts import F1Score, Precision, Recall
from .lookup import get
from .means import Averaged, AveragedOverLabels, Mean, MeanOf, Perplexity
from .metric import Metric
from .regression import CosineSimilarity, MeanAbsoluteError, MeanSquaredError, R2Score, RootMeanSquaredError

__all__ = [
    "AUC",
    "Accuracy",
    "Averaged",
    "AveragedOverLabels",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "ConfusionMatrix",
    "CosineSimilarity",
    "F1Score",
    "Mean",
    "MeanAbsoluteError",
    "MeanOf",
    "MeanSquaredError",
    "Metric",
    "Perplexity",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "get",
]


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hints.of(hints.METRICS, name)}")
