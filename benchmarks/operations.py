"""The operations that have rows of their own, in NumPy's terms: what float64 makes of them is the right result.

The other rows of steep's table of elementwise operations follow by themselves; there steep's own float64, which the
tests compare with mpmath, is what results are held against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import steep as st

from .peers import Array, multiply_ten_times

__all__ = ["ADD", "CHAIN", "ELEMENTWISE", "MATMUL", "OTHERS", "ROWS", "SUMS", "Operation", "table_operations"]


@dataclass(frozen=True)
class Operation:
    """An operation and its derivative in NumPy's terms."""

    name: str
    value: Callable[..., Array]
    gradients: Callable[..., tuple[Array, ...]]  # of the output's gradient, the value, and the inputs
    low: float = -3.0  # of the inputs, which are uniform
    high: float = 3.0
    labels: int = 0  # so many for each row of the first input are an input too
    aliases: bool = False  # its gradient is the output's gradient itself: nothing has to be computed


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _erf(x: Array) -> Array:
    return np.fromiter(map(math.erf, x.ravel()), x.dtype, x.size).reshape(x.shape)


def _gelu(x: Array) -> Array:
    return np.asarray(x * (1 + _erf(x / 2**0.5)) / 2)


def _gelu_gradient(g: Array, y: Array, x: Array) -> tuple[Array, ...]:
    return (g * ((1 + _erf(x / 2**0.5)) / 2 + x * np.exp(-x * x / 2) / (2 * np.pi) ** 0.5),)


def _softmax(x: Array) -> Array:
    e: Array = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _softmax_gradient(g: Array, y: Array, x: Array) -> tuple[Array, ...]:
    return (y * (g - (g * y).sum(-1, keepdims=True)),)


def _log_softmax(x: Array) -> Array:
    shifted = x - x.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _log_softmax_gradient(g: Array, y: Array, x: Array) -> tuple[Array, ...]:
    return (g - np.exp(y) * g.sum(-1, keepdims=True),)


def _cross_entropy(x: Array, labels: Array) -> Array:
    return np.asarray(-_log_softmax(x)[np.arange(len(x)), labels].mean())


def _cross_entropy_gradient(g: Array, y: Array, x: Array, labels: Array) -> tuple[Array, ...]:
    p = _softmax(x)
    p[np.arange(len(x)), labels] -= 1
    return (g * p / len(x),)


MATMUL = {
    "": Operation("matmul", lambda a, b: a @ b, lambda g, y, a, b: (g @ b.T, a.T @ g)),
    "TN": Operation("matmul TN", lambda a, b: a.T @ b, lambda g, y, a, b: (b @ g.T, a @ g)),
    "NT": Operation("matmul NT", lambda a, b: a @ b.T, lambda g, y, a, b: (g @ b, g.T @ a)),
}
ADD = Operation("add", lambda a, b: a + b, lambda g, y, a, b: (g, g), aliases=True)
ELEMENTWISE = [
    ADD,
    Operation("exp", np.exp, lambda g, y, x: (g * y,)),
    Operation("tanh", np.tanh, lambda g, y, x: (g * (1 - y * y),)),
    Operation("relu", lambda x: np.maximum(x, 0), lambda g, y, x: (g * (x > 0),)),
    Operation("sigmoid", _sigmoid, lambda g, y, x: (g * y * (1 - y),)),
    Operation("gelu", _gelu, _gelu_gradient),
]
ROWS = [
    Operation("softmax", _softmax, _softmax_gradient),
    Operation("log_softmax", _log_softmax, _log_softmax_gradient),
    Operation("cross_entropy", _cross_entropy, _cross_entropy_gradient, labels=1),
]
SUMS = [
    Operation("row sum", lambda x: x.sum(1), lambda g, y, x: (np.broadcast_to(g[:, None], x.shape),), aliases=True),
    Operation("column sum", lambda x: x.sum(0), lambda g, y, x: (np.broadcast_to(g, x.shape),), aliases=True),
]


def _normalised(x: Array, center: bool) -> tuple[Array, Array]:
    centered = x - x.mean(-1, keepdims=True) if center else x
    scale = 1 / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5)
    return centered * scale, scale


def _norm(name: str, center: bool) -> Operation:
    """y = x̂ · weight [+ bias]; the gradient of x̂ is that of the mean and of the length taken off."""

    def value(x: Array, weight: Array, *bias: Array) -> Array:
        return np.asarray(_normalised(x, center)[0] * weight + sum(bias))

    def gradients(g: Array, y: Array, x: Array, weight: Array, *bias: Array) -> tuple[Array, ...]:
        unit, scale = _normalised(x, center)
        d = g * weight
        d = d - unit * (d * unit).mean(-1, keepdims=True) - (d.mean(-1, keepdims=True) if center else 0)
        return (d * scale, (g * unit).sum(0), *(g.sum(0) for _ in bias))

    return Operation(name, value, gradients)


