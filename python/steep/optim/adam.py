"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from ..tensor import Tensor
from .optimizer import Group, Optimizer, Rate

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """p −= lr · m̂ / (√v̂ + eps), with running means m of g and v of g², corrected for their start at 0.

    Kingma and Ba 2015, arXiv:1412.6980, algorithm 1. ``weight_decay`` · p is added to g (see ``AdamW`` for the other
    way). Raises ValueError for options out of range, and see ``Optimizer``.

    >>> import steep as st
    >>> model = st.nn.Linear(3, 1)
    >>> optimizer = st.optim.Adam(model.parameters(), lr=0.01)
    >>> model(st.ones(8, 3)).square().mean().backward()
    >>> optimizer.step()
    """

    state_names = ("exp_avg", "exp_avg_sq")
    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        master_weights: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "master_weights": master_weights})

    def _update(self, group: Group, state: dict[str, list[Tensor]], steps: list[int]) -> Any:
        means, squares = self._kept(group, state, "exp_avg"), self._kept(group, state, "exp_avg_sq")
        return _core.adam(group["params"], means, squares, steps, *self._numbers(group))

    def _rewrite(self, recorded: Any, group: Group, steps: list[int]) -> None:
        _core.rewrite_adam(recorded, steps, *self._numbers(group))

    def _numbers(self, group: Group) -> tuple[Any, ...]:
        return group["lr"], *group["betas"], group["eps"], group["weight_decay"], self._decoupled


class AdamW(Adam):
    """Adam whose weight decay shrinks p by lr · weight_decay · p, apart from the gradient's step.

    Loshchilov and Hutter 2019, arXiv:1711.05101.

    >>> import steep as st
    >>> optimizer = st.optim.AdamW(st.nn.Linear(3, 1).parameters(), lr=0.01)
    """

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        master_weights: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, master_weights=master_weights)
