"""The GPU benchmark behind ``steep bench --device cuda``: steep, PyTorch and a copy of as many bytes on one GPU.

A row (gpu_rows.py) says how many bytes have to be moved and how many operations done at the least. Its calls take turns
in a ring of input sets larger than the cache, so that every call reads memory; blocks of calls are timed from a
synchronised start to a synchronised end. The results of both libraries are compared with float64 on the CPU before
anything is timed.
"""

from __future__ import annotations

import datetime
import importlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import steep as st

from .cases import largest_difference
from .gpu_rows import Row, rows
from .peers import ERRORS, Array
from .report import Result, write_json
from .timing import Failure, Plan, Runner, race, ratio, summary

__all__ = ["run"]

QUICK, FULL = Plan(rounds=5, seconds=0.01), Plan(rounds=11, seconds=0.03)
CACHE = 256 << 20  # bytes of a ring: several times the second-level cache of any GPU so far
COPY = 1 << 27  # elements of the copy in the header

Call = Callable[[], Any]


def _ring(make: Callable[..., Call], inputs: list[Array], convert: Callable[[Array], Any], moved: int) -> list[Call]:
    """The calls on as many sets of inputs as the cache cannot hold."""
    return [make(*(convert(x) for x in inputs)) for _ in range(_sets(moved))]


