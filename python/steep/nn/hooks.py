"""Functions that run before and after a module's forward, and when its gradients have been computed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from .. import _core
from .._core import is_recording, record
from ..autograd import anomaly
from ..autograd.hooks import Handle
from ..devices import cpu
from ..dtypes import float32
from ..tensor import Tensor

if TYPE_CHECKING:
    from .module import Module

__all__ = ["Hooks", "add", "run", "watch_modules"]

Gradients = tuple[Tensor | None, ...]


class Hooks:
    """The hooks of a module, by kind, in the order in which they run."""

    def __init__(self) -> None:
        self.before: dict[Any, Any] = {}  # (hook, with_kwargs)
        self.after: dict[Any, Any] = {}  # (hook, with_kwargs, always_call)
        self.backward: dict[Any, Any] = {}


NO_HOOKS = Hooks()


def add(module: Module, kind: str, hook: Callable[..., Any], first: bool, *options: bool) -> Handle:
    """Adds a hook to a module."""
    if not callable(hook):
        raise TypeError(f"{module._label()}: a hook must be a function, not a {type(hook).__name__}")
    if "_hooks" not in module.__dict__:
        module.__dict__["_hooks"] = Hooks()
    return Handle(getattr(module._hooks, kind), (hook, *options) if options else hook, first)


def watch_modules(on: bool) -> None:
    """Lets every module go through ``run``, or only those with hooks."""
    from .module import Module

    Module._hooks = NO_HOOKS if on else None


def run(module: Module, hooks: Hooks, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What calling a module does if it has hooks, or anomalies are looked for."""
    called: set[Any] = set()
    try:
        return _run(module, hooks, args, kwargs, called)
    except Exception:
        for number, (hook, with_kwargs, always) in list(hooks.after.items()):
            if always and number not in called:
                try:
                    hook(module, args, kwargs, None) if with_kwargs else hook(module, args, None)
                except Exception as error:  # forward's own error matters more
                    warnings.warn(f"{module._label()}: a forward hook with always_call raised {error!r}", stacklevel=3)
        raise


def _run(module: Module, hooks: Hooks, args: tuple[Any, ...], kwargs: dict[str, Any], called: set[Any]) -> Any:
    for hook, with_kwargs in list(hooks.before.values()):
        if with_kwargs:
            given = hook(module, args, kwargs)
            if given is not None:
                if not isinstance(given, tuple) or len(given) != 2:
                    raise TypeError(
                        f"{module._label()}: a forward pre-hook with with_kwargs=True must return None or a pair "
                        f"(args, kwargs), not {given!r:.60}"
                    )
                args, kwargs = given
        else:
            given = hook(module, args)
            if given is not None:
                args = given if isinstance(given, tuple) else (given,)
    backward = _Backward(module, hooks) if hooks.backward and is_recording() else None
    if backward is not None:
        args = backward.inputs(args)
    with anomaly.inside(module) if anomaly.is_on() else nullcontext():
        out = module.forward(*args, **kwargs)
    for number, (hook, with_kwargs, _) in list(hooks.after.items()):
        called.add(number)
        changed = hook(module, args, kwargs, out) if with_kwargs else hook(module, args, out)
        if changed is not None:
            out = changed
    return out if backward is None else backward.outputs(out)


class _Backward:
    """The full backward hooks of one call: they see the gradients of all inputs and all outputs together."""

    def __init__(self, module: Module, hooks: Hooks) -> None:
        self.module = module
        self.hooks = hooks
        self.grad_output: Gradients = ()
        self.has_inputs = False

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.count = len(args)
        self.has_inputs = any(isinstance(x, Tensor) and x.requires_grad for x in args)
        return _gate(args, self._inputs_done)

    def outputs(self, out: Any) -> Any:
        if isinstance(out, Tensor):
            return _gate((out,), self._outputs_done)[0]
        if isinstance(out, tuple | list):
            return type(out)(_gate(tuple(out), self._outputs_done))
        raise TypeError(
            f"{self.module._label()} has a full backward hook, so its forward must return a Tensor or a tuple of them, "
            f"not a {type(out).__name__}"
        )

    def _outputs_done(self, gradients: Gradients) -> Gradients:
        if self.has_inputs:
            self.grad_output = gradients
        else:
            for hook in list(self.hooks.backward.values()):
                changed = hook(self.module, (None,) * self.count, gradients)
                if changed is not None and any(g is not None for g in _tuple(changed)):
                    raise RuntimeError(
                        f"{self.module._label()}: no input requires a gradient, so a full backward hook must return "
                        "None"
                    )
        return gradients

    def _inputs_done(self, gradients: Gradients) -> Gradients:
        grad_output, self.grad_output = self.grad_output, ()  # the graph must not hold what it computed
        for hook in list(self.hooks.backward.values()):
            changed = hook(self.module, gradients, grad_output)
            if changed is not None:
                if len(_tuple(changed)) != len(gradients):
                    raise RuntimeError(
                        f"{self.module._label()}: a full backward hook returned {len(_tuple(changed))} gradients for "
                        f"{len(gradients)} inputs"
                    )
                gradients = _tuple(changed)
        return gradients


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def _gate(values: tuple[Any, ...], passed: Callable[[Gradients], Gradients]) -> tuple[Any, ...]:
    """The values with nodes behind which all their gradients wait for each other: ``passed`` may change them.

    A node has one result. So each value gets a node that puts its gradient aside and sends a number on to one common
    node, which comes last, as it is the oldest.
    """
    places = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]
    if not places:
        return values
    waiting: dict[int, Tensor] = {}
    count = len(values)  # the vjp must not hold the values themselves
    shapes = {i: values[i].shape for i in places}

    def module_vjp(g: Tensor) -> Gradients:
        arrived = tuple(waiting.pop(i, None) for i in range(count))
        gradients = passed(arrived)
        for i in places:
            g_i = gradients[i]
            if g_i is not None and (not isinstance(g_i, Tensor) or g_i.shape != shapes[i]):
                raise RuntimeError(
                    f"a full backward hook returned {getattr(g_i, 'shape', g_i)!r} for an input of shape {shapes[i]}: "
                    "it must be a gradient of that shape, or None"
                )
        return tuple(gradients[i] for i in places)

    common = record(_core.full(float32, (), 0.0, cpu), module_vjp, tuple(values[i] for i in places))

    def passing(i: int) -> Tensor:
        def module_vjp(g: Tensor) -> tuple[Tensor]:
            waiting[i] = g
            return (_core.full(float32, (), 0.0, cpu),)

        return record(_core.alias(values[i]), module_vjp, (common,))

    return tuple(passing(i) if i in places else x for i, x in enumerate(values))
