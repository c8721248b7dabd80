"""Losses and metrics by name, and what they expect of a model's output."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from .. import _core, nn, ops
from ..devices import cpu
from ..metrics.accuracy import binary_hits, categorical_hits, guessed_hits
from ..tensor import Tensor

__all__ = ["check_last_layer", "check_output", "loss_function", "metric_functions"]

Function = Callable[..., Any]

# What a loss expects of the output: logits of classes ("categorical") or other scores of them, probabilities or logits
# of yes/no questions, or values. "unknown" is a function of the user's own.
LOSSES: dict[str, tuple[Function, str]] = {
    "cross_entropy": (ops.cross_entropy, "categorical"),
    "categorical_crossentropy": (ops.cross_entropy, "categorical"),
    "sparse_categorical_crossentropy": (ops.cross_entropy, "categorical"),
    "nll": (ops.nll_loss, "scores"),
    "binary_crossentropy": (ops.binary_cross_entropy, "binary"),
    "bce": (ops.binary_cross_entropy, "binary"),
    "bce_with_logits": (ops.binary_cross_entropy_with_logits, "binary_logits"),
    "mse": (ops.mse_loss, "regression"),
    "mae": (ops.l1_loss, "regression"),
    "huber": (ops.huber_loss, "regression"),
    "smooth_l1": (ops.smooth_l1_loss, "regression"),
    "poisson_nll": (ops.poisson_nll_loss, "regression"),
}
METRICS: dict[str, Function] = {"mse": ops.mse_loss, "mae": ops.l1_loss}
KINDS = dict(LOSSES.values())


def loss_function(loss: Any) -> tuple[Function, str]:
    """The loss that ``loss`` names or is, and its kind. Raises ValueError or TypeError if there is none."""
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"compile: there is no loss {loss!r}; there are {', '.join(LOSSES)}, or pass a function")
        return LOSSES[loss]
    if isinstance(loss, type) or not callable(loss):
        hint = f": write {loss.__name__}()" if isinstance(loss, type) else ""
        raise TypeError(
            f"compile: the loss must be a name, a loss module or a function(output, target), not {loss!r}{hint}"
        )
    kind = getattr(loss, "kind", None)  # of steep's loss modules
    return loss, kind if kind in ACCURACIES else KINDS.get(loss, "unknown")


class Streamed:
    """A Metric as a function of a batch: it counts on, and stands for its result."""

    def __init__(self, metric: Any) -> None:
        self.metric = metric

    def __call__(self, output: Any, target: Any, sample_weight: Any = None) -> Any:
        self.metric.update_state(output, target, sample_weight)
        return self.metric


def metric_functions(metrics: Any, loss: Any, kind: str, weighted: bool = False) -> dict[str, Function]:
    """The metrics by the name they have in the history. Each is a mean over a batch, or a Metric that counts on.

    ``kind`` is that of the loss. Those that are ``weighted`` take a third argument.
    """
    from ..metrics import get

    ignored = getattr(loss, "ignore_index", None)
    means = {} if weighted or ignored is not None else {**METRICS, "accuracy": ACCURACIES[kind]}
    functions: dict[str, Function] = {}
    for metric in [metrics] if isinstance(metrics, str) or not isinstance(metrics, Iterable) else metrics:
        if isinstance(metric, str):
            name = "accuracy" if metric == "acc" else metric
            functions[name] = means.get(name) or Streamed(get(name, kind, ignore_index=ignored))
        elif hasattr(metric, "update_state") and not isinstance(metric, type):
            functions[metric.name] = Streamed(metric)
        elif weighted:
            raise TypeError(f"compile: a weighted metric must be a name or a steep.metrics.Metric, not {metric!r}")
        elif callable(metric) and not isinstance(metric, type):
            functions[getattr(metric, "__name__", type(metric).__name__)] = metric
        else:
            raise TypeError(f"compile: a metric must be a name, a Metric or a function(output, target), not {metric!r}")
    return functions


# --- accuracy: the share of right answers -----------------------------------------------------------------------------


def _mean(hits: Callable[..., Tensor], output: Tensor, target: Tensor, **options: float) -> Any:
    right = hits("accuracy", output, target, **options)
    # A float where it costs no wait: dividing a tensor takes longer than counting.
    return _core.item(_core.sum(right, None, False)) / right.size if right.device is cpu else right.mean()


ACCURACIES: dict[str, Function] = {
    "categorical": partial(_mean, categorical_hits),
    "scores": partial(_mean, categorical_hits),
    "binary": partial(_mean, binary_hits),
    "binary_logits": partial(_mean, binary_hits, cut=0.0),  # a probability of ½
    "regression": partial(_mean, guessed_hits),
    "unknown": partial(_mean, guessed_hits),
}

# --- mistakes ---------------------------------------------------------------------------------------------------------

ONE_OUTPUT = (
    "has one output, and the share of one class among one is always 1: give it an output for each class, or use "
    "the loss 'bce_with_logits' for a yes/no question"
)
CLASSES = ("categorical", "scores")
DOUBLE = {"categorical": "softmax", "binary_logits": "sigmoid"}  # what the loss applies itself


def check_last_layer(model: Any, kind: str, stacklevel: int) -> None:
    """Warns if a Sequential ends in the activation that its loss applies; raises ValueError for one class."""
    layer, path = model, ""
    while isinstance(layer, nn.Sequential) and len(layer):
        layer, name = layer[-1], layer._names()[-1]
        path = f"{path}.{name}" if path else name
    label = f"{type(layer).__name__} {path!r}" if path else type(layer).__name__
    if kind in CLASSES and isinstance(layer, nn.Linear) and layer.out_features == 1:
        raise ValueError(f"compile: {label} {ONE_OUTPUT}")
    if _ends_in(layer, DOUBLE.get(kind)):
        _warn_double(f"{label} ends the model in", kind, stacklevel + 1)


def _ends_in(layer: Any, activation: str | None) -> bool:
    modules = {"softmax": nn.Softmax, "sigmoid": nn.Sigmoid}
    if activation is None:
        return False
    if isinstance(layer, nn.Linear):
        return layer.activation in (activation, getattr(ops, activation))
    return isinstance(layer, modules[activation])


def check_output(model: Any, output: Tensor, kind: str, stacklevel: int) -> None:
    """The same for the first output of any other Module, by the operation that made it."""
    if isinstance(model, nn.Sequential) or not isinstance(output, Tensor):
        return
    if kind in CLASSES and output.ndim > 1 and output.shape[1] == 1:
        raise ValueError(f"{type(model).__name__} {ONE_OUTPUT}")
    if output.grad_fn is not None and output.grad_fn.name == DOUBLE.get(kind):
        _warn_double(f"{type(model).__name__}'s output comes from", kind, stacklevel + 1)


def _warn_double(who: str, kind: str, stacklevel: int) -> None:
    activation = DOUBLE[kind]
    warnings.warn(
        f"{who} {activation}, but the loss wants logits and applies {activation} itself: training would be slow and "
        f"inexact. Leave the {activation} out, and call steep.{activation} on predictions to get probabilities"
        + (", or use the loss 'binary_crossentropy'" if kind == "binary_logits" else ""),
        stacklevel=stacklevel + 1,
    )