def _sets(moved: int) -> int:
    return max(1, min(16, CACHE // max(moved, 1)))


def _runner(calls: list[Call], synchronize: Call) -> Runner:
    """A call that does a whole ring, and waits for it."""

    def call() -> None:
        for one in calls:
            one()
        synchronize()

    return Runner(call, 0.0)


def _copies(moved: int) -> list[Call]:
    """A ring of copies that read and write as many bytes."""
    half = max(1, moved // 2)
    arrays = [[st.empty(half, dtype="uint8", device="cuda") for _ in range(2)] for _ in range(_sets(moved))]
    return [partial(to.__setitem__, slice(None), source) for to, source in arrays]


def _steep_array(x: Array, dtype: str) -> Any:
    return st.tensor(x, device="cuda", dtype=dtype if x.dtype == np.float32 else None)


def _torch_array(torch: Any, x: Array, dtype: str) -> Any:
    y = torch.from_numpy(x).cuda()
    return y.to(getattr(torch, dtype)) if x.dtype == np.float32 else y


def _wide(x: Array, dtype: str) -> Array:
    """What the libraries are given, in float64."""
    if x.dtype != np.float32:
        return x
    rounded = x if dtype == "float32" else st.tensor(x, device="cpu", dtype=dtype).astype("float32").numpy()
    return np.asarray(rounded, np.float64)


def _measure(row: Row, torch: Any, plan: Plan) -> Result:
    with row.settings(torch):
        return _race(row, torch, plan)


def _race(row: Row, torch: Any, plan: Plan) -> Result:
    result = Result(row.name, row.group)
    arrays = row.inputs()
    right = row.right(*(_wide(x, row.dtype) for x in arrays)) if row.right else None
    rings: dict[str, list[Call]] = {}
    runners = {}
    libraries: dict[str, tuple[Callable[..., Call], Callable[[Array], Any], Callable[[Any], Array], Call]] = {
        "steep": (
            row.steep,
            lambda x: _steep_array(x, row.dtype),
            lambda y: np.asarray(y.astype("float32").numpy()),
            st.cuda.synchronize,
        )
    }
    if torch is not None:
        libraries["PyTorch"] = (
            row.torch(torch),
            lambda x: _torch_array(torch, x, row.dtype),
            lambda y: np.asarray(y.detach().float().cpu().numpy()),
            torch.cuda.synchronize,
        )
    for name, (make, convert, to_numpy, synchronize) in libraries.items():
        try:
            calls = _ring(make, arrays, convert, row.moved)
            value = calls[0]()
            if value is not None:
                got = to_numpy(value)
                some = [got[:: row.step] if got.ndim else got]
                right = some if right is None else right
                difference = largest_difference(some, right)
                if not difference <= row.tolerance:
                    result.failures[name] = f"its result differs from the right one by {difference:.1e} of its size"
                    continue
                if row.right:
                    result.details[name] = {"error": _error(some, right)}
            rings[name] = calls
            runners[name] = _runner(calls, synchronize)
        except ERRORS as error:
            result.failures[name] = f"{type(error).__name__}: {error}"
    if not runners:
        return result
    try:
        rings["copy"] = _copies(row.moved)
        runners["copy"] = _runner(rings["copy"], st.cuda.synchronize)
        times = race(runners, plan)
    except Failure as failure:
        result.failures[failure.name] = f"{type(failure.__cause__).__name__}: {failure.__cause__}"
        return result
    result.times = {name: [t / len(rings[name]) for t in seconds] for name, seconds in times.items()}
    copy = result.times.pop("copy")
    for name, seconds in result.times.items():
        result.details.setdefault(name, {})["of copy"] = ratio(copy, seconds)
    if "steep" in result.times:
        result.details["goals"] = _goals(row, result)
    return result


def _error(got: Sequence[Array], right: Sequence[Array]) -> float:
    """‖got − right‖ / ‖right‖"""
    distance = math.sqrt(sum(float(np.sum((np.float64(g) - r) ** 2)) for g, r in zip(got, right, strict=True)))
    return distance / (math.sqrt(sum(float(np.sum(np.float64(r) ** 2)) for r in right)) or 1)


def _goals(row: Row, result: Result) -> dict[str, float]:
    """What is to be reached, and how much of it is: 1 is all."""
    found: dict[str, float] = {}
    if row.goal is not None and "PyTorch" in result.times:
        found |= {"× PyTorch": row.goal, "reached of PyTorch": result.ratios()["PyTorch"] / row.goal}
    if row.of_copy is not None:
        found |= {"of copy": row.of_copy, "reached of copy": result.details["steep"]["of copy"] / row.of_copy}
    return found


def _copy_bandwidth(plan: Plan, shrink: int) -> list[float]:
    """Bytes read and written a second, by the driver's own copy, in each round."""
    size = COPY // shrink**2
    x, y = (st.empty(size, device="cuda") for _ in range(2))
    start, end = st.cuda.Event(enable_timing=True), st.cuda.Event(enable_timing=True)
    found = []
    for _ in range(plan.rounds):
        start.record()
        for _ in range(4):
            y[:] = x
        end.record()
        end.synchronize()
        found.append(4 * 2 * size * 4 / (start.elapsed_time(end) * 1e-3))
    return found


def run(quick: bool = False, only: str = "", json_path: str | None = None, shrink: int = 1) -> int:
    """Measures and prints the rows whose name or group contains ``only``; writes the figures to ``json_path``.

    ``shrink``: axes that many times shorter, for a trial where there is no GPU.
    Returns the exit status: 0, 1 if steep failed or was wrong in a row, 2 if nothing could be measured.
    """
    chosen = [row for row in rows(shrink) if row.quick or not quick]
    chosen = [row for row in chosen if only.lower() in row.name.lower() or only.lower() in row.group]
    if not chosen or not st.cuda.is_available():
        print(
            f"no row has {only!r} in its name or group"
            if not chosen
            else f"no CUDA device: {st.cuda.unavailable_reason()}"
        )
        return 2
    plan = QUICK if quick else FULL
    torch = _torch()
    bandwidth = _copy_bandwidth(plan, shrink)
    machine = _header(torch, plan, bandwidth)
    copy = float(np.median(bandwidth))
    print(f"{machine['gpu']}, steep {machine['steep']}, PyTorch {machine['PyTorch']}; copy {copy / 1e9:.0f} GB/s")
    print("times are medians in microseconds; × is PyTorch's time over steep's: above 1, steep is faster")
    print("goal is the share that is reached of what is aimed at; error is ‖difference‖ / ‖result‖ from float64")
    head = f"{'':44}{'steep':>10}{'±':>7}{'GB/s':>8}{'of copy':>9}{'TFLOP/s':>9}{'PyTorch':>10}{'×':>7}"
    print(f"{head}{'goal':>7}{'error':>9}")
    results = []
    for row in chosen:
        result = _measure(row, torch, plan)
        results.append(result)
        _print(row, result)
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


def _print(row: Row, result: Result) -> None:
    if "steep" not in result.times:
        print(f"{row.name:44}{'failed':>10}")
        return
    own, details = summary(result.times["steep"]), result.details["steep"]
    spread = (own.high - own.low) / 2
    text = f"{row.name:44}{own.median * 1e6:10.1f}{spread * 1e6:7.1f}{row.moved / own.median / 1e9:8.0f}"
    text += f"{details['of copy']:9.2f}{row.operations / own.median / 1e12:9.2f}"
    peer = result.times.get("PyTorch")
    text += f"{summary(peer).median * 1e6:10.1f}{result.ratios()['PyTorch']:7.2f}" if peer else f"{'–':>10}{'–':>7}"
    reached = [share for name, share in result.details["goals"].items() if name.startswith("reached")]
    text += f"{min(reached):7.0%}" if reached else f"{'–':>7}"
    print(text + (f"{details['error']:9.1e}" if "error" in details else f"{'–':>9}"), flush=True)
