"""What ``compile`` sets up: the losses and metrics of a model's outputs, and its optimizer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..autograd import is_grad_enabled
from ..checks import shown
from ..ops._apply import as_tensor
from ..tensor import Tensor
from .objectives import LOSSES, SWAPPED, UNRECORDED, Function, Streamed, loss_function, metric_functions

if TYPE_CHECKING:
    from ..optim import Optimizer
    from .precision import Precision

__all__ = ["Compiled", "Goal", "Group", "goals", "make_optimizer"]


class Goal:
    """What one output is trained for and measured by."""

    def __init__(self, loss: Any, metrics: Any, weighted_metrics: Any, weight: float = 1.0) -> None:
        self.loss: Function | None = None
        self.kind = "unknown"  # what the loss expects of the output: see objectives
        if loss is not None:
            self.loss, self.kind = loss_function(loss)
        self.metrics = metric_functions(metrics, loss, self.kind)
        weighted = metric_functions(weighted_metrics, loss, self.kind, weighted=True)
        self.weighted_metrics = {
            f"weighted_{name}" if name in self.metrics else name: metric for name, metric in weighted.items()
        }
        self.weight = weight

    def loss_of(self, output: Any, target: Any, sample_weight: Any) -> Tensor:
        """The mean over the samples, of weight · loss if they have weights, as Keras has it."""
        assert self.loss is not None
        if sample_weight is None:
            loss = self.loss(output, target)
            if not isinstance(loss, Tensor):
                return self._number(loss)
            return loss.mean() if loss.ndim else loss
        each = per_sample(self.loss, output, target)
        each = each.mean(tuple(range(1, each.ndim))) if each.ndim > 1 else each
        return (each * sample_weight).mean()

    def _number(self, loss: Any) -> Any:
        """A loss that is no tensor: it can be measured, but not trained."""
        if isinstance(loss, Real) and not is_grad_enabled():
            return as_tensor(np.float64(loss))
        raise TypeError(
            f"compile's loss {getattr(self.loss, '__name__', self.loss)} returned {shown(loss)}, which has no "
            "gradient: it must return the Tensor that steep's operations give, without float(), .item() or .numpy()"
        )

    def measures_of(self, output: Any, target: Any, sample_weight: Any) -> dict[str, Any]:
        """The metrics of a batch: its means, and the Metrics that count on."""
        values = {name: function(output, target) for name, function in self.metrics.items()}
        for name, function in self.weighted_metrics.items():
            values[name] = function(output, target, sample_weight)
        return values


def per_sample(loss: Function, output: Any, target: Any) -> Tensor:
    """The loss of each sample. Raises ValueError if the function gives their mean only."""
    from .. import nn, ops

    if isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        loss = copy.copy(loss)
        loss.reduction = "none"
        each = loss(output, target)
    elif getattr(ops, getattr(loss, "__name__", ""), None) is loss:
        each = loss(output, target, reduction="none")
    else:
        each = loss(output, target)
    if not isinstance(each, Tensor) or each.ndim == 0:
        raise ValueError(
            f"the loss {getattr(loss, '__name__', loss)} gives one number for a batch: to weight its samples, it must "
            "return a loss for each of them, of shape (N,)"
        )
    return each


class Group(NamedTuple):
    """Batches whose gradients are added up before the optimizer steps, as the current batch sees them."""

    first: bool
    last: bool
    size: int  # expected
    begun: int  # so far


class Compiled:
    """What ``compile`` sets up, and how far ``fit`` has come."""

    def __init__(self, goals: dict[str, Goal], several: bool) -> None:
        self.goals = goals  # by the names of the outputs
        self.only = None if several else next(iter(goals.values()))
        functions = [f for goal in goals.values() for f in (*goal.metrics.values(), *goal.weighted_metrics.values())]
        self.measured = several or bool(functions)  # beside the loss
        plain = self.only is not None and not self.only.weighted_metrics and UNRECORDED.issuperset(functions)
        self.unrecorded = self.only.metrics if self.only and plain else None  # all metrics, if no_grad changes nothing
        self.whole_model = False  # the optimizer was made here, for all parameters
        self.epoch = 0
        self.checked = False  # the first batch was looked at
        self.doubtful = True  # nothing was said yet of how the model ends
        self.parts: dict[str, Tensor] = {}  # the losses of several outputs in the last batch
        self.regularizer: Function | None = None  # of all weights
        self.clip_norm: float | None = None
        self.jit_compile = False  # unless fit is told otherwise
        self.steps_outside = False  # the optimizer steps outside of the step that is captured, and not in minimize
        self.precision: Precision | None = None  # of the last fit; None for that of the parameters
        self.group: Group | None = None

    @property
    def kind(self) -> str:
        """What the loss expects of the only output, or "several"."""
        return "several" if self.only is None else self.only.kind

    def streaming(self) -> dict[str, Any]:
        """The Metrics, which count for themselves, by their names in the history."""
        found = {}
        for output, goal in self.goals.items():
            for name, function in {**goal.metrics, **goal.weighted_metrics}.items():
                if isinstance(function, Streamed):
                    found[name if self.only else f"{output}_{name}"] = function.metric
        return found

    def loss_of(self, output: Any, target: Any, sample_weight: Any) -> Tensor:
        """The compiled loss: that of the only output, or the weighted sum over several."""
        if self.only is not None:
            return self.only.loss_of(output, target, sample_weight)
        total: Tensor | None = None
        outputs, targets = self.by_output(output, "output"), self.by_output(target, "target")
        weights = self.by_output(sample_weight, "sample_weight")
        self.parts = {}
        for name, goal in self.goals.items():
            if goal.loss is not None:
                loss = goal.loss_of(outputs[name], targets[name], weights[name])
                self.parts[f"{name}_loss"] = loss.detach()
                total = loss * goal.weight if total is None else total + loss * goal.weight
        assert total is not None  # compile asks for a loss
        return total

    def measures_of(self, output: Any, target: Any, sample_weight: Any) -> dict[str, Any]:
        """The losses of several outputs, and all metrics."""
        if self.only is not None:
            return self.only.measures_of(output, target, sample_weight)
        outputs, targets = self.by_output(output, "output"), self.by_output(target, "target")
        weights = self.by_output(sample_weight, "sample_weight")
        values: dict[str, Any] = {**self.parts}
        for name, goal in self.goals.items():
            for metric, value in goal.measures_of(outputs[name], targets[name], weights[name]).items():
                values[f"{name}_{metric}"] = value
        return values

    def by_output(self, value: Any, what: str) -> Mapping[str, Any]:
        """One value for each output: of a dict by name, of a tuple or list by position, or the same for all."""
        names = list(self.goals)
        if isinstance(value, Mapping):
            if missing := [name for name in names if name not in value and self.goals[name].loss is not None]:
                raise ValueError(f"there is no {what} for {missing[0]!r}: there are {', '.join(map(str, value))}")
            return {name: value.get(name) for name in names}
        if isinstance(value, tuple | list):
            if len(value) != len(names):
                raise ValueError(f"there are {len(value)} of {what}, and {len(names)} outputs: {', '.join(names)}")
            return dict(zip(names, value, strict=True))
        if what != "sample_weight":
            raise ValueError(f"the outputs are {', '.join(names)}, and there is one {what}: it must be a tuple or dict")
        return dict.fromkeys(names, value)


def goals(model: Any, loss: Any, metrics: Any, loss_weights: Any, weighted_metrics: Any) -> Compiled:
    """The Goals of all outputs: several if there is a list or dict of losses, or the model names several outputs.

    Raises ValueError for other names and lengths.
    """
    names = list(getattr(model, "output_names", ()))
    if isinstance(loss, Mapping):
        if unknown := [name for name in loss if names and name not in names]:
            raise ValueError(f"compile: there is no output {unknown[0]!r}; there are {', '.join(names)}")
        names = names or list(loss)
    elif isinstance(loss, list | tuple):
        names = names or [f"output_{i}" for i in range(len(loss))]
    if len(names) < 2 and not isinstance(loss, Mapping | list | tuple):
        if loss_weights is not None:
            raise ValueError("compile: loss_weights are for several outputs, with a loss for each")
        return Compiled({"output": Goal(loss, metrics, weighted_metrics)}, several=False)

    def each(what: str, value: Any, listed: bool) -> dict[str, Any]:
        """``value`` for each output: a dict is by name, a list by position if ``listed``."""
        if isinstance(value, Mapping):
            if unknown := [name for name in value if name not in names]:
                raise ValueError(f"compile: {what} name {unknown[0]!r}; the outputs are {', '.join(names)}")
            return {name: value.get(name) for name in names}
        if isinstance(value, list | tuple) and listed:
            if len(value) != len(names):
                raise ValueError(f"compile: {len(value)} {what} for {len(names)} outputs ({', '.join(names)})")
            return dict(zip(names, value, strict=True))
        return {name: copy.deepcopy(value) if what != "losses" else value for name in names}

    losses = each("losses", loss, True)
    weights = each("loss_weights", loss_weights, True)
    own = each("metrics", metrics, _lists_of_lists(metrics))
    weighted = each("weighted_metrics", weighted_metrics, _lists_of_lists(weighted_metrics))
    if all(value is None for value in losses.values()):
        raise ValueError(f"compile: none of the outputs {', '.join(names)} has a loss")
    return Compiled(
        {
            name: Goal(
                losses[name],
                () if own[name] is None else own[name],
                () if weighted[name] is None else weighted[name],
                1.0 if weights[name] is None else float(weights[name]),
            )
            for name in names
        },
        several=True,
    )


def _lists_of_lists(metrics: Any) -> bool:
    return isinstance(metrics, list | tuple) and any(isinstance(metric, list | tuple) for metric in metrics)


def make_optimizer(optimizer: Any, parameters: Iterable[Tensor]) -> tuple[Optimizer, bool]:
    """The optimizer that is given, named or made, and whether it was made here for all parameters."""
    from .. import optim

    if isinstance(optimizer, optim.Optimizer):
        return optimizer, False
    make: Callable[..., Any] = optimizer
    if isinstance(optimizer, str):
        names = ("SGD", "Adam", "AdamW", *sorted({*optim.__all__} - {"SGD", "Adam", "AdamW", "Optimizer"}))
        by_name = {name.lower(): getattr(optim, name) for name in names if isinstance(getattr(optim, name), type)}
        if optimizer.lower() not in by_name:
            hint = SWAPPED if optimizer.lower() in LOSSES else ""
            raise ValueError(f"compile: there is no optimizer {optimizer!r}; there are {', '.join(by_name)}{hint}")
        make = by_name[optimizer.lower()]
    if not callable(make):
        raise TypeError(f"compile: the optimizer must be a name, an Optimizer or a function, not {optimizer!r}")
    made = make(parameters)
    if not isinstance(made, optim.Optimizer):
        raise TypeError(f"compile: {optimizer!r} made a {type(made).__name__}, not an Optimizer")
    return made, True
