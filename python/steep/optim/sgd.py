"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from ..tensor import Tensor
from .optimizer import Group, Optimizer, Rate

__all__ = ["SGD"]


class SGD(Optimizer):
    """p −= lr · g, with momentum if wanted, as PyTorch defines it.

    With momentum the step is along v = momentum · v + (1 − dampening) · g, where v starts as the first g; with
    ``nesterov`` along g + momentum · v (Sutskever et al. 2013). ``weight_decay`` · p is added to g.

    Raises ValueError for options out of range, and see ``Optimizer``.

    >>> import steep as st
    >>> w = st.tensor([1.0], requires_grad=True)
    >>> optimizer = st.optim.SGD([w], lr=0.1)
    >>> for _ in range(20):
    ...     optimizer.zero_grad()
    ...     loss = ((w - 3) ** 2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    >>> f"{w.item():.2f}"
    '2.98'
    """

    state_names = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: Rate = 1e-2,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        master_weights: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "master_weights": master_weights,
        }
        super().__init__(params, options)

    def _check_options(self, group: Group) -> None:
        super()._check_options(group)
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov=True needs a momentum above 0 and no dampening")

    def _update(self, group: Group, state: dict[str, list[Tensor]], steps: list[int]) -> Any:
        velocities = self._kept(group, state, "momentum_buffer") if group["momentum"] else []
        return _core.sgd(group["params"], velocities, [n == 1 for n in steps], *self._numbers(group))

    def _rewrite(self, recorded: Any, group: Group, steps: list[int]) -> None:
        _core.rewrite_sgd(recorded, [n == 1 for n in steps], *self._numbers(group))

    def _numbers(self, group: Group) -> tuple[Any, ...]:
        return tuple(group[name] for name in ("lr", "momentum", "dampening", "weight_decay", "nesterov"))
