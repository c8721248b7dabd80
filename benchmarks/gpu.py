"""The GPU benchmark behind ``steep bench --device cuda``: steep and PyTorch on one GPU, held against its own copy.

A row says how many bytes have to be moved and how many operations done at the least. Its calls take turns in a ring of
input sets larger than the cache, so that every call reads memory; blocks of calls are timed from a synchronised start
to a synchronised end. The results of both libraries are compared with float64 on the CPU before anything is timed.
"""

from __future__ import annotations

import datetime
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import steep as st

from .cases import largest_difference
from .peers import ERRORS, Array
from .report import Result, write_json
from .timing import Failure, Plan, Runner, race, summary
from .training import TrainingCase, steep_step, torch_step, training_cases

__all__ = ["run"]

QUICK, FULL = Plan(rounds=5, seconds=0.01), Plan(rounds=11, seconds=0.03)
CACHE = 256 << 20  # bytes of a ring: several times the second-level cache of any GPU so far
COPY = 1 << 27  # elements of the copy that bandwidth is held against
F32 = 4  # bytes

Call = Callable[[], Any]
Inputs = list[Any]


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


def _normal(*shapes: tuple[int, ...]) -> Callable[[], list[Array]]:
    def make() -> list[Array]:
        rng = np.random.default_rng(0)
        return [rng.standard_normal(shape, np.float32) for shape in shapes]

    return make


