"""steep bench: what it prints and writes, and that a failing peer does not stop it. Not how fast anything is."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steep as st
from steep import benchmarks

ROW = "relu 1e3 backward"


@pytest.fixture(autouse=True)
def numpy_is_the_only_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "jax"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(benchmarks, "QUICK", benchmarks.timing.Plan(rounds=3, seconds=1e-4))
    monkeypatch.setattr(benchmarks.peers.NumPy, "rest", 0.0)


def test_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"
    assert benchmarks.run(quick=True, only="Softmax 64x10", json_path=str(path)) == 0
    printed = capsys.readouterr().out
    assert "PyTorch takes no part: not installed" in printed
    assert printed.count("softmax 64x10") == 2
    figures = json.loads(path.read_text())
    assert [p.name for p in tmp_path.iterdir()] == ["figures.json"]
    assert figures["libraries"]["steep"] == {"version": st.__version__, "threads": str(st.get_num_threads())}
    forward, backward = figures["rows"]
    assert forward["name"] == "softmax 64x10"
    assert set(forward["seconds"]) == {"steep", "NumPy"}
    assert forward["ratios"]["NumPy"] == forward["ratios"]["best"] > 0
    assert set(backward["seconds"]) == {"steep"}
    assert backward["ratios"] == {}
    own = forward["seconds"]["steep"]
    assert 0 < own["low"] <= own["median"] <= own["high"]
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
        benchmarks, "installed", lambda: ([benchmarks.peers.Steep(), Wrong(), Broken(), benchmarks.peers.NumPy()], {})
    )
    assert benchmarks.run(quick=True, only="relu 1e3") == 0
    printed = capsys.readouterr().out
    assert "Wrong failed in relu 1e3: its result differs from the right one by" in printed
    assert "Broken failed in relu 1e3: RuntimeError: it is broken" in printed
    assert printed.count("failed") == 4


def test_peer_that_fails_while_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        benchmarks, "installed", lambda: ([benchmarks.peers.Steep(), Tired(), benchmarks.peers.NumPy()], {})
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
    small = [
        row for row in rows if row.name.split()[1] in {"64x64x64", "200x300x17", "1e3", "1e5", "1", "64x10", "iris"}
    ]
    assert len(small) > 50
    for row in small:
        expected = row.expected()
        for library in (benchmarks.peers.Steep(), benchmarks.peers.NumPy()):
            got = row.check(library)
            assert got is not None or library.name == "NumPy", row.name
            if got is not None:
                assert benchmarks.cases.largest_difference(got, expected) < benchmarks.TOLERANCE, (
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
    assert result.ratios() == {"NumPy": 2.0, "JAX": 0.5, "best": 0.5}
    assert benchmarks.timing.summary([4.0, 1.0, 2.0, 3.0, 5.0]) == benchmarks.timing.Summary(3.0, 2.0, 4.0)


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
