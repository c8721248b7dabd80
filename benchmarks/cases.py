"""The rows for single operations.

The expected results are computed here in float64 by NumPy. The other rows of steep's table of elementwise operations
follow by themselves; there steep's own float64, which the tests compare with mpmath, is what results are held against.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import steep as st

from .peers import Array, Call, Library

__all__ = ["Case", "kernel_cases"]


class Case(Protocol):
    """A row of the table: the work, and the result that every library must have."""

    @property
    def name(self) -> str: ...

    @property
    def group(self) -> str:
        """What its ratios are averaged with."""

    @property
    def quick(self) -> bool:
        """Whether it is part of a quick run too."""

    def expected(self) -> Sequence[Array]:
        """The right result, in float64."""

    def check(self, library: Library) -> Sequence[Array] | None:
        """A library's result; None if it has no such operation."""

    def prepare(self, library: Library) -> Call:
        """The call to be timed."""

    def rest(self, library: Library) -> float:
        """How long to wait after this library."""


@dataclass(frozen=True)
class Operation:
    """An operation and its derivative in NumPy's terms."""

    name: str
    value: Callable[..., Array]
    gradients: Callable[..., tuple[Array, ...]]  # of the output's gradient, the value, and the inputs
    low: float = -3.0  # of the inputs, which are uniform
    high: float = 3.0


@dataclass(frozen=True)
class KernelCase:
    """One operation on inputs of given shapes: forward, taped or backward."""

    operation: Operation
    shapes: tuple[tuple[int, ...], ...]
    label: str  # the shapes for people
    mode: str = "forward"
    quick: bool = True

    @property
    def group(self) -> str:
        first = self.operation.name.split()[0]
        return first if first in ("matmul", "softmax") else "elementwise"

    @property
    def name(self) -> str:
        suffix = {"forward": "", "taped": ", with grad", "backward": " backward"}[self.mode]
        return f"{self.operation.name} {self.label}{suffix}"

    def _inputs(self) -> list[Array]:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        low, high = self.operation.low, self.operation.high
        return [np.asarray(rng.uniform(low, high, shape), np.float32) for shape in self.shapes]

    def _gradient(self) -> Array:
        shape = self.operation.value(*self._inputs()).shape
        return np.asarray(np.random.default_rng(0).uniform(-1, 1, shape), np.float32)

    def expected(self) -> Sequence[Array]:
        inputs = [x.astype(np.float64) for x in self._inputs()]
        value = self.operation.value(*inputs)
        if self.mode != "backward":
            return (value,)
        return self.operation.gradients(self._gradient().astype(np.float64), value, *inputs)

    def _call(self, library: Library) -> Call | None:
        if self.mode == "backward":
            return library.backward(self.operation.name, self._inputs(), self._gradient())
        run = library.taped if self.mode == "taped" else library.forward
        return run(self.operation.name, self._inputs())

    def check(self, library: Library) -> Sequence[Array] | None:
        call = self._call(library)
        if call is None:
            return None
        result = call()
        return [library.numpy(y) for y in (result if isinstance(result, (tuple, list)) else [result])]

    def prepare(self, library: Library) -> Call:
        call = self._call(library)
        assert call is not None
        return call

    def rest(self, library: Library) -> float:
        # NumPy has threads for matrix products only.
        return 0.0 if library.name == "NumPy" and self.group != "matmul" else library.rest


def _softmax(x: Array) -> Array:
    e: Array = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _softmax_gradient(g: Array, y: Array, x: Array) -> tuple[Array, ...]:
    return (y * (g - (g * y).sum(-1, keepdims=True)),)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


MATMUL = {
    "": Operation("matmul", lambda a, b: a @ b, lambda g, y, a, b: (g @ b.T, a.T @ g)),
    "TN": Operation("matmul TN", lambda a, b: a.T @ b, lambda g, y, a, b: (b @ g.T, a @ g)),
    "NT": Operation("matmul NT", lambda a, b: a @ b.T, lambda g, y, a, b: (g @ b, g.T @ a)),
}
ADD = Operation("add", lambda a, b: a + b, lambda g, y, a, b: (g, g))
ELEMENTWISE = [
    ADD,
    Operation("exp", np.exp, lambda g, y, x: (g * y,)),
    Operation("tanh", np.tanh, lambda g, y, x: (g * (1 - y * y),)),
    Operation("relu", lambda x: np.maximum(x, 0), lambda g, y, x: (g * (x > 0),)),
    Operation("sigmoid", _sigmoid, lambda g, y, x: (g * y * (1 - y),)),
]
SOFTMAX = Operation("softmax", _softmax, _softmax_gradient)

# M, K, N; which of the two operands is stored transposed; whether forward and backward are in a quick run.
MATMUL_SHAPES: list[tuple[int, int, int, str, bool, bool]] = [
    (64, 64, 64, "", True, True),
    (128, 128, 128, "", False, False),
    (256, 256, 256, "", True, True),
    (512, 512, 512, "", False, False),
    (1024, 1024, 1024, "", True, False),
    (2048, 2048, 2048, "", False, False),
    (64, 784, 512, "", True, True),
    (256, 784, 512, "", False, False),
    (64, 512, 10, "", False, False),
    (1024, 10, 1024, "", False, False),
    (200, 300, 17, "", True, False),
    (784, 64, 512, "TN", True, False),
    (64, 512, 784, "NT", True, False),
]


def _table_operations() -> Iterator[Operation]:
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

        yield Operation(name, value, gradients, low=0.1)


def kernel_cases() -> Iterator[KernelCase]:
    """All rows for single operations."""
    for m, k, n, transposed, quick, quick_backward in MATMUL_SHAPES:
        shapes = ((k, m) if transposed == "TN" else (m, k), (n, k) if transposed == "NT" else (k, n))
        label = f"{m}x{k}x{n}"
        yield KernelCase(MATMUL[transposed], shapes, label, "forward", quick)
        yield KernelCase(MATMUL[transposed], shapes, label, "backward", quick_backward)
    yield KernelCase(ADD, ((1,), (1,)), "1 element")
    yield KernelCase(ADD, ((1,), (1,)), "1 element", "taped")
    for operation in ELEMENTWISE:
        for power in (3, 5, 6, 7):
            inputs = ((10**power,),) * (2 if operation is ADD else 1)
            for mode in ("forward", "backward"):
                yield KernelCase(operation, inputs, f"1e{power}", mode, power < 7)
    for operation in _table_operations():
        for mode in ("forward", "backward"):
            yield KernelCase(operation, ((10**5,),), "1e5", mode, quick=False)
    for rows, columns, quick in ((64, 10, True), (1024, 1000, True), (4096, 4096, False)):
        for mode in ("forward", "backward"):
            yield KernelCase(SOFTMAX, ((rows, columns),), f"{rows}x{columns}", mode, quick)


def largest_difference(results: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest difference over the largest expected value; infinite where a shape or a NaN differs."""
    if len(results) != len(expected):
        return float("inf")
    worst = 0.0
    for result, right in zip(results, expected, strict=True):
        if result.shape != right.shape:
            return float("inf")
        if right.size:
            difference: Any = np.abs(result - right).max() / max(float(np.abs(right).max()), 1e-30)
            worst = max(worst, float(difference) if np.isfinite(difference) else float("inf"))
    return worst
