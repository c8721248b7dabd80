"""Keras' losses as steep's: a loss for each element or sample, which Keras' base class then weighs and reduces.

What differs is Keras' own and done here: probabilities are kept ``EPSILON`` away from 0 and 1, where steep bounds
logarithms instead; labels may have an axis of length 1; elements are averaged over the last axis first.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from keras_shim import EPSILON, SERIALIZATION, to_tensor
from suite import LeftOutError

import steep as st

Loss = Callable[..., st.Tensor]


def mean_squared_error(y_true: Any, y_pred: Any) -> st.Tensor:
    return st.mse_loss(y_pred, y_true, "none").mean(-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> st.Tensor:
    return st.l1_loss(y_pred, y_true, "none").mean(-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> st.Tensor:
    return st.huber_loss(y_pred, y_true, "none", delta).mean(-1)


def kl_divergence(y_true: Any, y_pred: Any) -> st.Tensor:
    return st.kl_div(st.log(st.clip(y_pred, EPSILON, 1)), st.clip(y_true, EPSILON, 1), "none").sum(-1)


def poisson(y_true: Any, y_pred: Any) -> st.Tensor:
    return st.poisson_nll_loss(y_pred, y_true, "none", log_input=False, eps=EPSILON).mean(-1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> st.Tensor:
    a, b = (st.moveaxis(x, axis, -1) for x in (y_pred, y_true))
    pairs = (x.reshape((-1, x.shape[-1])) for x in (a, b))
    loss = st.cosine_embedding_loss(*pairs, st.ones(a.size // a.shape[-1]), "none")  # 1 − cos
    return loss.reshape(a.shape[:-1]) - 1


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> st.Tensor:
    y_true = y_true * (1 - label_smoothing) + label_smoothing / 2
    if from_logits:
        return st.binary_cross_entropy_with_logits(y_pred, y_true, "none").mean(axis)
    return st.binary_cross_entropy(st.clip(y_pred, EPSILON, 1 - EPSILON), y_true, "none").mean(axis)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> st.Tensor:
    logits = y_pred if from_logits else log_of(y_pred, axis)
    return st.cross_entropy(logits, y_true, "none", axis, label_smoothing=label_smoothing)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> st.Tensor:
    y_true, y_pred = to_tensor(y_true), to_tensor(y_pred)
    if y_true.ndim == y_pred.ndim and y_true.shape[axis] == 1:
        y_true = st.squeeze(y_true, axis)
    logits = y_pred if from_logits else log_of(y_pred, axis)
    return st.cross_entropy(logits, y_true.long(), "none", axis, ignore_index=ignore_class)


def log_of(probabilities: Any, axis: int) -> st.Tensor:
    shares = probabilities / probabilities.sum(axis, keepdims=True)
    return st.log(st.clip(shares, EPSILON, 1 - EPSILON))


FUNCTIONS: dict[str, Loss] = {
    "MeanSquaredError": mean_squared_error,
    "MeanAbsoluteError": mean_absolute_error,
    "Huber": huber,
    "KLDivergence": kl_divergence,
    "Poisson": poisson,
    "CosineSimilarity": cosine_similarity,
    "BinaryCrossentropy": binary_crossentropy,
    "CategoricalCrossentropy": categorical_crossentropy,
    "SparseCategoricalCrossentropy": sparse_categorical_crossentropy,
}


def definitions(base: ModuleType) -> dict[str, Any]:
    """The classes, on Keras' own base class, and the functions."""

    def kind(name: str, function: Loss) -> Any:
        class Adapted(base.Loss):
            def __init__(self, reduction: Any = "sum_over_batch_size", dtype: Any = None, **options: Any) -> None:
                super().__init__(options.pop("name", name), reduction, dtype)
                self.options = options

            def call(self, y_true: Any, y_pred: Any) -> st.Tensor:
                return function(*base.squeeze_or_expand_to_same_rank(y_true, y_pred), **self.options)

            def get_config(self) -> dict[str, Any]:
                raise LeftOutError(SERIALIZATION)

        return Adapted

    def alone(function: Loss) -> Loss:
        def call(y_true: Any, y_pred: Any, **options: Any) -> st.Tensor:
            pair = base.squeeze_or_expand_to_same_rank(to_tensor(y_true, "float32"), to_tensor(y_pred, "float32"))
            return function(*pair, **options)

        return call

    classes = {name: kind(name, function) for name, function in FUNCTIONS.items()}
    return {**classes, **{function.__name__: alone(function) for function in FUNCTIONS.values()}}
