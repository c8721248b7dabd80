"""What callbacks share that watch one number of the logs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

from ..checks import check_number
from ..tensor import Tensor
from .callback import Callback
from .history import ALIASES

__all__ = ["Monitor", "larger_is_better"]

# Words in the names of what is better if it is larger.
LARGER = {"acc", "accuracy", "auc", "dice", "f1", "fbeta", "iou", "jaccard", "kappa", "matthews", "ndcg", "precision"}
LARGER |= {"prc", "r2", "recall", "roc", "sensitivity", "similarity", "specificity"}


def larger_is_better(name: str) -> bool:
    """Whether a number in the logs grows as a model gets better, as its name has it.

    >>> from steep.callbacks.monitor import larger_is_better
    >>> larger_is_better("val_f1_score"), larger_is_better("val_loss")
    (True, False)
    """
    return not LARGER.isdisjoint(re.split("_| ", name.lower()))


class Monitor(Callback):
    """Base of callbacks that watch ``monitor``, a name in the logs such as "val_loss" or "accuracy".

    ``mode``: "min" if less is better, "max" if more is, "auto" to go by the name: "max" for accuracy, auc, f1,
    precision, recall, r2, similarity and the like, "min" for all else. An improvement is one by more than
    ``min_delta``; a NaN is none. Raises ValueError for other modes.

    >>> from steep.callbacks import EarlyStopping
    >>> EarlyStopping("val_f1_score").mode, EarlyStopping("val_loss").mode
    ('max', 'min')
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{type(self).__name__}: mode={mode!r} must be 'auto', 'min' or 'max'")
        if not isinstance(monitor, str):
            raise TypeError(f"{type(self).__name__}: monitor must be a name in the logs, not {monitor!r:.60}")
        if mode == "auto":
            mode = "max" if larger_is_better(monitor) else "min"
        self.monitor, self.mode = monitor, mode
        self.min_delta = abs(check_number(f"{type(self).__name__}: min_delta", min_delta, low=-math.inf))
        self.best = self.worst

    @property
    def worst(self) -> float:
        """What any number improves on."""
        return math.inf if self.mode == "min" else -math.inf

    def improves(self, value: float, reference: float) -> bool:
        """Whether ``value`` is better than ``reference`` by more than ``min_delta``."""
        if self.mode == "min":
            return value + self.min_delta < reference
        return value - self.min_delta > reference

    def watched(self, logs: Mapping[str, Any]) -> float | None:
        """The number; None in an epoch without validation that comes before or after others with it.

        Raises ValueError for a name that the logs lack, TypeError for what is no number.
        """
        name = self.monitor if self.monitor in logs else ALIASES.get(self.monitor, self.monitor)
        if name not in logs:
            loop = self.loop
            if name.startswith("val_") and name[4:] in logs and loop is not None and loop.validation is not None:
                return None
            raise ValueError(f"{type(self).__name__} monitors {name!r}, {self._missing(name, logs)}")
        value = logs[name]
        if not isinstance(value, Real | Tensor) or (isinstance(value, Tensor) and value.size != 1):
            raise TypeError(f"{type(self).__name__} monitors {name!r}, which is not one number: {value!r:.60}")
        return float(value)

    @staticmethod
    def _missing(name: str, logs: Mapping[str, Any]) -> str:
        there = f"there are {', '.join(logs)}" if logs else "the logs are empty"
        if name.startswith("val_") and name[4:] in logs:
            return (
                f"and there is no validation: give fit validation_data or validation_split, or monitor {name[4:]!r} "
                f"({there})"
            )
        return f"which is not in the logs: {there}"

    def state_dict(self) -> dict[str, Any]:
        """The best number so far."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on there."""
        self.best = state["best"]
