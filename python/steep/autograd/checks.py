"""Gradients held against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops._apply import as_tensor
from ..tensor import Tensor
from .tape import enable_grad, grad

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(AssertionError):
    """A gradient differs from the finite difference."""


def _checked(name: str, inputs: Sequence[Any]) -> list[int]:
    """The places of the inputs that want gradients."""
    places = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not places:
        raise ValueError(f"{name}: no input has requires_grad=True")
    return places


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
    checked = _checked("gradcheck", inputs)
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


def gradgradcheck(function: Callable[..., Tensor], inputs: Sequence[Tensor], seed: int = 0, **options: Any) -> bool:
    """The same for the gradients themselves, as functions of the inputs and of the gradient of the output.

    ``options`` are those of ``gradcheck``, which see.

    >>> import steep as st
    >>> st.autograd.gradgradcheck(st.tanh, [st.tensor([0.5, -2.0], dtype=st.float64, requires_grad=True)])
    True
    """
    checked = _checked("gradgradcheck", inputs)
    rng = np.random.default_rng(seed)
    out = function(*inputs)
    g = as_tensor(rng.standard_normal(out.shape), out).astype(out.dtype)
    g.requires_grad = True
    weights = [as_tensor(rng.standard_normal(inputs[i].shape), inputs[i]) for i in checked]

    def first(g: Tensor, *inputs: Tensor) -> Tensor:
        gradients = grad(function(*inputs), [inputs[i] for i in checked], g, create_graph=True, allow_unused=True)
        terms = [(d * w).sum() for d, w in zip(gradients, weights, strict=True) if d is not None]
        return sum(terms[1:], terms[0]) if terms else g.sum() * 0.0

    return gradcheck(first, [g, *inputs], seed=seed, **options)
