"""Losses and metrics by name, and what they expect of a model's output: see mistakes.py for models that don't fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from .. import _core, ops
from ..devices import cpu
from ..metrics.accuracy import binary_hits, categorical_hits, guessed_hits
from ..metrics.lookup import NAMES
from ..tensor import Tensor

__all__ = ["loss_function", "metric_functions"]

Function = Callable[..., Any]

# What a loss expects of the output: logits of classes ("categorical"), log-probabilities or other scores of them,
# probabilities or logits of yes/no questions, or values. "unknown" is a function of the user's own.
LOSSES: dict[str, tuple[Function, str]] = {
    "cross_entropy": (ops.cross_entropy, "categorical"),
    "categorical_crossentropy": (ops.cross_entropy, "categorical"),
    "sparse_categorical_crossentropy": (ops.cross_entropy, "categorical"),
    "nll": (ops.nll_loss, "log_probabilities"),
    "binary_crossentropy": (ops.binary_cross_entropy, "binary"),
    "bce": (ops.binary_cross_entropy, "binary"),
    "bce_with_logits": (ops.binary_cross_entropy_with_logits, "binary_logits"),
    "mse": (ops.mse_loss, "regression"),
    "mean_squared_error": (ops.mse_loss, "regression"),
    "mae": (ops.l1_loss, "regression"),
    "mean_absolute_error": (ops.l1_loss, "regression"),
    "huber": (ops.huber_loss, "regression"),
    "smooth_l1": (ops.smooth_l1_loss, "regression"),
    "poisson_nll": (ops.poisson_nll_loss, "regression"),
}
SWAPPED = ". The arguments are (optimizer, loss): are they swapped?"
METRICS: dict[str, Function] = {"mse": ops.mse_loss, "mae": ops.l1_loss}
KIND_OF = dict(LOSSES.values())


def loss_function(loss: Any) -> tuple[Function, str]:
    """The loss that ``loss`` names or is, and its kind. Raises ValueError or TypeError if there is none."""
    if isinstance(loss, str):
        if loss.lower() not in LOSSES:
            from .. import optim

            hint = SWAPPED if loss.lower() in map(str.lower, optim.__all__) else ""
            raise ValueError(
                f"compile: there is no loss {loss!r}; there are {', '.join(LOSSES)}, or pass a function{hint}"
            )
        return LOSSES[loss.lower()]
    if isinstance(loss, type) or not callable(loss):
        hint = f": write {loss.__name__}()" if isinstance(loss, type) else ""
        raise TypeError(
            f"compile: the loss must be a name, a loss module or a function(output, target), not {loss!r}{hint}"
        )
    kind = getattr(loss, "kind", None)  # of steep's loss modules
    return loss, kind if kind in ACCURACIES else KIND_OF.get(loss, "unknown")


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
            name = NAMES.get(metric.lower(), metric.lower())
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


def _categorical(output: Tensor, target: Tensor) -> Any:
    """By one call for labels (N,) on the CPU: several, for every batch, take as long as the optimizer."""
    share = _core.accuracy(output, target)
    return _mean(categorical_hits, output, target) if share is None else share


ACCURACIES: dict[str, Function] = {
    "categorical": _categorical,
    "scores": _categorical,
    "log_probabilities": _categorical,
    "binary": partial(_mean, binary_hits),
    "binary_logits": partial(_mean, binary_hits, cut=0.0),  # a probability of ½
    "regression": partial(_mean, guessed_hits),
    "unknown": partial(_mean, guessed_hits),
}
UNRECORDED = frozenset(ACCURACIES.values())  # they record nothing, with or without no_grad
