"""Relatives of Adam: optimizers that step along a running mean of the gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..ops import abs, maximum, sign, sqrt, vector_norm, where
from ..tensor import Tensor
from .formula import Formula, Keep, average
from .optimizer import Group, Rate

__all__ = ["LAMB", "Adamax", "Lion", "NAdam"]


class Adamax(Formula):
    """p −= lr / (1 − beta1ᵗ) · m / u, with the running mean m of g and u = max(beta2 · u, |g| + eps), in step t.

    Adam with the largest |g| in the place of its mean square: Kingma and Ba 2015, arXiv:1412.6980, algorithm 2.
    ``weight_decay`` · p is added to g. Raises ValueError for options out of range, and see ``Optimizer``.

    >>> import steep as st
    >>> optimizer = st.optim.Adamax(st.nn.Linear(3, 1).parameters())
    """

    state_names = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Rate = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        master_weights: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "master_weights": master_weights})

    def _change(self, p: Tensor, g: Tensor, keep: Keep, step: int, options: Group) -> None:
        beta1, beta2 = options["betas"]
        m, u = average(keep("exp_avg"), g, beta1), keep("exp_inf")
        u.copy_(maximum(u * beta2, abs(g) + options["eps"]))
        p.sub_(options["lr"] / (1 - beta1**step) * m / u)


class NAdam(Formula):
    """Adam with Nesterov's momentum: its step looks ahead, at the mean m as the next step would weigh it.

    p −= lr · (μₜ₊₁ · m / (1 − μ₁⋯μₜ₊₁) + (1 − μₜ) · g / (1 − μ₁⋯μₜ)) / (√v̂ + eps), with Adam's m, v and v̂ and
    μₜ = beta1 · (1 − ½ · 0.96^(t · momentum_decay)). Dozat 2016, "Incorporating Nesterov momentum into Adam".
    ``weight_decay`` · p is added to g, or, with ``decoupled_weight_decay``, lr · weight_decay · p is taken from p, as
    in ``AdamW``. Raises ValueError for options out of range, and see ``Optimizer``.

    >>> import steep as st
    >>> optimizer = st.optim.NAdam(st.nn.Linear(3, 1).parameters())
    """

    state_names = ("mu_product", "exp_avg", "exp_avg_sq")
    scalar_names = ("mu_product",)
    _not_negative = (*Formula._not_negative, "momentum_decay")
    _decays_gradient = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: Rate = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        master_weights: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        own = {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, {**options, **own, "master_weights": master_weights})

    def _change(self, p: Tensor, g: Tensor, keep: Keep, step: int, options: Group) -> None:
        beta1, beta2 = options["betas"]
        decay = options["weight_decay"]
        if options["decoupled_weight_decay"]:
            p.mul_(1 - options["lr"] * decay)
        elif decay:
            g = g + decay * p
        now, ahead = (beta1 * (1 - 0.5 * 0.96 ** (t * options["momentum_decay"])) for t in (step, step + 1))
        product = keep("mu_product")
        if step == 1:
            product.fill_(1)
        product.mul_(now)
        m, v = average(keep("exp_avg"), g, beta1), average(keep("exp_avg_sq"), g * g, beta2)
        direction = ahead / (1 - product * ahead) * m + (1 - now) / (1 - product) * g
        p.sub_(options["lr"] * direction / (sqrt(v / (1 - beta2**step)) + options["eps"]))


class LAMB(Formula):
    """p −= lr · ‖p‖ / ‖r‖ · r with r = m̂ / (√v̂ + eps) + weight_decay · p, where m̂ and v̂ are Adam's.

    Each tensor's step is as long, beside the tensor itself, as every other's, which lets batches be large. The ratio
    is 1 where either norm is 0. You et al. 2020, arXiv:1904.00962, algorithm 2, with φ(z) = z. Raises ValueError for
    options out of range, and see ``Optimizer``.

    >>> import steep as st
    >>> optimizer = st.optim.LAMB(st.nn.Linear(3, 1).parameters(), lr=0.01)
    """

    state_names = ("exp_avg", "exp_avg_sq")
    _decays_gradient = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        *,
        master_weights: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "master_weights": master_weights})

    def _change(self, p: Tensor, g: Tensor, keep: Keep, step: int, options: Group) -> None:
        beta1, beta2 = options["betas"]
        m, v = average(keep("exp_avg"), g, beta1), average(keep("exp_avg_sq"), g * g, beta2)
        r = m / (1 - beta1**step) / (sqrt(v / (1 - beta2**step)) + options["eps"]) + options["weight_decay"] * p
        length, step_length = vector_norm(p), vector_norm(r)
        ratio = where((length == 0) | (step_length == 0), 1.0, length / step_length)
        p.sub_(options["lr"] * ratio * r)


class Lion(Formula):
    """p −= lr · (sign(beta1 · m + (1 − beta1) · g) + weight_decay · p), then m = beta2 · m + (1 − beta2) · g.

    Every element moves by lr; a good rate is 3 to 10 times smaller than Adam's, and the decay as much larger. Chen et
    al. 2023, arXiv:2302.06675, algorithm 2. Raises ValueError for options out of range, and see ``Optimizer``.

    >>> import steep as st
    >>> optimizer = st.optim.Lion(st.nn.Linear(3, 1).parameters(), weight_decay=0.1)
    """

    state_names = ("exp_avg",)
    _decays_gradient = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: Rate = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        master_weights: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "weight_decay": weight_decay}
        super().__init__(params, {**options, "master_weights": master_weights})

    def _change(self, p: Tensor, g: Tensor, keep: Keep, step: int, options: Group) -> None:
        beta1, beta2 = options["betas"]
        m = keep("exp_avg")
        direction = sign(beta1 * m + (1 - beta1) * g) + options["weight_decay"] * p
        average(m, g, beta2)
        p.sub_(options["lr"] * direction)
