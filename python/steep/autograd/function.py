"""Operations with a forward and a backward of your own."""

from __future__ import annotations

from typing import Any

from .. import _core
from .._core import is_recording, record
from ..tensor import Tensor
from .tape import no_grad

__all__ = ["Function"]


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
