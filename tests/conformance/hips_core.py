"""What HIPS/autograd calls its core, over steep's tape: vector spaces, and products with Jacobians from either side.

Values are tensors, and tuples, lists and dictionaries of them; numbers and NumPy's arrays become tensors of float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from suite import LeftOutError

import steep as st

RNG = np.random.default_rng(0)
depth = 0  # of functions that are being differentiated: gradients within one are recorded


def is_complex(x: Any) -> bool:
    """Whether there is a complex number among the leaves."""
    return any(np.iscomplexobj(leaf) for leaf in flat(x) if not isinstance(leaf, st.Tensor))


def flat(x: Any) -> list[Any]:
    """The leaves of nested tuples, lists and dictionaries."""
    if isinstance(x, dict):
        return [leaf for value in x.values() for leaf in flat(value)]
    if isinstance(x, tuple | list):
        return [leaf for item in x for leaf in flat(item)]
    return [x]


def like(x: Any, leaves: Iterator[Any]) -> Any:
    """``leaves`` in the structure of ``x``."""
    if isinstance(x, dict):
        return {key: like(value, leaves) for key, value in x.items()}
    if isinstance(x, tuple | list):
        return type(x)([like(item, leaves) for item in x])
    return next(leaves)


def mapped(function: Callable[..., Any], x: Any, *others: Any) -> Any:
    return like(x, map(function, flat(x), *map(flat, others)))


def as_value(x: Any) -> st.Tensor:
    """A leaf as a tensor of floats."""
    if not isinstance(x, st.Tensor):
        if np.iscomplexobj(x):
            raise LeftOutError("complex numbers")
        x = st.tensor(np.asarray(x))
    return x if x.dtype.is_floating_point else x.astype(st.float64)


class VSpace:
    """The vectors of a value's structure, shapes and dtypes."""

    iscomplex = False

    def __init__(self, value: Any) -> None:
        self._like = mapped(lambda x: as_value(x).detach(), value)
        self.size = sum(x.size for x in flat(self._like))
        if isinstance(self._like, st.Tensor):
            self.shape = self._like.shape

    def __repr__(self) -> str:
        return repr(mapped(lambda x: (x.shape, x.dtype.name), self._like))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VSpace) and repr(self) == repr(other)

    def zeros(self) -> Any:
        return mapped(st.zeros_like, self._like)

    def ones(self) -> Any:
        return mapped(st.ones_like, self._like)

    def randn(self) -> Any:
        return mapped(lambda x: st.tensor(RNG.standard_normal(x.shape), x.dtype), self._like)

    def standard_basis(self) -> Iterator[Any]:
        for i in range(self.size):
            row = np.zeros(self.size)
            row[i] = 1
            parts = np.split(row, np.cumsum([x.size for x in flat(self._like)])[:-1])
            yield mapped(lambda x, part: st.tensor(part.reshape(x.shape), x.dtype), self._like, list(parts))

    def add(self, x: Any, y: Any) -> Any:
        return mapped(lambda a, b: as_value(a) + as_value(b), x, y)

    def scalar_mul(self, x: Any, a: Any) -> Any:
        return mapped(lambda leaf: as_value(leaf) * a, x)

    def inner_prod(self, x: Any, y: Any) -> Any:
        return sum((st.sum(as_value(a) * as_value(b)) for a, b in zip(flat(x), flat(y), strict=True)), 0.0)

    def covector(self, x: Any) -> Any:
        return x


def _traced(x: st.Tensor) -> st.Tensor:
    """A variable of its own to differentiate by, which still leads back to where x comes from."""
    return x.copy() if x.requires_grad else x.detach().requires_grad_()


def _run(function: Callable[..., Any], x: Any) -> Any:
    global depth
    depth += 1
    try:
        return mapped(as_value, function(x))
    finally:
        depth -= 1


def make_vjp(function: Callable[..., Any], x: Any) -> tuple[Callable[[Any], Any], Any]:
    """The map from v to vᵀ·J, and the function's value."""
    x = mapped(lambda leaf: _traced(as_value(leaf)), x)
    out = _run(function, x)

    def vjp(v: Any) -> Any:
        pairs = [(y, as_value(g)) for y, g in zip(flat(out), flat(v), strict=True) if y.requires_grad]
        found: tuple[Any, ...] = (None,) * len(flat(x))
        if pairs and flat(x):
            outputs, cotangents = zip(*pairs, strict=True)
            found = st.grad(outputs, flat(x), cotangents, True, create_graph=depth > 0, allow_unused=True)
        return mapped(lambda leaf, g: st.zeros_like(leaf.detach()) if g is None else g, x, list(found))

    return vjp, out if depth else mapped(lambda y: y.detach(), out)


def make_jvp(function: Callable[..., Any], x: Any) -> Callable[[Any], tuple[Any, Any]]:
    """The map from v to the function's value and J·v, by ``steep.autograd.jvp``."""
    x = mapped(as_value, x)

    def jvp(v: Any) -> tuple[Any, Any]:
        outputs: list[Any] = []

        def joined(*leaves: st.Tensor) -> st.Tensor:
            outputs.append(_run(function, like(x, iter(leaves))))
            parts = flat(outputs[0])
            return parts[0] if parts == [outputs[0]] else st.concat([st.reshape(y, -1) for y in parts])

        leaves = tuple(leaf.copy() if leaf.requires_grad else leaf for leaf in flat(x))
        value, product = st.autograd.jvp(joined, leaves, tuple(map(as_value, flat(v))), create_graph=depth > 0)
        return _split(value, outputs[0]), _split(product, outputs[0])

    return jvp


class Primitive:
    """autograd's ``primitive``, with the vjps that ``defvjp`` gives it, as a ``steep.autograd.Function``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.__name__ = function, function.__name__
        self.vjps: tuple[Callable[..., Any], ...] = ()

    def __call__(self, *args: Any) -> Any:
        if not any(getattr(x, "requires_grad", False) for x in args):
            return self.function(*args)
        if not self.vjps:
            raise NotImplementedError(f"{self.__name__} has no vjp")

        class Recorded(st.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *args: Any) -> st.Tensor:
                y = self.function(*args)
                ctx.save_for_backward(y, *args)
                return y

            @staticmethod
            def backward(ctx: Any, g: st.Tensor) -> Any:
                return tuple(vjp(*ctx.saved_tensors)(g) for vjp in self.vjps)

        return Recorded.apply(*map(as_value, args))


def defvjp(primitive: Primitive, *vjps: Callable[..., Any]) -> None:
    primitive.vjps = vjps


def _split(joined: st.Tensor, out: Any) -> Any:
    if isinstance(out, st.Tensor):
        return joined
    parts = iter(st.split(joined, [y.size for y in flat(out)]))
    return mapped(lambda y: st.reshape(next(parts), y.shape), out)