def _matmul(shrink: int) -> Iterator[Row]:
    for n in (1024 // shrink, 2048 // shrink, 4096 // shrink, 8192 // shrink):
        yield Row(
            f"matmul float32 {n}",
            "matmul",
            3 * n * n * F32,
            2 * n**3,
            _normal((n, n), (n, n)),
            lambda a, b: lambda: a @ b,
            lambda torch: lambda a, b: lambda: a @ b,
            (lambda a, b: [a @ b]) if n <= 2048 else None,
            quick=n <= 4096 // shrink,
        )


def _elementwise(shrink: int) -> Iterator[Row]:
    n = (1 << 26) // shrink**2
    yield Row(
        f"add {n}",
        "elementwise",
        3 * n * F32,
        n,
        _normal((n,), (n,)),
        lambda a, b: lambda: a + b,
        lambda torch: lambda a, b: lambda: a + b,
        lambda a, b: [a + b],
    )
    yield from (row for name in ("relu", "sigmoid", "gelu") for row in _activation(name, n))


def _activation(name: str, n: int) -> Iterator[Row]:
    function = getattr(st, name)

    def torch_function(torch: Any) -> Any:
        return torch.nn.functional.gelu if name == "gelu" else getattr(torch, name)

    yield Row(
        f"{name} {n}",
        "elementwise",
        2 * n * F32,
        n,
        _normal((n,)),
        lambda x: lambda: function(x),
        lambda torch: lambda x: lambda: torch_function(torch)(x),
        lambda x: [np.asarray(function(st.tensor(x, device="cpu")).numpy())],
    )
    yield Row(
        f"{name} {n} backward",
        "elementwise",
        3 * n * F32,
        n,
        _normal((n,), (n,)),
        lambda x, g: _steep_gradient(function, x, g),
        lambda torch: lambda x, g: _torch_gradient(torch, torch_function(torch), x, g),
        quick=name == "sigmoid",
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
            "sum",
            rows * columns * F32,
            rows * columns,
            _normal((rows, columns)),
            lambda x, axis=axis: lambda: x.sum(axis=axis),
            lambda torch, axis=axis: lambda x: lambda: x.sum() if axis is None else x.sum(dim=axis),
            lambda x, axis=axis: [np.asarray(x.sum(axis=axis))],
        )


def _rows(shrink: int) -> Iterator[Row]:
    shapes = ((65536, 512, True), (16384, 4096, True), (2048, 32768, False), (4096, 1000, False))
    for rows, columns, quick in ((rows // shrink, columns // shrink, quick) for rows, columns, quick in shapes):
        size = rows * columns
        yield Row(
            f"softmax {rows}x{columns}",
            "softmax",
            2 * size * F32,
            5 * size,
            _normal((rows, columns)),
            lambda x: lambda: st.softmax(x),
            lambda torch: lambda x: lambda: torch.softmax(x, -1),
            lambda x: [(e := np.exp(x - x.max(-1, keepdims=True))) / e.sum(-1, keepdims=True)],
            quick,
        )
        yield Row(
            f"softmax {rows}x{columns} backward",
            "softmax",
            3 * size * F32,
            4 * size,
            _normal((rows, columns), (rows, columns)),
            lambda x, g: _steep_gradient(st.softmax, x, g),
            lambda torch: lambda x, g: _torch_gradient(torch, lambda t: torch.softmax(t, -1), x, g),
            quick=quick,
        )
        yield Row(
            f"layer_norm {rows}x{columns}",
            "layer norm",
            2 * size * F32,
            8 * size,
            _normal((rows, columns), (columns,), (columns,)),
            lambda x, w, b: lambda: st.layer_norm(x, w.shape, w, b),
            lambda torch: lambda x, w, b: lambda: torch.nn.functional.layer_norm(x, w.shape, w, b),
            quick=quick,
        )


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

        size = rows * classes
        name, size = f"cross_entropy + backward {rows}x{classes}", rows * classes
        yield Row(name, "cross-entropy", 3 * size * F32, 6 * size, inputs, steep, torch_call, quick=quick)


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
        7 * count * size * F32,
        12 * count * size,
        _normal(*[(size,)] * count),
        steep,
        torch_call,
    )


def _training() -> Iterator[Row]:
    cases = [*training_cases(), TrainingCase("", (1024, 1024, 1024, 1024, 10), 4096, quick=False)]
    for case in cases:

        def steep(*ignored: Any, case: TrainingCase = case) -> Call:
            with st.device("cuda"):
                return steep_step(*case.problem(), 1e-7)

        def torch_call(torch: Any, case: TrainingCase = case) -> Callable[..., Call]:
            return lambda *ignored: torch_step(torch, *case.problem(), 1e-7, "cuda")

        weights = sum(i * o for i, o in zip(case.sizes, case.sizes[1:], strict=False))
        moved, operations = 10 * weights * F32, 6 * weights * case.batch
        yield Row(case.name, "train", moved, operations, list, steep, torch_call, quick=case.quick)


def rows(shrink: int = 1) -> list[Row]:
    """All of them; for tests, with axes ``shrink`` times shorter."""
    makers = (_matmul, _elementwise, _sums, _rows, _cross_entropy, _adam)
    return [row for make in makers for row in make(shrink)] + list(_training())


def _ring(make: Callable[..., Call], inputs: list[Array], convert: Callable[[Array], Any], moved: int) -> list[Call]:
    """The calls on as many sets of inputs as the cache cannot hold."""
    sets = max(1, min(16, CACHE // max(moved, 1)))
    return [make(*(convert(x) for x in inputs)) for _ in range(sets)]


def _runner(calls: list[Call], synchronize: Call) -> Runner:
    """A call that does a whole ring, and waits for it."""

    def call() -> None:
        for one in calls:
            one()
        synchronize()

    return Runner(call, 0.0)


def _measure(row: Row, torch: Any, plan: Plan) -> Result:
    result = Result(row.name, row.group)
    arrays = row.inputs()
    right = row.right(*(x.astype(np.float64) if x.dtype == np.float32 else x for x in arrays)) if row.right else None
    rings: dict[str, list[Call]] = {}
    libraries: dict[str, tuple[Callable[..., Call], Callable[[Array], Any], Callable[[Any], Array], Call]] = {
        "steep": (
            row.steep,
            lambda x: st.tensor(x, device="cuda"),
            lambda y: np.asarray(y.numpy()),
            st.cuda.synchronize,
        )
    }
    if torch is not None:
        libraries["PyTorch"] = (
            row.torch(torch),
            lambda x: torch.from_numpy(x).cuda(),
            lambda y: np.asarray(y.detach().cpu().numpy()),
            torch.cuda.synchronize,
        )
    runners = {}
    for name, (make, convert, to_numpy, synchronize) in libraries.items():
        try:
            calls = _ring(make, arrays, convert, row.moved)
            value = calls[0]()
            if value is not None:
                got = [to_numpy(value)]
                right = got if right is None else right
                difference = largest_difference(got, right)
                if not difference <= 1e-4:
                    result.failures[name] = f"its result differs from the right one by {difference:.1e} of its size"
                    continue
            rings[name] = calls
            runners[name] = _runner(calls, synchronize)
        except ERRORS as error:
            result.failures[name] = f"{type(error).__name__}: {error}"
    try:
        times = race(runners, plan) if runners else {}
    except Failure as failure:
        result.failures[failure.name] = f"{type(failure.__cause__).__name__}: {failure.__cause__}"
        return result
    result.times = {name: [t / len(rings[name]) for t in seconds] for name, seconds in times.items()}
    return result


def _copy_bandwidth(plan: Plan) -> list[float]:
    """Bytes read and written a second, by the driver's own copy, in each round."""
    x, y = (st.empty(COPY, device="cuda") for _ in range(2))
    start, end = st.cuda.Event(enable_timing=True), st.cuda.Event(enable_timing=True)
    found = []
    for _ in range(plan.rounds):
        start.record()
        for _ in range(4):
            y[:] = x
        end.record()
        end.synchronize()
        found.append(4 * 2 * COPY * F32 / (start.elapsed_time(end) * 1e-3))
    return found


def run(quick: bool = False, only: str = "", json_path: str | None = None) -> int:
    """Measures and prints the rows whose name contains ``only``; writes the figures to ``json_path``.

    Returns the exit status: 0, 1 if steep failed or was wrong in a row, 2 if nothing could be measured.
    """
    chosen = [row for row in rows() if (row.quick or not quick) and only.lower() in row.name.lower()]
    if not chosen or not st.cuda.is_available():
        print(f"no row has {only!r} in its name" if not chosen else f"no CUDA device: {st.cuda.unavailable_reason()}")
        return 2
    plan = QUICK if quick else FULL
    torch = _torch()
    bandwidth = _copy_bandwidth(plan)
    machine = _header(torch, plan, bandwidth)
    copy = float(np.median(bandwidth))
    print(f"{machine['gpu']}, steep {machine['steep']}, PyTorch {machine['PyTorch']}; copy {copy / 1e9:.0f} GB/s")
    print("times are medians in microseconds; × is PyTorch's time over steep's: above 1, steep is faster")
    print(f"{'':36}{'steep':>10}{'±':>7}{'GB/s':>8}{'of copy':>9}{'TFLOP/s':>9}{'PyTorch':>10}{'×':>7}")
    results = []
    for row in chosen:
        result = _measure(row, torch, plan)
        results.append(result)
        _print(row, result, copy)
    for result in results:
        for name, reason in result.failures.items():
            print(f"{name} failed in {result.name}: {reason}")
    if json_path is not None:
        write_json(Path(json_path), machine, results)
    return 1 if any("steep" in result.failures for result in results) else 0


def _torch() -> Any:
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def _header(torch: Any, plan: Plan, bandwidth: list[float]) -> dict[str, Any]:
    properties = st.cuda.get_device_properties()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "gpu": properties.name,
        "emulated": st.cuda.is_emulated(),
        "multi_processors": properties.multi_processor_count,
        "steep": st.__version__,
        "PyTorch": torch.__version__ if torch is not None else "absent",
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "copy_bytes_per_second": bandwidth,
    }


def _print(row: Row, result: Result, copy: float) -> None:
    if "steep" not in result.times:
        print(f"{row.name:36}{'failed':>10}")
        return
    own = summary(result.times["steep"])
    spread = (own.high - own.low) / 2
    text = f"{row.name:36}{own.median * 1e6:10.1f}{spread * 1e6:7.1f}{row.moved / own.median / 1e9:8.0f}"
    text += f"{row.moved / own.median / copy:9.2f}{row.operations / own.median / 1e12:9.2f}"
    if "PyTorch" in result.times:
        text += f"{summary(result.times['PyTorch']).median * 1e6:10.1f}{result.ratios()['PyTorch']:7.2f}"
    print(text, flush=True)
