"""benchmarks/on_gpu.py and the ladders: a trial on the emulated device. Not how fast anything is."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from steep.benchmarks import gpu_rows

import steep as st

ROOT = Path(__file__).parents[1]
RUNGS = {"simt": 8, "mma": 4, "wgmma": 8, "relu": 3, "sum": 3, "softmax": 4}


@pytest.fixture(scope="module")
def on_gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("on_gpu", ROOT / "benchmarks/on_gpu.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["on_gpu"] = module
    spec.loader.exec_module(module)
    return module


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    script = ROOT / "benchmarks/on_gpu.py"
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, timeout=900)


def test_groups_are_those_of_the_rows(on_gpu: ModuleType) -> None:
    assert list(on_gpu.GROUPS) == gpu_rows.groups() or set(on_gpu.GROUPS) == set(gpu_rows.groups())
    for group in on_gpu.GROUPS:  # as --filter reads them
        assert {row.group for row in gpu_rows.rows() if group in row.name.lower() or group in row.group} == {group}


def test_every_part_fits_a_command(on_gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(on_gpu, "target", lambda: "90a")
    (tmp_path / "a.whl").touch()
    parts = on_gpu.parts(tmp_path, tmp_path)
    assert all(part.seconds <= 500 for part in parts)
    assert len({part.name for part in parts}) == len(parts)
    assert [part.command[-1] for part in parts if part.name == "wheels"] == [str(tmp_path / "a.whl")]
    names = [part.name for part in parts]
    assert names.index("wheels") < names.index("build") < names.index("kernels") < names.index("ladder")


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_without_a_gpu(tmp_path: Path) -> None:
    done = command("--out", tmp_path)
    assert done.returncode == 2
    assert "this needs a machine with an NVIDIA GPU" in done.stderr


def test_trial_of_a_group(cuda: str, tmp_path: Path) -> None:
    if not st.cuda.is_emulated():
        pytest.skip("for the emulated device")
    done = command("--out", tmp_path, "--emulated", "--parts", "info", "bench-sums")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split(",")[0].split() for line in done.stdout.splitlines()[:2]] == [
        ["info", "ok"],
        ["bench-sums", "ok"],
    ]
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["commit"]
    assert results["parts"]["info"]["status"] == "ok"
    figures = results["benchmarks"]["sums"]
    assert figures["emulated"]
    assert results["gpu"] == figures["gpu"]
    assert [row["group"] for row in figures["rows"]] == ["sums"] * 3
    for row in figures["rows"]:
        own = row["seconds"]["steep"]
        assert 0 < own["low"] <= own["median"] <= own["high"]
        assert row["details"]["steep"]["error"] < 1e-6
        assert row["details"]["steep"]["of copy"] > 0
    # What is done isn't done again; what doesn't fit is left.
    again = command("--out", tmp_path, "--emulated", "--parts", "info", "bench-sums", "bench-softmax", "--limit", "10")
    assert again.returncode == 0
    assert "left for the next command, within 10 s: bench-softmax" in again.stdout
    assert json.loads((tmp_path / "summary.json").read_text()) == results["parts"]
    unknown = command("--out", tmp_path, "--emulated", "--parts", "nothing")
    assert unknown.returncode == 2
    assert "no part is called nothing; there are info, " in unknown.stderr


def test_goals(on_gpu: ModuleType) -> None:
    def row(name: str, ratio: float, goals: dict[str, float]) -> dict[str, Any]:
        return {"name": name, "ratios": {"PyTorch": ratio, "best": ratio}, "details": {"goals": goals}}

    aimed = {"× PyTorch": 2.0, "reached of PyTorch": 0.5, "of copy": 0.8, "reached of copy": 1.25}
    shapes = [row("a", 0.5, {}), row("b", 2.0, {})]
    results = {"benchmarks": {"softmax": {"rows": [row("c", 1.0, aimed)]}, "bfloat16 shapes": {"rows": shapes}}}
    assert on_gpu.goals(results) == [
        ("c", "× PyTorch", 2.0, 1.0),
        ("c", "of copy", 0.8, 1.0),
        ("bfloat16 shapes, geometric mean of 2", "× PyTorch", 0.92, 1.0),
    ]


def test_trial_of_the_ladders(tmp_path: Path) -> None:
    if shutil.which("g++") is None or not sys.platform.startswith("linux"):
        pytest.skip("needs g++ on Linux")
    script, file = ROOT / "benchmarks/ladder/run.py", tmp_path / "ladder.json"
    options = ["--emulated", "--shrink", "256", "--build", tmp_path / "build", "--json", file]
    done = subprocess.run([sys.executable, script, *options], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(file.read_text())
    assert figures["emulated"]
    for ladder in figures["ladders"]:
        assert ladder["failures"] == {}
        assert len(ladder["errors"]) == RUNGS[ladder["group"]]
        assert max(ladder["errors"].values()) < (2**-8 if ladder["group"] in ("mma", "wgmma") else 1e-6)
        assert set(ladder["seconds"]) == {*ladder["errors"], "copy"}
        assert all(name in done.stdout for name in ladder["errors"])
