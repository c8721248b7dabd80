"""steep bench: what it prints and writes, and that a failing peer does not stop it. Not how fast anything is."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import benchmarks

# The clock is not what these tests are about, nor the machine.
PEAKS = benchmarks.floors.Peaks(operations=1e11, bandwidth=1e10)
ROW = "relu 1e3 backward"


@pytest.fixture(autouse=True)
def numpy_is_the_only_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "jax"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(benchmarks, "QUICK", benchmarks.timing.Plan(rounds=3, seconds=1e-4))
    monkeypatch.setattr(benchmarks.floors, "measure_peaks", lambda: PEAKS)
    monkeypatch.setattr(benchmarks.peers.NumPy, "rest", 0.0)


def test_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"
    assert benchmarks.run(quick=True, only="Softmax 64x10", json_path=str(path)) == 0
    printed = capsys.readouterr().out
    assert "PyTorch takes no part: not installed" in printed
    assert "PyTorch fused takes no part" not in printed  # PyTorch itself was named
    assert "peaks     100 GFLOP/s" in printed
    assert printed.count("softmax 64x10") == 2
    figures = json.loads(path.read_text())
    assert [p.name for p in tmp_path.iterdir()] == ["figures.json"]
    assert figures["libraries"]["steep"] == {"version": st.__version__, "threads": str(st.get_num_threads())}
    assert figures["peaks"] == vars(PEAKS)
    forward, backward = figures["rows"]
    assert (forward["name"], forward["table"]) == ("softmax 64x10", "operations")
    assert set(forward["seconds"]) == {"steep", "NumPy"}
    assert forward["ratios"]["NumPy"] == forward["ratios"]["best"] > 0
    assert set(backward["seconds"]) == {"steep"}
    assert backward["ratios"] == {}
    own = forward["seconds"]["steep"]
    assert 0 < own["low"] <= own["median"] <= own["high"]
    assert forward["floor"] is forward["of_limit"] is None
    assert len(own["rounds"]) == figures["rounds"] == 3


def test_unknown_filter(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.run(quick=True, only="no such thing") == 2
    printed = capsys.readouterr().out
    assert "no row of the benchmark has 'no such thing' in its name" in printed
    assert "matmul 64x64x64" in printed


def test_figures_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.run(quick=True, only=ROW, json_path=str(tmp_path / "nowhere" / "f.json")) == 2
    assert "is not a directory" in capsys.readouterr().out
    (tmp_path / "taken").mkdir()
    assert benchmarks.run(quick=True, only=ROW, json_path=str(tmp_path / "taken")) == 2
    assert "cannot write" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_number_of_threads(threads: None, tmp_path: Path) -> None:
    st.set_num_threads(2)
    path = tmp_path / "figures.json"
    assert benchmarks.run(quick=True, only=ROW, json_path=str(path), threads=1) == 0
    assert json.loads(path.read_text())["libraries"]["steep"]["threads"] == "1"
    assert st.get_num_threads() == 2


class Wrong(benchmarks.peers.NumPy):
    name = "Wrong"

    def numpy(self, y: Any) -> Any:
        return np.asarray(y) + 1


class Broken(benchmarks.peers.NumPy):
    name = "Broken"

    def forward(self, name: str, inputs: Sequence[Any]) -> Any:
        raise RuntimeError("it is broken")


class Tired(benchmarks.peers.NumPy):
    """Gives up while it is timed."""

    name = "Tired"

    def forward(self, name: str, inputs: Sequence[Any]) -> Any:
        calls = iter(range(9))
        return lambda: (next(calls, None) is None and self._give_up()) or np.maximum(*inputs, 0)

    def _give_up(self) -> None:
        raise MemoryError("no more")


def test_failing_peers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        benchmarks,
        "installed",
        lambda quick: ([benchmarks.peers.Steep(), Wrong(), Broken(), benchmarks.peers.NumPy()], {}),
    )
    assert benchmarks.run(quick=True, only="relu 1e3") == 0
    printed = capsys.readouterr().out
    assert "Wrong failed in relu 1e3: its result differs from the right one by" in printed
    assert "Broken failed in relu 1e3: RuntimeError: it is broken" in printed
    assert printed.count("failed") == 4


def test_peer_that_fails_while_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        benchmarks, "installed", lambda quick: ([benchmarks.peers.Steep(), Tired(), benchmarks.peers.NumPy()], {})
    )
    assert benchmarks.run(quick=True, only="relu 1e3") == 0
    printed = capsys.readouterr().out
    assert "Tired failed in relu 1e3: MemoryError: no more" in printed
    assert printed.count("failed") == 2


def test_wrong_results_of_steep_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks.peers.Steep, "numpy", lambda self, y: np.asarray(y.numpy()) * 2)
    assert benchmarks.run(quick=True, only="exp 1e3") == 1


def test_every_small_row_is_right() -> None:
    """steep and NumPy, without the clock; the rows of other sizes run the same code."""
    rows = [*benchmarks.cases.kernel_cases(), *benchmarks.training.training_cases()]
    assert len({row.name for row in rows}) == len(rows)
    sizes = r"64x64x64|200x300x17|matmul [TN]{2}|\b(1 element|1e3|1e5|64x10|(row|column) sum 1024x1000|iris)\b"
    sizes += "|256x256x256 in bfloat16|" + "|".join(operation.name for operation, *_ in benchmarks.operations.OTHERS)
    small = [row for row in rows if re.search(sizes, row.name)]
    assert len(small) > 80
    for row in small:
        expected = row.expected()
        for library in (benchmarks.peers.Steep(), benchmarks.peers.NumPy()):
            got = row.check(library)
            assert got is not None or library.name == "NumPy", row.name
            if got is not None:
                assert benchmarks.cases.largest_difference(got, expected) < row.tolerance, (
                    library.name,
                    row.name,
                )
                row.prepare(library)()


def test_every_operation_has_a_row() -> None:
    names = {row.name.split()[0] for row in benchmarks.cases.kernel_cases()}
    operations = {name for name, row in st._core.unary.items() if row["differentiable"] and not row["params"]}
    assert operations - names <= {"gelu_tanh"}  # gelu(…, approximate="tanh") has no function of its own


def test_differences() -> None:
    one, nan = np.ones(3), np.array([1.0, np.nan, 1.0])
    assert benchmarks.cases.largest_difference([one], [one]) == 0
    assert benchmarks.cases.largest_difference([one + 0.5], [2 * one]) == 0.25
    for wrong in ([nan], [np.ones(4)], [one, one], []):
        assert benchmarks.cases.largest_difference(wrong, [one]) == float("inf")


def test_numbers_in_the_table() -> None:
    result = benchmarks.report.Result(
        "row", "group", {"steep": [1.0, 2.0, 3.0], "NumPy": [2.0, 2.0, 9.0], "JAX": [1.0, 1.0, 1.0]}
    )
    assert result.ratios() == {"NumPy": 2.0, "JAX": 0.5, "best": 0.5, "best with a tape": 0.5}
    result = benchmarks.report.Result("row", "group", {"steep": [1.0], "NumPy": [0.5], "PyTorch": [3.0], "JAX": [2.0]})
    assert result.ratios()["best"] == 0.5
    assert result.ratios()["best with a tape"] == 2.0
    assert "best with a tape" not in benchmarks.report.Result("", "", {"steep": [1.0], "NumPy": [0.5]}).ratios()
    assert benchmarks.timing.summary([4.0, 1.0, 2.0, 3.0, 5.0]) == benchmarks.timing.Summary(3.0, 2.0, 4.0)


def test_the_wanted_rows_are_there() -> None:
    names = {row.name for row in benchmarks.cases.kernel_cases()}
    for operation in ("add", "exp", "sigmoid", "tanh", "relu", "gelu"):
        for size in ("1 element", "1e3", "1e5", "1e6", "1e7"):
            assert {f"{operation} {size}", f"{operation} {size} backward"} <= names
    for operation in ("softmax", "log_softmax", "cross_entropy"):
        for size in ("64x10", "1024x1000", "4096x4096"):
            assert {f"{operation} {size}", f"{operation} {size} backward"} <= names
    assert {f"{sum_} {size}" for sum_ in ("row sum", "column sum") for size in ("1024x1000", "4096x4096")} <= names
    assert {"add 1 element, with grad", "10 multiplications 1 element and backward"} <= names


def test_work_of_a_row() -> None:
    """Bytes and operations, counted by hand; None where nothing has to be computed."""
    work = {row.name: row.work for row in benchmarks.cases.kernel_cases()}
    Work = benchmarks.floors.Work
    assert work["add 1e7"] == Work(3 * 4 * 10**7)
    assert work["gelu 1e6"] == Work(2 * 4 * 10**6)
    assert work["gelu 1e6 backward"] == Work(3 * 4 * 10**6)
    assert work["add 1e7 backward"] is None
    assert work["softmax 4096x4096 backward"] == Work(3 * 4 * 4096**2)
    assert work["cross_entropy 64x10"] == Work(4 * 640 + 8 * 64 + 4)
    assert work["cross_entropy 64x10 backward"] == Work(2 * 4 * 640 + 8 * 64 + 4)
    assert work["row sum 1024x1000"] == Work(4 * (1024 * 1000 + 1024))
    assert work["column sum 1024x1000"] == Work(4 * (1024 * 1000 + 1000))
    assert work["add 1 element, with grad"] is work["10 multiplications 1 element and backward"] is None
    for name in ("matmul 200x300x17", "matmul TN 784x64x512", "matmul NT 64x512x784"):
        m, k, n = map(int, name.split()[-1].split("x"))
        assert work[name] == Work(4 * (m * k + k * n + m * n), 2 * m * n * k)
        both = work[f"{name} backward"]
        assert both == Work(4 * (2 * (m * k + k * n) + m * n), 4 * m * n * k)


def test_floors() -> None:
    floors = benchmarks.floors
    assert floors.floor(None, PEAKS) is None
    assert floors.floor(floors.Work(moved=64_000_000), PEAKS) is None  # the caches may hold it
    assert floors.floor(floors.Work(moved=10**8), PEAKS) == pytest.approx(0.01)
    assert floors.floor(floors.Work(moved=100, operations=10**8), PEAKS) == pytest.approx(0.001)
    assert floors.floor(floors.Work(moved=10**8, operations=10**10), PEAKS) == pytest.approx(0.1)
    result = benchmarks.report.Result("row", "group", {"steep": [0.4, 0.2, 0.3]}, floor=0.15)
    assert result.of_limit() == pytest.approx(0.5)
    assert benchmarks.report.Result("row", "group", {}, floor=0.15).of_limit() is None


def test_the_peak_is_the_best_rate_of_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the machine as it is
    now = 0.0
    seconds = iter([1.0, 4.0, 2.0, 5.0] * 20)

    def work(amount: int) -> int:
        nonlocal now
        now += next(seconds)
        return 8 * amount

    monkeypatch.setattr(benchmarks.floors.time, "perf_counter", lambda: now)
    monkeypatch.setattr(st._core, "peak_multiply_adds", work)
    monkeypatch.setattr(st._core, "peak_bandwidth", lambda bytes: bytes / 4)
    peaks = benchmarks.floors.measure_peaks()
    assert peaks.operations == 8 * 1000 / 1.0
    assert peaks.bandwidth == benchmarks.floors.COPIED / 4


def test_what_the_core_says_of_its_peaks() -> None:
    done = st._core.peak_multiply_adds(1000)
    assert done > 0
    assert st._core.peak_multiply_adds(3000) == 3 * done
    assert st._core.peak_bandwidth(1 << 20) > 0


def test_a_step_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeoutError, match=r"not done after 0.01 s"), benchmarks.timing.time_limit(0.01):
        threading.Event().wait(60)
    assert signal.getsignal(signal.SIGALRM) == handler

    def slow(*ignored: Any) -> Any:
        return lambda: threading.Event().wait(60)

    monkeypatch.setitem(benchmarks.training.STEPS, "NumPy", slow)
    monkeypatch.setattr(benchmarks.training, "COMPILING", 0.01)
    (iris,) = (case for case in benchmarks.training.training_cases() if case.data == "iris")
    result = benchmarks._measure(iris, [benchmarks.peers.NumPy()], benchmarks.QUICK)
    assert result.failures == {"NumPy": "TimeoutError: not done after 0.01 s"}


def test_variants_of_pytorch_race_in_training_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Variant(benchmarks.peers.NumPy):
        name = "Variant"
        operations = False

    monkeypatch.setitem(benchmarks.training.STEPS, "Variant", benchmarks.training.STEPS["NumPy"])
    libraries = [benchmarks.peers.Steep(), benchmarks.peers.NumPy(), Variant()]
    monkeypatch.setattr(benchmarks, "installed", lambda quick: (libraries, {}))
    path = tmp_path / "figures.json"
    assert benchmarks.run(quick=True, only="i", json_path=str(path)) == 0
    rows = json.loads(path.read_text())["rows"]
    assert {row["table"] for row in rows if "Variant" in row["seconds"]} == {"training steps"}
    assert {row["table"] for row in rows} == {"training steps", "operations"}


def test_printed_table(capsys: pytest.CaptureFixture[str]) -> None:
    table = benchmarks.report.Table("operations", ["NumPy", "JAX"], ["a row"], limits=True)
    times = {"steep": [1e-3] * 3, "NumPy": [5e-5] * 3, "JAX": [0.2] * 3}
    rows = [
        benchmarks.report.Result("a row", "group", times, floor=5e-4),
        benchmarks.report.Result("b row", "group", {"steep": [1e-3], "JAX": [2e-3]}, {"NumPy": "broken"}),
    ]
    for row in rows:
        table.row(row)
    table.means(rows)
    head, *lines = capsys.readouterr().out.splitlines()[1:]
    assert head.split() == ["operations", "steep", "±", "limit", "NumPy", "×", "JAX", "×", "×", "best", "×", "taped"]
    assert lines[0].split() == ["a", "row", "1,000", "0%", "50%", "50.0", "0.050", "200,000", "200", "0.050", "200"]
    assert lines[1].split() == ["b", "row", "1,000", "0%", "failed", "–", "2,000", "2.00", "2.00", "2.00"]
    assert lines[3].split() == ["geometric", "mean,", "all", "0.050", "20.00", "0.32", "20.00"]
    assert len({len(line) for line in (head, *lines) if line}) == 1


def test_every_gpu_row_runs(cuda: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks.gpu, "CACHE", 1 << 12)
    rows = benchmarks.gpu.rows(shrink=64)
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        if row.group == "train" and row.operations > 1e7:
            continue  # too large for the emulated device
        result = benchmarks.gpu._measure(row, None, benchmarks.timing.Plan(rounds=2, seconds=1e-4))
        assert not result.failures
        assert len(result.times["steep"]) == 2
