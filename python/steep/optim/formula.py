"""The base of optimizers whose update is written with tensor operations, parameter by parameter."""

from __future__ import annotations

from collections.abc import Callable

from .. import _core
from ..autograd import no_grad
from ..dtypes import float32
from ..tensor import Tensor
from .optimizer import Group, Optimizer

__all__ = ["Formula"]

Keep = Callable[[str], Tensor]


class Formula(Optimizer):
    """An optimizer that defines ``_change``, its update of one parameter. One of its options is weight_decay.

    >>> import steep as st
    >>> from steep.optim.formula import Formula
    >>> class SignDescent(Formula):
    ...     def __init__(self, params, lr=0.1, weight_decay=0.0):
    ...         super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
    ...     def _change(self, p, g, keep, step, options):
    ...         p.sub_(options["lr"] * st.sign(g))
    >>> w = st.tensor([3.0, -4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> SignDescent([w]).step()
    >>> w
    tensor([ 2.9, -3.9], requires_grad=True)
    """

    _decays_gradient = True  # weight_decay · p is added to the gradient; otherwise it is the formula's own business

    @no_grad()
    def _update(self, group: Group, state: dict[str, list[Tensor]], steps: list[int]) -> None:
        self._follow(group["params"], state)
        decay = group["weight_decay"] if self._decays_gradient else 0
        trained = [(i, p) for i, p in enumerate(group["params"]) if p.grad is not None]
        for _, p in trained:  # before anything changes
            _core.check_writable(self._name(), p)
        for i, parameter in trained:
            wide = _Wide()

            def keep(name: str, i: int = i, wide: _Wide = wide) -> Tensor:
                return wide.of(self._kept(group, state, name)[i])

            p, g = wide.of(parameter), _computable(parameter.grad)
            self._change(p, g + decay * p if decay else g, keep, steps[i], group)
            wide.write_back()

    def _change(self, p: Tensor, g: Tensor, keep: Keep, step: int, options: Group) -> None:
        """Changes ``p`` in place, by its gradient ``g``.

        ``keep(name)`` is the tensor of that name that is kept for the parameter, zeros at first, to be changed in
        place; ``step`` counts from 1. In place of 16-bit tensors they are float32, rounded once all has been computed.
        """
        raise NotImplementedError(f"{self._name()} needs a method _change(self, p, g, keep, step, options)")


def _computable(x: Tensor) -> Tensor:
    """In a dtype in which squares neither overflow nor vanish so soon."""
    return x.astype(float32) if x.dtype.itemsize == 2 else x


class _Wide:
    """What is computed with in place of 16-bit tensors, until it is written back to them."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def of(self, x: Tensor) -> Tensor:
        if x.dtype.itemsize > 2:
            return x
        for known, wide in self._pairs:
            if known is x:
                return wide
        self._pairs.append((x, _computable(x)))
        return self._pairs[-1][1]

    def write_back(self) -> None:
        for x, wide in self._pairs:
            x.copy_(wide)


def average(kept: Tensor, x: Tensor, share: float) -> Tensor:
    """Moves ``kept`` towards x in place: share · kept + (1 − share) · x."""
    return kept.mul_(share).add_((1 - share) * x)
