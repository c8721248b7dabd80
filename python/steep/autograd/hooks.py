"""Functions that see, and may change, the gradient of one tensor as backward passes it."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

from .. import _core
from .._core import is_recording
from ..tensor import Tensor

__all__ = ["Handle"]

_numbers = itertools.count()
_RETAIN = "retain"  # the key of retain_grad's hook, which is kept the last


class Handle:
    """What registering a hook returns: ``remove()`` takes the hook away; so does leaving a ``with`` block."""

    def __init__(self, hooks: dict[Any, Any], hook: Any, first: bool = False) -> None:
        self._hooks = hooks
        self._number = next(_numbers)
        before = dict(hooks) if first else {}
        if first:
            hooks.clear()
        hooks[self._number] = hook
        hooks.update(before)

    def remove(self) -> None:
        """Takes the hook away; nothing happens if it has gone already."""
        self._hooks.pop(self._number, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def _hooks_of(tensor: Tensor, caller: str) -> dict[Any, Any]:
    """Those of the tensor's node, or of the leaf itself."""
    if not tensor.requires_grad:
        raise RuntimeError(f"{caller}: no gradient comes to a tensor with requires_grad=False")
    place = tensor if tensor._node is None else tensor._node
    if place._hooks is None:
        place._hooks = {}
    return place._hooks


def register(tensor: Tensor, hook: Callable[[Tensor], Tensor | None]) -> Handle:
    """See ``Tensor.register_hook``."""
    if not callable(hook):
        raise TypeError(f"register_hook: the hook must be a function of a gradient, not a {type(hook).__name__}")
    hooks = _hooks_of(tensor, "register_hook")
    retain = hooks.pop(_RETAIN, None)
    handle = Handle(hooks, hook)
    if retain is not None:
        hooks[_RETAIN] = retain
    return handle


def retain(tensor: Tensor) -> None:
    """See ``Tensor.retain_grad``."""
    hooks = _hooks_of(tensor, "retain_grad")
    if tensor._node is None:
        return
    kept = weakref.ref(tensor)  # the node must not hold its own tensor

    def hook(gradient: Tensor) -> None:
        y = kept()
        if y is None:
            return
        if y.grad is not None:
            y.grad = y.grad + gradient
        else:
            y.grad = gradient if is_recording() else _core.copy(gradient)

    hooks.setdefault(_RETAIN, hook)
