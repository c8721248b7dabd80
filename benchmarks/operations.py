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

__all__ = ["ADD", "CHAIN", "ELEMENTWISE", "MATMUL", "ROWS", "SUMS", "Operation", "table_operations"]


@dataclass(frozen=True)
class Operation:
    """An operation and its derivative in NumPy's terms."""

    name: str
    value: Callable[..., Array]
    gradients: Callable[..., tuple[Array, ...]]  # of the output's gradient, the value, and the inputs
    low: float = -3.0  # of the inputs, which are uniform
    high: float = 3.0
    labels: bool = False  # a label for each row of the first input is an input too
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
    Operation("cross_entropy", _cross_entropy, _cross_entropy_gradient, labels=True),
]
SUMS = [
    Operation("row sum", lambda x: x.sum(1), lambda g, y, x: (np.broadcast_to(g[:, None], x.shape),), aliases=True),
    Operation("column sum", lambda x: x.sum(0), lambda g, y, x: (np.broadcast_to(g, x.shape),), aliases=True),
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
