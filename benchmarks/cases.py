"""The rows for single operations: which sizes they have, and the least work that each is."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .floors import Work
from .operations import ADD, CHAIN, ELEMENTWISE, MATMUL, OTHERS, ROWS, SUMS, Operation, table_operations
from .peers import Array, Call, Library

__all__ = ["TOLERANCE", "Case", "kernel_cases", "largest_difference"]

F32, I64 = 4, 8  # bytes


class Case(Protocol):
    """A row of the table: the work, and the result that every library must have."""

    @property
    def name(self) -> str: ...

    @property
    def table(self) -> str:
        """The table that the row is in."""

    @property
    def group(self) -> str:
        """What its ratios are averaged with."""

    @property
    def quick(self) -> bool:
        """Whether it is part of a quick run too."""

    @property
    def work(self) -> Work | None:
        """The least that has to be done, where one can say."""

    @property
    def tolerance(self) -> float:
        """The largest error that counts as right, over the largest expected value."""

    def expected(self) -> Sequence[Array]:
        """The right result, in float64."""

    def check(self, library: Library) -> Sequence[Array] | None:
        """A library's result; None if it has no such operation."""

    def prepare(self, library: Library) -> Call:
        """The call to be timed."""

    def rest(self, library: Library) -> float:
        """How long to wait after this library."""


SUFFIXES = {
    "forward": "",
    "taped": ", with grad",
    "backward": " backward",
    "both": " and backward",
    "bfloat16": " in bfloat16",
}
TOLERANCE = 1e-4  # of the largest expected value: five steps in float32 keep to it
BFLOAT16_TOLERANCE = 0.01  # it has 8 bits


@dataclass(frozen=True)
class KernelCase:
    """One operation on inputs of given shapes: forward, taped, backward, both passes at once, or in bfloat16."""

    operation: Operation
    shapes: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]  # the shape of the result
    label: str  # the shapes for people
    group: str
    mode: str = "forward"
    quick: bool = True
    table = "operations"

    @property
    def name(self) -> str:
        return f"{self.operation.name} {self.label}{SUFFIXES[self.mode]}"

    @property
    def work(self) -> Work | None:
        inputs, output = sum(map(math.prod, self.shapes)), math.prod(self.output)
        labels = I64 * self.shapes[0][0] * self.operation.labels
        products = 2 * math.prod(self.shapes[0]) * self.output[1] if self.group == "matmul" else 0
        if self.mode == "forward":
            return Work(F32 * (inputs + output) + labels, products)
        if self.mode == "backward" and not self.operation.aliases:
            # An elementwise or row derivative reads the input or the value, which has the input's shape.
            return Work(F32 * (2 * inputs + output) + labels, 2 * products)
        return None

    @property
    def tolerance(self) -> float:
        return BFLOAT16_TOLERANCE if self.mode == "bfloat16" else TOLERANCE

    def _inputs(self) -> list[Array]:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        low, high = self.operation.low, self.operation.high
        inputs: list[Array] = [np.asarray(rng.uniform(low, high, shape), np.float32) for shape in self.shapes]
        if self.operation.labels:
            rows, labels = self.shapes[0][0], self.operation.labels
            classes = max((self.shapes[0][1], *self.output[1:]))
            inputs.append(rng.integers(0, classes, rows if labels == 1 else (rows, labels)))
        return inputs

    def _gradient(self) -> Array:
        return np.asarray(np.random.default_rng(0).uniform(-1, 1, self.output), np.float32)

    def expected(self) -> Sequence[Array]:
        inputs = [x.astype(np.float64) if x.dtype == np.float32 else x for x in self._inputs()]
        value = self.operation.value(*inputs)
        if self.mode in ("forward", "taped", "bfloat16"):
            return (value,)
        return self.operation.gradients(self._gradient().astype(np.float64), value, *inputs)

    def _call(self, library: Library) -> Call | None:
        if not library.operations:
            return None
        if self.mode == "backward":
            return library.backward(self.operation.name, self._inputs(), self._gradient())
        if self.mode == "both":
            return library.both(self.operation.name, self._inputs(), self._gradient())
        run = {"taped": library.taped, "bfloat16": library.bfloat16}.get(self.mode, library.forward)
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


def _elementwise(operation: Operation, power: int, mode: str, quick: bool, group: str) -> KernelCase:
    shape = (10**power,)
    inputs = (shape,) * (2 if operation in (ADD, CHAIN) else 1)
    return KernelCase(operation, inputs, shape, f"1e{power}" if power else "1 element", group, mode, quick)


def kernel_cases() -> Iterator[KernelCase]:
    """All rows for single operations."""
    for m, k, n, transposed, quick, quick_backward in MATMUL_SHAPES:
        shapes = ((k, m) if transposed == "TN" else (m, k), (n, k) if transposed == "NT" else (k, n))
        for mode, wanted in (("forward", quick), ("backward", quick_backward)):
            yield KernelCase(MATMUL[transposed], shapes, (m, n), f"{m}x{k}x{n}", "matmul", mode, wanted)
    for n in (256, 512):
        yield KernelCase(MATMUL[""], ((n, n), (n, n)), (n, n), f"{n}x{n}x{n}", "bfloat16", "bfloat16", n == 256)
    yield _elementwise(ADD, 0, "taped", True, "one element")
    yield _elementwise(CHAIN, 0, "both", True, "one element")
    for operation in ELEMENTWISE:
        for mode in ("forward", "backward"):
            yield _elementwise(operation, 0, mode, operation is ADD and mode == "forward", "one element")
    for operation in ELEMENTWISE:
        for power in (3, 5, 6, 7):
            for mode in ("forward", "backward"):
                yield _elementwise(operation, power, mode, power < 7, "elementwise")
    for operation in table_operations():
        for mode in ("forward", "backward"):
            yield _elementwise(operation, 5, mode, False, "other elementwise")
    for rows, columns in ((64, 10), (1024, 1000), (4096, 4096)):
        shape, label, quick = (rows, columns), f"{rows}x{columns}", rows < 4096
        for operation in ROWS:
            wanted = quick and operation.name != "log_softmax"
            for mode in ("forward", "backward"):
                output = () if operation.labels else shape
                yield KernelCase(operation, (shape,), output, label, "rows", mode, wanted)
        for operation, length in zip(SUMS, shape, strict=True) if rows > 64 else ():
            yield KernelCase(operation, (shape,), (length,), label, "sums", "forward", quick)

    for operation, inputs, result, modes in OTHERS:
        label = " ".join("x".join(map(str, extents)) for extents in inputs if len(extents) > 1)
        for mode in modes:
            quick = mode == "forward" and operation.name in ("sort", "layer_norm", "scatter_add", "cumulative sum")
            yield KernelCase(operation, inputs, result, label, "other operations", mode, quick)


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
