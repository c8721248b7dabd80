"""Whether ``zero_grad`` was forgotten."""

from __future__ import annotations

import weakref
from typing import Any

from ..ops import equal
from ..tensor import Tensor

__all__ = ["Watch"]


class Watch:
    """Looks, in an optimizer's first steps, whether backward adds to gradients that a step has used.

    The gradient of one parameter is looked at. ``zero_grad`` drops it, so that the next one is another object, and
    nothing more is done: gradients that are added up before a step and dropped after it are never in question. Where
    the object lives on, a hook notes what the next passes add to it; only the sum of exactly that and of what the last
    step used, bit for bit, is the mistake. It is not where the gradient was set to zero or changed in place.
    """

    def __init__(self) -> None:
        self.steps = 10  # to look at; the mistake shows in the third
        self._last: weakref.ref[Tensor] | None = None  # the gradient at the last step
        self._sum: Tensor | None = None  # what it is if nobody has touched it since
        self._handle: Any = None

    def __reduce__(self) -> Any:
        return Watch, ()

    def sees(self, groups: list[dict[str, Any]]) -> bool:
        """Looks after a step. True if the gradients are those of the step before with new ones added."""
        self.steps -= 1
        parameter = next(p for group in groups for p in group["params"] if p.grad is not None)
        grad = parameter.grad
        same = self._last is not None and self._last() is grad
        grown, self._sum = self._sum, None
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
        if not same:
            self._last = weakref.ref(grad)
            return False
        if grown is not None and bool(equal(grad.detach(), grown).all()):
            return True
        self._note(parameter, grad.detach().copy())
        return False

    def _note(self, parameter: Tensor, used: Tensor) -> None:
        if not parameter.requires_grad or not bool(used.any()):
            return

        def added(gradient: Tensor) -> None:
            before = used if self._sum is None else self._sum
            self._sum = before + gradient.detach()

        self._handle = parameter.register_hook(added)
