"""Finding the first NaN or infinity: where it was computed, by which operation of which layer."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from .. import _core
from .._core import Node
from ..tensor import Tensor

__all__ = ["AnomalyError", "detect_anomaly", "set_detect_anomaly"]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class AnomalyError(RuntimeError):
    """A NaN or an infinity was found. ``operation``, ``layer`` (a path in the model, or None) and ``where`` say where.

    ``where`` is the line, "file:line", from which the operation was called.
    """

    def __init__(self, text: str, operation: str, layer: str | None, where: str) -> None:
        super().__init__(text)
        self.operation = operation
        self.layer = layer
        self.where = where

    def during(self, what: str) -> None:
        """Adds to the message what was being done."""
        self.args = (f"{self.args[0]} ({what})",)


class _Origin(NamedTuple):
    layer: str | None
    where: str

    def __str__(self) -> str:
        return f"at {self.where}" + (f", in layer '{self.layer}'" if self.layer else "")


class _Local(threading.local):
    def __init__(self) -> None:
        self.layers: list[Any] = []  # the modules whose forward is running, the innermost last
        self.running: Node | None = None  # the node whose vjp is running


_local = _Local()
_on = False
_check_inf = True


class set_detect_anomaly:
    """Switches the detection of NaN and infinities on or off, in all threads; as a context manager for a block.

    See ``detect_anomaly``.

    >>> import steep as st
    >>> with st.autograd.set_detect_anomaly(False):
    ...     st.log(st.zeros(1))
    tensor([-inf])
    """

    def __init__(self, mode: bool, check_inf: bool = True) -> None:
        self._before = _on, _check_inf
        _switch(bool(mode), check_inf)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _switch(*self._before)


class detect_anomaly:
    """Context manager: AnomalyError is raised at the first NaN or infinity in a result or a gradient.

    It names the operation, the line that called it, the layer, and in ``fit`` the epoch and the batch; of a gradient,
    all that of the forward operation. With ``check_inf=False`` infinities pass, as in a mask of −∞. Every result is
    looked at, so everything is slower inside, and costs nothing outside.

    >>> import steep as st
    >>> x = st.tensor([1.0, 0.0], requires_grad=True)
    >>> with st.autograd.detect_anomaly():
    ...     st.sqrt(x).sum().backward()
    Traceback (most recent call last):
    ...
    steep.autograd.anomaly.AnomalyError: the gradient of 'sqrt' holds inf...
    """

    def __init__(self, check_inf: bool = True) -> None:
        self._check_inf = check_inf
        self._before: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self._before.append((_on, _check_inf))
        _switch(True, self._check_inf)

    def __exit__(self, *exc: object) -> None:
        _switch(*self._before.pop())


def _switch(on: bool, check_inf: bool) -> None:
    global _on, _check_inf
    from ..nn.hooks import watch_modules

    _on, _check_inf = on, check_inf
    _core.watch(on)
    watch_modules(on)


def is_on() -> bool:
    """Whether NaN and infinities are being looked for."""
    return _on


@contextmanager
def inside(module: Any) -> Iterator[None]:
    """While ``module`` runs its forward."""
    _local.layers.append(module)
    try:
        yield
    finally:
        _local.layers.pop()


@contextmanager
def forward_again() -> Iterator[None]:
    """Operations inside are a forward pass, though a backward pass is running."""
    running, _local.running = _local.running, None
    try:
        yield
    finally:
        _local.running = running


def _layer() -> str | None:
    """The path of the innermost running module, in the outermost one."""
    layers = _local.layers
    if not layers:
        return None
    path = next((path for path, module in layers[0].named_modules() if module is layers[-1]), "")
    own: str | None = layers[0]._name
    return path or (own if len(layers) == 1 else None) or type(layers[-1]).__name__


def _where() -> str:
    """The line of the innermost caller that is not steep itself."""
    frame: Any = sys._getframe(1)
    last = frame
    while frame is not None and os.path.abspath(frame.f_code.co_filename).startswith(_PACKAGE):
        last, frame = frame, frame.f_back
    frame = frame or last
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _bad(x: Any) -> str | None:
    """What x holds that it should not: "NaN", "inf" or None."""
    if not isinstance(x, Tensor) or not x.dtype.is_floating_point or not x.size:
        return None
    x = x.detach()
    if _core.item(_core.any(_core.isnan(x), None, False)):
        return "NaN"
    if _check_inf and _core.item(_core.any(_core.isinf(x), None, False)):
        return "inf"
    return None


def _watch_result(out: Tensor, vjp: Callable[..., Any], inputs: tuple[Any, ...]) -> _Origin:
    """Called for every result: where it comes from. Raises AnomalyError if it holds NaN or an infinity."""
    running = _local.running
    if running is not None:  # what a vjp computes is looked at when it is done
        return running.origin or _Origin(None, "an operation recorded without detect_anomaly")
    origin = _Origin(_layer(), _where())
    name = _name(vjp)
    found = _bad(out) if name != "to_device" else None  # data come to a device before they are used
    if found is not None:
        cause = next((f"input {i} of shape {x.shape} holds {_bad(x)}" for i, x in enumerate(inputs) if _bad(x)), None)
        raise AnomalyError(
            f"the result of '{name}' of shape {out.shape} holds {found}; {cause or 'its inputs do not'}; {origin}",
            name,
            *origin,
        )
    return origin


def _watch_vjp(node: Node, gradient: Tensor, *saved: Any) -> Any:
    """Runs a node's vjp. Raises AnomalyError if a gradient that it returns holds NaN or an infinity."""
    before, _local.running = _local.running, node
    try:
        gradients = node.vjp(gradient, *saved)
    finally:
        _local.running = before
    for i, g in enumerate(gradients):
        found = _bad(g)
        if found is not None and g is not None:
            origin = node.origin or _Origin(None, "unknown: the forward pass ran outside detect_anomaly")
            given = (
                f"the gradient that came to it holds {_bad(gradient)}" if _bad(gradient) else "what came to it doesn't"
            )
            raise AnomalyError(
                f"the gradient of '{node.name}' holds {found}, for input {i} of shape {g.shape}; {given}; the forward "
                f"operation was recorded {origin}",
                node.name,
                *origin,
            )
    return gradients


def _name(vjp: Any) -> str:
    """As the engine names an operation by its vjp."""
    name: str = getattr(vjp, "__name__", type(vjp).__name__)
    return name.removesuffix("_vjp").removeprefix("_") or name


_core.set_watchers(_watch_result, _watch_vjp)
