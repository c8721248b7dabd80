"""The tape: recording operations, walking back over them, and checking the result.

An operation runs its kernel and calls ``record(out, vjp, inputs, saved)``, which hangs a node on ``out`` if an input
needs a gradient. ``vjp(g, *saved)`` is the vector-Jacobian product: given the gradient ``g`` of the output it returns
one gradient (or None) for each input. It is written with steep's own operations, so that it can be recorded too
(``create_graph=True``). A node knows its inputs' nodes, not their values: only what the vjp reads is kept alive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from . import _core
from ._core import Node, is_recording, record, set_recording
from .ops._apply import as_tensor
from .tensor import Tensor

__all__ = [
    "Function",
    "GradcheckError",
    "backward",
    "enable_grad",
    "grad",
    "gradcheck",
    "is_grad_enabled",
    "no_grad",
    "record",
    "value_and_grad",
]

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
        if getattr(getattr(function, "__code__", None), "co_flags", 0) & 0x20:  # inspect.CO_GENERATOR
            raise TypeError(
                f"{mode.__name__} cannot decorate a generator: use 'with steep.{mode.__name__}():' inside it"
            )

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
        return _core.full(output.dtype, output.shape, 1.0, output.device)
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
    _core.backpropagate([(tensor, seed)], retain_graph, create_graph, None, _fit)


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
    _core.backpropagate(roots, retain_graph, create_graph, wanted, _fit)
    for i, key in enumerate(keys):
        if wanted[key] is None and not allow_unused:
            raise RuntimeError(f"grad: no output depends on input {i}; pass allow_unused=True to get None for it")
    return tuple(wanted[key] for key in keys)


def value_and_grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., tuple[Tensor, Any]]:
    """A function that returns ``(value, gradient)`` of ``function`` with respect to its arguments ``argnums``.

    The gradient is a Tensor for one argument number, a tuple for several.

    >>> import steep as st
    >>> st.value_and_grad(lambda x: (x * x).sum())(st.tensor([1.0, 3.0]))
    (tensor(10.), tensor([2., 6.]))
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        copies = list(args)
        for i in numbers:
            copies[i] = args[i].detach()
            copies[i].requires_grad = True
        with enable_grad():
            value = function(*copies, **kwargs)
        gradients = grad(value, [copies[i] for i in numbers])
        return value.detach(), gradients[0] if isinstance(argnums, int) else gradients

    return wrapper


class Context:
    """What a ``Function`` hands from its forward to its backward: any attribute, and saved tensors."""

    def __init__(self) -> None:
        self.saved_tensors: tuple[Tensor, ...] = ()
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keeps tensors for the backward pass: inputs, the output, or others. Changes in place are detected."""
        self.saved_tensors = tensors


class Function:
    """A differentiable operation with a forward and a backward of your own.

    Subclass it with two static methods and call ``apply``. ``forward(ctx, *args)`` returns one Tensor;
    ``backward(ctx, g)`` returns a gradient (or None) for each argument of forward.

    >>> import steep as st
    >>> class Cube(st.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x * x * g
    >>> x = st.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Tensor:
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Any:
        raise NotImplementedError("a Function needs a static method backward(ctx, g)")

    @classmethod
    def apply(cls, *args: Any) -> Tensor:
        """Runs forward on ``args`` and records backward as its vjp."""
        ctx = Context()
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        with no_grad():
            out = cls.forward(ctx, *args)
        if not isinstance(out, Tensor):
            raise TypeError(f"{cls.__name__}.forward must return one Tensor, not {type(out).__name__}")
        saved, ctx.saved_tensors = ctx.saved_tensors, ()
        # The node goes on a tensor of its own: `out` may be an argument, or be held by ctx or by anybody else.
        given, out = out, _core.alias(out)
        saved = tuple(out if s is given else s for s in saved)

        shapes = [a.shape if isinstance(a, Tensor) else None for a in args]
        devices = [a.device if isinstance(a, Tensor) else None for a in args]

        def vjp(g: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
            ctx.saved_tensors = saved
            try:
                gradients = cls.backward(ctx, g)
            finally:
                ctx.saved_tensors = ()
            gradients = gradients if isinstance(gradients, tuple) else (gradients,)
            if len(gradients) != len(shapes):
                raise RuntimeError(
                    f"{cls.__name__}.backward returned {len(gradients)} gradients for {len(shapes)} arguments of "
                    "forward (None stands for an argument without one)"
                )
            for i, d in enumerate(gradients):
                if d is None or not ctx.needs_input_grad[i]:
                    continue
                if not isinstance(d, Tensor) or d.shape != shapes[i]:
                    got = f"a Tensor of shape {d.shape}" if isinstance(d, Tensor) else f"a {type(d).__name__}"
                    raise RuntimeError(
                        f"{cls.__name__}.backward returned {got} for argument {i}, which has shape {shapes[i]}"
                    )
                if d.device is not devices[i]:
                    raise RuntimeError(
                        f"{cls.__name__}.backward returned a Tensor on {d.device} for argument {i}, "
                        f"which is on {devices[i]}"
                    )
            # A tensor that somebody else holds must not become a .grad that is added to in place.
            kept = (d if needed else None for d, needed in zip(gradients, ctx.needs_input_grad, strict=True))
            return tuple(d if d is None or is_recording() else _core.alias(d) for d in kept)

        vjp.__name__ = cls.__name__
        return record(out, vjp, args, saved)


class GradcheckError(AssertionError):
    """A gradient differs from the finite difference."""


def gradcheck(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    projections: int = 3,
    seed: int = 0,
) -> bool:
    """Compares backward with central finite differences along random directions; the cost doesn't grow with the size.

    For random u and v it checks ⟨vjp(u), v⟩ = d/dt ⟨u, f(x + t·v)⟩ at t = 0, for all inputs that require gradients at
    once. ``inputs`` must be float64. Returns True or raises GradcheckError with both numbers.

    >>> import steep as st
    >>> st.autograd.gradcheck(st.tanh, [st.tensor([0.5, -2.0], dtype=st.float64, requires_grad=True)])
    True
    """
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input has requires_grad=True")
    for i in checked:
        if inputs[i].dtype.name != "float64":
            raise TypeError(f"gradcheck: input {i} is {inputs[i].dtype.name}; finite differences need float64")
    rng = np.random.default_rng(seed)
    leaves = [x.detach() if isinstance(x, Tensor) else x for x in inputs]
    for i in checked:
        leaves[i].requires_grad = True
    for _ in range(projections):
        with enable_grad():
            out = function(*leaves)
        u = rng.standard_normal(out.shape)
        gradients = grad(
            out, [leaves[i] for i in checked], as_tensor(np.asarray(u), out).astype(out.dtype), allow_unused=True
        )
        directions = [rng.standard_normal(inputs[i].shape) for i in checked]

        def moved(t: float, directions: list[Any] = directions, u: Any = u) -> float:
            shifted = list(leaves)
            for i, v in zip(checked, directions, strict=True):
                shifted[i] = as_tensor(np.asarray(inputs[i].detach().numpy() + t * v), inputs[i])
                shifted[i].requires_grad = True  # the function may itself take gradients
            return float(np.sum(u * function(*shifted).numpy()))

        numeric = (moved(eps) - moved(-eps)) / (2 * eps)
        analytic = sum(
            float(np.sum(g.detach().numpy() * v)) for g, v in zip(gradients, directions, strict=True) if g is not None
        )
        if not abs(numeric - analytic) <= atol + rtol * max(abs(numeric), abs(analytic)):
            raise GradcheckError(f"gradcheck: finite differences give {numeric!r}, backward gives {analytic!r}")
    return True
