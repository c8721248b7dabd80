"""Switching the tape on and off, and walking back over it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from .. import _core, autocasting
from .._core import Node, is_recording, record, set_recording
from ..checks import check_no_generator
from ..tensor import Tensor

__all__ = ["backward", "enable_grad", "grad", "is_grad_enabled", "no_grad"]

F = TypeVar("F", bound=Callable[..., Any])


class _GradMode:
    """Switches recording for a block, or for every call of a decorated function."""

    _on: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(set_recording(self._on))

    def __exit__(self, *exc: object) -> None:
        set_recording(self._before.pop())

    def __call__(self, function: F) -> F:
        mode = type(self)
        check_no_generator(mode.__name__, function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with mode():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]


class no_grad(_GradMode):
    """Context manager and decorator: operations inside are not recorded. Per thread.

    >>> import steep as st
    >>> w = st.ones(2, requires_grad=True)
    >>> with st.no_grad():
    ...     (w * 2).requires_grad
    False
    """

    _on = False


class enable_grad(_GradMode):
    """Context manager and decorator: operations inside are recorded, also within ``no_grad``."""

    _on = True


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread."""
    return is_recording()


def _fit(gradient: Tensor, edge: Node | Tensor) -> Tensor:
    """Undoes the broadcasting and the type promotion of an input: the one place where either is undone."""
    if gradient.shape != edge.shape:
        gradient = _sum_to(gradient, edge.shape)
    return gradient if gradient.dtype == edge.dtype else gradient.astype(edge.dtype)


def _sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return record(_core.sum_to_shape(x, shape), _sum_to_vjp, (x,), (x.shape,))


def _sum_to_vjp(g: Tensor, shape: tuple[int, ...]) -> tuple[Tensor]:
    return (g.broadcast_to(shape),)


def _seed(output: Tensor, gradient: Tensor | None, name: str) -> Tensor:
    if not output.requires_grad:
        raise RuntimeError(
            f"{name}: this tensor does not depend on any tensor with requires_grad=True (or was computed under no_grad)"
        )
    if gradient is None:
        if output.size != 1:
            raise RuntimeError(
                f"{name}: the output has shape {output.shape}, and only a single number has a gradient of its own: "
                "reduce it first, with .sum() or .mean(), or pass a gradient of that shape"
            )
        return _core.seed(output)
    if not isinstance(gradient, Tensor):
        raise TypeError(f"{name}: the gradient must be a Tensor, not {type(gradient).__name__}")
    if gradient.shape != output.shape:
        raise ValueError(
            f"{name}: the gradient has shape {gradient.shape}, the output {output.shape}: they must be equal"
        )
    if gradient.device is not output.device:
        raise ValueError(
            f"{name}: the gradient is on {gradient.device}, the output on {output.device}: "
            f"move it with gradient.to('{output.device}')"
        )
    return gradient.astype(output.dtype)


def _walk(
    roots: list[tuple[Tensor, Tensor]],
    retain_graph: bool,
    create_graph: bool,
    wanted: dict[int, Tensor | None] | None,
) -> None:
    if autocasting.blocks:
        with autocasting.backward_pass():
            _core.backpropagate(roots, retain_graph, create_graph, wanted, _fit)
    else:
        _core.backpropagate(roots, retain_graph, create_graph, wanted, _fit)


def backward(
    tensor: Tensor, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Adds the gradient of ``tensor`` with respect to every leaf it depends on to the leaf's ``.grad``.

    ``gradient`` is the gradient of the final result with respect to ``tensor`` (1 for a single number).
    The graph is freed unless ``retain_graph``. With ``create_graph`` the gradients are themselves differentiable; a
    leaf whose ``.grad`` has a graph back to itself is freed only when ``.grad`` is set to None: prefer ``steep.grad``.
    Raises RuntimeError without a graph, on a second backward through a freed one, and if a saved value was changed in
    place.

    >>> import steep as st
    >>> x = st.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """
    seed = _seed(tensor, gradient, "backward")
    retain_graph = create_graph if retain_graph is None else retain_graph
    _walk([(tensor, seed)], retain_graph, create_graph, None)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of (the sum of) ``outputs`` with respect to ``inputs``, as a tuple; ``.grad`` stays as it is.

    Raises RuntimeError if an input was not used, unless ``allow_unused``, which gives None for it.

    >>> import steep as st
    >>> x = st.tensor(3.0, requires_grad=True)
    >>> (g,) = st.grad(x**3, x, create_graph=True)
    >>> st.grad(g, x)
    (tensor(18.),)
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not outputs or not inputs:
        raise ValueError("grad: there must be at least one output and one input")
    for x in (*outputs, *inputs):
        if not isinstance(x, Tensor):
            raise TypeError(f"grad: outputs and inputs must be Tensors, not {type(x).__name__}")
    if grad_outputs is None or isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs] if grad_outputs is not None else [None] * len(outputs)  # type: ignore[list-item]
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"grad: {len(outputs)} outputs but {len(grad_outputs)} grad_outputs")
    for i, x in enumerate(inputs):
        if not x.requires_grad:
            raise RuntimeError(f"grad: input {i} has requires_grad=False")
    roots = [(y, _seed(y, g, "grad")) for y, g in zip(outputs, grad_outputs, strict=True)]
    keys = [id(x) if x._node is None else id(x._node) for x in inputs]
    wanted: dict[int, Tensor | None] = dict.fromkeys(keys)
    retain_graph = create_graph if retain_graph is None else retain_graph
    _walk(roots, retain_graph, create_graph, wanted)
    for i, key in enumerate(keys):
        if wanted[key] is None and not allow_unused:
            raise RuntimeError(f"grad: no output depends on input {i}; pass allow_unused=True to get None for it")
    return tuple(wanted[key] for key in keys)
