"""Derivatives of functions: gradients, Jacobians and Hessians, and their products with vectors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..checks import shown
from ..ops import reshape, stack, zeros, zeros_like
from ..tensor import Tensor
from .tape import enable_grad, grad

__all__ = ["hessian", "jacobian", "jvp", "value_and_grad", "vjp"]

Tensors = Tensor | tuple[Tensor, ...]


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
            if not isinstance(args[i], Tensor):
                raise TypeError(f"value_and_grad: argument {i} must be a Tensor, not {shown(args[i])}: see argnums")
            copies[i] = args[i].detach()
            copies[i].requires_grad = True
        with enable_grad():
            value = function(*copies, **kwargs)
        gradients = grad(value, [copies[i] for i in numbers])
        return value.detach(), gradients[0] if isinstance(argnums, int) else gradients

    return wrapper


def vjp(function: Callable[..., Tensor], inputs: Any, v: Tensor | None = None, create_graph: bool = False) -> Any:
    """(function(*inputs), vᵀ·J) with the Jacobian J: a product for each input, in a tuple if ``inputs`` is one.

    ``v`` has the shape of the result; it may be left out where that is one number. With ``create_graph`` both can be
    differentiated. Raises ValueError for a ``v`` of another shape.

    >>> import steep as st
    >>> st.autograd.vjp(lambda x: x * x, st.tensor([1.0, 3.0]), st.tensor([1.0, 10.0]))
    (tensor([1., 9.]), tensor([ 2., 60.]))
    """
    leaves, out = _evaluated("vjp", function, inputs, create_graph)
    products = _gradients(out, leaves, v, create_graph, create_graph)
    return out if create_graph else out.detach(), _like(inputs, products)


def jvp(function: Callable[..., Tensor], inputs: Any, v: Any = None, create_graph: bool = False) -> Any:
    """(function(*inputs), J·v) with the Jacobian J, for ``v`` of the inputs' shapes, in a tuple if they are.

    ``v`` may be left out for one input of one number. It takes two backward passes: vᵀ·J is linear in v, and its
    derivative by v is the product. Raises ValueError for a ``v`` of other shapes.

    >>> import steep as st
    >>> st.autograd.jvp(lambda x: x * x, st.tensor([1.0, 3.0]), st.tensor([1.0, 10.0]))
    (tensor([1., 9.]), tensor([ 2., 60.]))
    """
    leaves, out = _evaluated("jvp", function, inputs, create_graph)
    if v is None:
        if len(leaves) != 1 or leaves[0].size != 1:
            raise ValueError("jvp: v can be left out only for one input of one number")
        v = leaves[0].detach() * 0 + 1
    directions = v if isinstance(v, tuple | list) else (v,)
    if [x.shape for x in directions] != [x.shape for x in leaves]:
        raise ValueError(f"jvp: v has shapes {[x.shape for x in directions]}, the inputs {[x.shape for x in leaves]}")
    u = zeros_like(out.detach())
    u.requires_grad = True
    with enable_grad():
        products = grad(out, leaves, u, create_graph=True, allow_unused=True) if out.requires_grad else ()
    pairs = [(p, d) for p, d in zip(products, directions, strict=False) if p is not None and p.requires_grad]
    if pairs:
        (product,) = grad([p for p, _ in pairs], u, [d for _, d in pairs], create_graph=create_graph)
    else:
        product = zeros_like(out.detach())
    return out if create_graph else out.detach(), product


def jacobian(function: Callable[..., Tensor], inputs: Any, create_graph: bool = False) -> Any:
    """∂function(*inputs) / ∂input, of shape (*result.shape, *input.shape), in a tuple if ``inputs`` is one.

    A backward pass for each element of the result. With ``create_graph`` it can be differentiated.

    >>> import steep as st
    >>> st.autograd.jacobian(lambda x: x * x[0], st.tensor([1.0, 3.0]))
    tensor([[2., 0.],
            [3., 1.]])
    """
    leaves, out = _evaluated("jacobian", function, inputs, create_graph)
    return _like(inputs, _jacobians(out, leaves, create_graph))


def hessian(function: Callable[..., Tensor], inputs: Any, create_graph: bool = False) -> Any:
    """The second derivatives of a function with one number as its result.

    Of shape (*input.shape, *input.shape); for a tuple of inputs a tuple of tuples, [i][j] by inputs i and j. Raises
    ValueError for a result of several elements.

    >>> import steep as st
    >>> st.autograd.hessian(lambda x: x[0] ** 2 * x[1], st.tensor([1.0, 3.0]))
    tensor([[6., 2.],
            [2., 0.]])
    """
    leaves, out = _evaluated("hessian", function, inputs, create_graph)
    if out.size != 1:
        raise ValueError(f"hessian: the result has shape {out.shape}: it must be one number")
    with enable_grad():
        first = _gradients(out, leaves, None, True, True)
    rows = tuple(_like(inputs, _jacobians(g, leaves, create_graph)) for g in first)
    return rows if isinstance(inputs, tuple | list) else rows[0]


def _evaluated(
    name: str, function: Callable[..., Tensor], inputs: Any, create_graph: bool
) -> tuple[list[Tensor], Tensor]:
    """The inputs as leaves, or with their graphs, and the result."""
    leaves = []
    for x in inputs if isinstance(inputs, tuple | list) else (inputs,):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: inputs must be a Tensor or a tuple of Tensors, not {type(x).__name__}")
        if not (create_graph and x.requires_grad):
            x = x.detach()
            x.requires_grad = True
        leaves.append(x)
    with enable_grad():
        out = function(*leaves)
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}: the function must return a Tensor, not {type(out).__name__}")
    return leaves, out


def _like(inputs: Any, results: Sequence[Any]) -> Any:
    return tuple(results) if isinstance(inputs, tuple | list) else results[0]


def _gradients(
    out: Tensor, leaves: list[Tensor], v: Tensor | None, retain_graph: bool, create_graph: bool
) -> list[Tensor]:
    """Zeros where the result doesn't depend on a leaf."""
    if not out.requires_grad:
        return [zeros_like(x.detach()) for x in leaves]
    found = grad(out, leaves, v, retain_graph, create_graph, allow_unused=True)
    return [zeros_like(x.detach()) if g is None else g for g, x in zip(found, leaves, strict=True)]


def _jacobians(out: Tensor, leaves: list[Tensor], create_graph: bool) -> list[Tensor]:
    rows: list[list[Tensor]] = [[] for _ in leaves]
    for i in range(out.size):
        seed = zeros((out.size,), dtype=out.dtype, device=out.device)
        seed[i] = 1
        gradients = _gradients(out, leaves, reshape(seed, out.shape), True, create_graph)
        for row, g in zip(rows, gradients, strict=True):
            row.append(g)
    return [
        reshape(stack(row), (*out.shape, *x.shape))
        if row
        else zeros((*out.shape, *x.shape), dtype=x.dtype, device=x.device)
        for row, x in zip(rows, leaves, strict=True)
    ]
