"""The rows of the GPU benchmark (gpu.py): what is computed, by steep and by PyTorch, and what is to be reached."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import steep as st

from .peers import Array
from .training import TrainingCase, steep_step, torch_step, training_cases

__all__ = ["Row", "groups", "rows"]

Call = Callable[[], Any]
SIZES = {"float32": 4, "bfloat16": 2}

# m, n, k of products in bfloat16: squares, layers of language models on many and on few rows, heads with a large
# vocabulary, weight gradients, convolutions as products, and sizes that fit no tile.
SHAPES = (
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (3072, 3072, 3072),
    (6144, 6144, 6144),
    (12288, 12288, 12288),
    (4096, 11008, 4096),
    (4096, 4096, 11008),
    (8192, 28672, 8192),
    (2048, 14336, 4096),
    (128, 4096, 4096),
    (64, 14336, 4096),
    (16, 4096, 14336),
    (8192, 50304, 768),
    (768, 3072, 16384),
    (65536, 1024, 1024),
    (32768, 256, 2304),
    (100352, 64, 576),
    (1000, 1000, 1000),
    (4104, 4104, 4104),
    (4000, 3000, 5000),
)


@dataclass(frozen=True)
class Row:
    """One measurement. ``steep`` and ``torch`` turn their arrays into a call; ``right`` gives the result in float64."""

    name: str
    group: str
    moved: int  # bytes
    operations: int
    inputs: Callable[[], list[Array]]
    steep: Callable[..., Call]
    torch: Callable[[Any], Callable[..., Call]]  # of the module torch
    right: Callable[..., Sequence[Array]] | None = None  # None: the libraries are compared with each other
    quick: bool = True
    dtype: str = "float32"  # of the inputs that are floats
    tolerance: float = 1e-4  # of the largest right value
    step: int = 1  # every step-th row of the result is compared
    precision: tuple[str, str] | None = None  # of float32 products in steep and in PyTorch
    goal: float | None = None  # PyTorch's time over steep's that is to be reached
    of_copy: float | None = None  # the same of a copy of as many bytes

    @contextlib.contextmanager
    def settings(self, torch: Any) -> Iterator[None]:
        """The precision of products while the row is measured."""
        libraries = [] if self.precision is None else [library for library in (st, torch) if library is not None]
        before = [library.get_float32_matmul_precision() for library in libraries]
        try:
            for library, precision in zip(libraries, self.precision or (), strict=False):
                library.set_float32_matmul_precision(precision)
            yield
        finally:
            for library, precision in zip(libraries, before, strict=True):
                library.set_float32_matmul_precision(precision)


def _normal(*shapes: tuple[int, ...]) -> Callable[[], list[Array]]:
    def make() -> list[Array]:
        rng = np.random.default_rng(0)
        return [rng.standard_normal(shape, np.float32) for shape in shapes]

    return make


def _product(name: str, group: str, shape: tuple[int, int, int], **more: Any) -> Row:
    m, n, k = shape
    step = max(1, m // 64)
    size = SIZES[more.get("dtype", "float32")]
    return Row(
        name,
        group,
        (m * k + k * n + m * n) * size,
        2 * m * n * k,
        _normal((m, k), (k, n)),
        lambda a, b: lambda: a @ b,
        lambda torch: lambda a, b: lambda: a @ b,
        lambda a, b: [a[::step] @ b],
        step=step,
        **more,
    )


def _matmul(shrink: int) -> Iterator[Row]:
    # steep's precisions, beside PyTorch's float32 for the first two and its TF32 ("high" there) for the third.
    modes: tuple[tuple[str, str, str, float, float], ...] = (
        ("highest", "highest", "float32", 0.97, 1e-5),
        ("high", "highest", "float32 by tensor cores", 1.8, 1e-5),
        ("medium", "high", "TF32", 0.95, 1e-3),
    )
    has_modes = hasattr(st, "set_float32_matmul_precision")
    for own, peer, name, goal, tolerance in modes if has_modes else modes[:1]:
        for n in (1024 // shrink, 2048 // shrink, 4096 // shrink, 8192 // shrink):
            yield _product(
                f"matmul {name} {n}",
                "float32 matmul",
                (n, n, n),
                quick=n <= 4096 // shrink,
                tolerance=tolerance,
                precision=(own, peer) if has_modes else None,
                goal=goal if n >= 4096 // shrink else None,
            )


def _half_matmul(shrink: int) -> Iterator[Row]:
    bf16: dict[str, Any] = {"dtype": "bfloat16", "tolerance": 1e-2}
    for n in (4096 // shrink, 8192 // shrink):
        yield _product(f"matmul bfloat16 {n}", "bfloat16 matmul", (n, n, n), goal=0.98, **bf16)
    for m, n, k in SHAPES:
        shape = tuple(max(1, x // shrink) for x in (m, n, k))
        name = f"matmul bfloat16 {m}x{n}x{k}"
        yield _product(name, "bfloat16 shapes", shape, quick=False, **bf16)  # type: ignore[arg-type]


def _linear(shrink: int) -> Iterator[Row]:
    for name, m, n, k in (("relu", 8192, 4096, 4096), ("sigmoid", 8192, 4096, 4096), ("relu", 16384, 1024, 1024)):
        rows, out, into = m // shrink, n // shrink, k // shrink
        step = max(1, rows // 64)

        def right(x: Array, w: Array, b: Array, name: str = name, step: int = step) -> list[Array]:
            y = x[::step] @ w.T + b
            return [np.maximum(y, 0) if name == "relu" else 1 / (1 + np.exp(-y))]

        yield Row(
            f"linear + bias + {name} bfloat16 {rows}x{out}x{into}",
            "linear",
            (rows * into + into * out + rows * out + out) * 2,
            2 * rows * out * into,
            _normal((rows, into), (out, into), (out,)),
            lambda x, w, b, name=name: lambda: st.linear(x, w, b, activation=name),
            lambda torch, name=name: lambda x, w, b: lambda: getattr(torch, name)(torch.nn.functional.linear(x, w, b)),
            right,
            dtype="bfloat16",
            tolerance=2e-2,
            step=step,
            goal=1.05,
        )


def _elementwise(shrink: int) -> Iterator[Row]:
    n = (1 << 26) // shrink**2
    yield Row(
        f"add {n}",
        "elementwise",
        3 * n * 4,
        n,
        _normal((n,), (n,)),
        lambda a, b: lambda: a + b,
        lambda torch: lambda a, b: lambda: a + b,
        lambda a, b: [a + b],
        goal=1.0,
        of_copy=0.97,
    )
    yield from (row for name in ("relu", "sigmoid", "gelu") for row in _activation(name, n))


def _activation(name: str, n: int) -> Iterator[Row]:
    function = getattr(st, name)

    def torch_function(torch: Any) -> Any:
        return torch.nn.functional.gelu if name == "gelu" else getattr(torch, name)

    yield Row(
        f"{name} {n}",
        "elementwise",
        2 * n * 4,
        n,
        _normal((n,)),
        lambda x: lambda: function(x),
        lambda torch: lambda x: lambda: torch_function(torch)(x),
        lambda x: [np.asarray(function(st.tensor(x, device="cpu")).numpy())],
        goal=1.0,
        of_copy=0.97,
    )
    yield Row(
        f"{name} {n} backward",
        "elementwise",
        3 * n * 4,
        n,
        _normal((n,), (n,)),
        lambda x, g: _steep_gradient(function, x, g),
        lambda torch: lambda x, g: _torch_gradient(torch, torch_function(torch), x, g),
        quick=name == "sigmoid",
        goal=1.0,
        of_copy=0.97,
    )


def _steep_gradient(function: Callable[[Any], Any], x: Any, g: Any) -> Call:
    x = x.detach().requires_grad_()
    y = function(x)
    return lambda: st.grad(y, x, g, retain_graph=True)[0]


def _torch_gradient(torch: Any, function: Callable[[Any], Any], x: Any, g: Any) -> Call:
    x = x.detach().requires_grad_()
    y = function(x)
    return lambda: torch.autograd.grad(y, x, g, retain_graph=True)[0]


def _sums(shrink: int) -> Iterator[Row]:
    rows = columns = 8192 // shrink
    for name, axis in (("full", None), ("rows", 1), ("columns", 0)):
        yield Row(
            f"sum {name} {rows}x{columns}",
            "sums",
            rows * columns * 4,
            rows * columns,
            _normal((rows, columns)),
            lambda x, axis=axis: lambda: x.sum(axis=axis),
            lambda torch, axis=axis: lambda x: lambda: x.sum() if axis is None else x.sum(dim=axis),
            lambda x, axis=axis: [np.asarray(x.sum(axis=axis))],
            goal=1.0,
        )


def _rows(shrink: int) -> Iterator[Row]:
    shapes = ((65536, 512, True), (16384, 4096, True), (2048, 32768, False), (4096, 1000, False))
    for rows, columns, quick in ((rows // shrink, columns // shrink, quick) for rows, columns, quick in shapes):
        size = rows * columns
        yield Row(
            f"softmax {rows}x{columns}",
            "softmax",
            2 * size * 4,
            5 * size,
            _normal((rows, columns)),
            lambda x: lambda: st.softmax(x),
            lambda torch: lambda x: lambda: torch.softmax(x, -1),
            lambda x: [(e := np.exp(x - x.max(-1, keepdims=True))) / e.sum(-1, keepdims=True)],
            quick,
            goal=1.0,
            of_copy=0.95 if columns >= 512 else None,
        )
        yield Row(
            f"softmax {rows}x{columns} backward",
            "softmax",
            3 * size * 4,
            4 * size,
            _normal((rows, columns), (rows, columns)),
            lambda x, g: _steep_gradient(st.softmax, x, g),
            lambda torch: lambda x, g: _torch_gradient(torch, lambda t: torch.softmax(t, -1), x, g),
            quick=quick,
            goal=1.0,
            of_copy=0.93 if columns >= 512 else None,
        )
        yield Row(
            f"layer_norm {rows}x{columns}",
            "layer norm",
            2 * size * 4,
            8 * size,
            _normal((rows, columns), (columns,), (columns,)),
            lambda x, w, b: lambda: st.layer_norm(x, w.shape, w, b),
            lambda torch: lambda x, w, b: lambda: torch.nn.functional.layer_norm(x, w.shape, w, b),
            quick=quick,
            of_copy=0.93,
        )
        yield Row(
            f"layer_norm {rows}x{columns} backward",
            "layer norm",
            3 * size * 4,
            12 * size,
            _normal((rows, columns), (columns,), (columns,), (rows, columns)),
            lambda x, w, b, g: _layer_norm_gradient(st, x, w, b, g),
            lambda torch: lambda x, w, b, g: _layer_norm_gradient(torch, x, w, b, g),
            quick=quick,
            of_copy=0.80,
        )


def _layer_norm_gradient(library: Any, x: Any, w: Any, b: Any, g: Any) -> Call:
    """Of steep or PyTorch; the derivatives for x, the weight and the bias."""
    leaves = [t.detach().requires_grad_() for t in (x, w, b)]
    if library is st:
        y = st.layer_norm(leaves[0], w.shape, *leaves[1:])
        return lambda: st.grad(y, leaves, g, retain_graph=True)[0]
    y = library.nn.functional.layer_norm(leaves[0], w.shape, *leaves[1:])
    return lambda: library.autograd.grad(y, leaves, g, retain_graph=True)[0]


def _cross_entropy(shrink: int) -> Iterator[Row]:
    for rows, classes, quick in ((8192 // shrink, 32768 // shrink, True), (4096 // shrink, 131072 // shrink, False)):

        def inputs(rows: int = rows, classes: int = classes) -> list[Array]:
            rng = np.random.default_rng(0)
            return [rng.standard_normal((rows, classes), np.float32), rng.integers(0, classes, rows)]

        def steep(x: Any, labels: Any) -> Call:
            x = x.detach().requires_grad_()
            return lambda: st.grad(st.cross_entropy(x, labels), x)[0]

        def torch_call(torch: Any) -> Callable[..., Call]:
            def make(x: Any, labels: Any) -> Call:
                x = x.detach().requires_grad_()
                return lambda: torch.autograd.grad(torch.nn.functional.cross_entropy(x, labels), x)[0]

            return make

        name, size = f"cross_entropy + backward {rows}x{classes}", rows * classes
        yield Row(name, "cross-entropy", 3 * size * 4, 6 * size, inputs, steep, torch_call, quick=quick, goal=2.0)


def _adam(shrink: int) -> Iterator[Row]:
    count, size = 200, 500_000 // shrink**2

    def steep(*parameters: Any) -> Call:
        leaves = [st.nn.Parameter(p) for p in parameters]
        for p in leaves:
            p.grad = p.detach() * 0.01
        return st.optim.Adam(leaves, lr=1e-7).step

    def torch_call(torch: Any) -> Callable[..., Call]:
        def make(*parameters: Any) -> Call:
            leaves = [torch.nn.Parameter(p) for p in parameters]
            for p in leaves:
                p.grad = p.detach() * 0.01
            return torch.optim.Adam(leaves, lr=1e-7, fused=True).step  # type: ignore[no-any-return]

        return make

    yield Row(
        f"Adam {count * size} parameters in {count}",
        "optimizer",
        7 * count * size * 4,
        12 * count * size,
        _normal(*[(size,)] * count),
        steep,
        torch_call,
        goal=1.0,
        of_copy=0.95,
    )


def _training() -> Iterator[Row]:
    cases = [*training_cases(), TrainingCase("", (1024, 1024, 1024, 1024, 10), 4096, quick=False)]
    for case in cases:
        yield _step(case, case.name, lambda step: step)
        goal = 3.0 if case.data == "iris" else None
        yield _step(case, f"{case.name}, a graph", lambda step: st.cuda.graph(step, device="cuda"), goal)


def _step(case: TrainingCase, name: str, wrap: Callable[[Call], Call], goal: float | None = None) -> Row:
    def steep(*ignored: Any) -> Call:
        with st.device("cuda"):
            return wrap(steep_step(*case.problem(), 1e-7))

    def torch_call(torch: Any) -> Callable[..., Call]:
        return lambda *ignored: torch_step(torch, *case.problem(), 1e-7, "cuda")

    weights = sum(i * o for i, o in zip(case.sizes, case.sizes[1:], strict=False))
    moved, operations = 10 * weights * 4, 6 * weights * case.batch
    return Row(name, "train", moved, operations, list, steep, torch_call, quick=case.quick, goal=goal)


def rows(shrink: int = 1) -> list[Row]:
    """All of them; for tests, with axes ``shrink`` times shorter."""
    makers = (_matmul, _half_matmul, _linear, _elementwise, _sums, _rows, _cross_entropy, _adam)
    return [row for make in makers for row in make(shrink)] + list(_training())


def groups() -> list[str]:
    """Their groups, in order."""
    return list(dict.fromkeys(row.group for row in rows()))