def _scattered(shape: tuple[int, ...], index: Array, x: Array) -> Array:
    y = np.zeros(shape, x.dtype)
    np.add.at(y, (np.arange(len(index))[:, None], index), x)
    return y


def _batch_norm(x: Array, weight: Array, bias: Array) -> Array:
    flat = _normalised(x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1), True)[0].reshape(
        x.shape[1], len(x), *x.shape[2:]
    )
    return np.asarray(flat.transpose(1, 0, 2, 3) * weight[:, None, None] + bias[:, None, None])


def _distances(a: Array, b: Array) -> Array:
    return np.asarray(np.sqrt(((a[:, None] - b) ** 2).sum(-1)))


def _no_gradients(*ignored: Array) -> tuple[Array, ...]:
    raise NotImplementedError("these rows have no backward pass")


Shape = tuple[int, ...]
MATRIX = (1024, 1000)
# With the shapes of the inputs and of the output; and the modes that have a row.
OTHERS: list[tuple[Operation, tuple[Shape, ...], Shape, tuple[str, ...]]] = [
    (
        Operation("cumulative sum", lambda x: x.cumsum(1), lambda g, y, x: (g[:, ::-1].cumsum(1)[:, ::-1],)),
        (MATRIX,),
        MATRIX,
        ("forward", "backward"),
    ),
    (Operation("column cumulative sum", lambda x: x.cumsum(0), _no_gradients), (MATRIX,), MATRIX, ("forward",)),
    (Operation("sort", lambda x: np.sort(x, 1), _no_gradients), (MATRIX,), MATRIX, ("forward",)),
    (Operation("column sort", lambda x: np.sort(x, 0), _no_gradients), (MATRIX,), MATRIX, ("forward",)),
    (Operation("top 10", lambda x: np.sort(x, 1)[:, :-11:-1], _no_gradients), (MATRIX,), (1024, 10), ("forward",)),
    (
        Operation(
            "take_along_axis",
            lambda x, index: np.take_along_axis(x, index, 1),
            lambda g, y, x, index: (_scattered(x.shape, index, g),),
            labels=100,
        ),
        (MATRIX,),
        (1024, 100),
        ("forward", "backward"),
    ),
    (
        Operation("scatter_add", lambda x, index: _scattered(MATRIX, index, x), _no_gradients, labels=100),
        ((1024, 100),),
        MATRIX,
        ("forward",),
    ),
    (_norm("layer_norm", True), (MATRIX, (1000,), (1000,)), MATRIX, ("forward", "backward")),
    (_norm("rms_norm", False), (MATRIX, (1000,)), MATRIX, ("forward", "backward")),
    (
        Operation("batch_norm", _batch_norm, _no_gradients),
        ((64, 32, 14, 14), (32,), (32,)),
        (64, 32, 14, 14),
        ("forward",),
    ),
    (
        Operation(
            "einsum bij,bkj->bik", lambda a, b: a @ b.swapaxes(1, 2), lambda g, y, a, b: (g @ b, g.swapaxes(1, 2) @ a)
        ),
        ((32, 128, 64), (32, 128, 64)),
        (32, 128, 128),
        ("forward", "backward"),
    ),
    (Operation("cdist", _distances, _no_gradients), ((500, 64), (600, 64)), (500, 600), ("forward",)),
]
CHAIN = Operation(
    "10 multiplications", multiply_ten_times, lambda g, y, a, b: (g * b**10, g * 10 * a * b**9), low=0.9, high=1.1
)


DOMAINS = {"asin": (-0.9, 0.9), "acos": (-0.9, 0.9), "atanh": (-0.9, 0.9), "acosh": (1.1, 3.0)}


def table_operations() -> Iterator[Operation]:
    """The operations of one argument that have no row above."""
    known = {operation.name for operation in ELEMENTWISE}
    for name, row in st._core.unary.items():
        if name in known or row["params"] or not row["differentiable"] or not hasattr(st, name):
            continue
        function = getattr(st, name)

        def value(x: Array, function: Callable[..., Any] = function) -> Array:
            return np.asarray(function(x).numpy())

        def gradients(g: Array, y: Array, x: Array, function: Callable[..., Any] = function) -> tuple[Array, ...]:
            t = st.tensor(x, requires_grad=True)
            return (np.asarray(st.grad(function(t), t, st.tensor(g))[0]),)

        low, high = DOMAINS.get(name, (0.1, 3.0))
        yield Operation(name, value, gradients, low=low, high=high)
