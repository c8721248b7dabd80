"""Optimizers that divide each element's step by a measure of its past gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..ops import clip, sqrt
from ..tensor import Tensor
from .formula import Formula, Keep, average
from .optimizer import Group, Rate

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class RMSprop(Formula):
    """p −= lr · g / (√v + eps), with the running mean v of g²: v = alpha · v + (1 − alpha) · g².

    Hinton 2012, lecture 6e of "Neural networks for machine learning". ``centered`` divides by the deviation instead,
    √(v − m²) with the running mean m of g (Graves 2013, arXiv:1308.0850). With ``momentum`` the step is along
    b = momentum · b + g / (√v + eps). ``weight_decay`` · p is added to g. Raises ValueError for options out of range,
    and see ``Optimizer``.

    >>> import steep as st
    >>> optimizer = st.optim.RMSprop(st.nn.Linear(3, 1).parameters(), lr=0.01, momentum=0.9)
    """

    state_names = ("square_avg", "grad_avg", "momentum_buffer")
    _shares = ("alpha",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: Rate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        master_weights: bool = False,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        own = {"momentum": momentum, "centered": centered, "master_weights": master_weights}
        super().__init__(params, {**options, **own})

    def _change(self, p: Tensor, g: Tensor, keep: Keep, step: int, options: Group) -> None:
        v = average(keep("square_avg"), g * g, options["alpha"])
        if options["centered"]:
            m = average(keep("grad_avg"), g, options["alpha"])
            v = clip(v - m * m, min=0.0)  # rounding can make it negative
        direction = g / (sqrt(v) + options["eps"])
        if options["momentum"]:
            direction = keep("momentum_buffer").mul_(options["momentum"]).add_(direction)
        p.sub_(options["lr"] * direction)


class Adagrad(Formula):
    """p −= lr / (1 + (t − 1) · lr_decay) · g / (√s + eps), with the sum s of all g² so far, in step t.

    Duchi et al. 2011, JMLR 12. The sum starts at ``initial_accumulator_value``. ``weight_decay`` · p is added to g.
    Raises ValueError for options out of range, and see ``Optimizer``.

    >>> import steep as st
    >>> optimizer = st.optim.Adagrad(st.nn.Linear(3, 1).parameters(), lr=0.1)
    """

    state_names = ("sum",)
    _not_negative = (*Formula._not_negative, "lr_decay", "initial_accumulator_value")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Rate = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        master_weights: bool = False,
    ) -> None:
        options = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay}
        own = {"initial_accumulator_value": initial_accumulator_value, "eps": eps, "master_weights": master_weights}
        super().__init__(params, {**options, **own})

    def _change(self, p: Tensor, g: Tensor, keep: Keep, step: int, options: Group) -> None:
        total = keep("sum")
        if step == 1:
            total.add_(options["initial_accumulator_value"])
        total.add_(g * g)
        rate = options["lr"] / (1 + (step - 1) * options["lr_decay"])
        p.sub_(rate * g / (sqrt(total) + options["eps"]))


class Adadelta(Formula):
    """p −= lr · d with d = √(u + eps) / √(v + eps) · g, and the running means v of g² and u of d².

    Zeiler 2012, arXiv:1212.5701: u = rho · u + (1 − rho) · d², which d itself enters in the next step.
    ``weight_decay`` · p is added to g. Raises ValueError for options out of range, and see ``Optimizer``.

    >>> import steep as st
    >>> optimizer = st.optim.Adadelta(st.nn.Linear(3, 1).parameters())
    """

    state_names = ("square_avg", "acc_delta")
    _shares = ("rho",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: Rate = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        master_weights: bool = False,
    ) -> None:
        options = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "master_weights": master_weights})

    def _change(self, p: Tensor, g: Tensor, keep: Keep, step: int, options: Group) -> None:
        rho, eps = options["rho"], options["eps"]
        v, u = average(keep("square_avg"), g * g, rho), keep("acc_delta")
        delta = sqrt(u + eps) / sqrt(v + eps) * g
        average(u, delta * delta, rho)
        p.sub_(options["lr"] * delta)
