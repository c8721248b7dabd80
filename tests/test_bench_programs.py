"""steep bench's rows for whole programs, in processes of their own: what they report, and how they fail."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest
from steep.benchmarks import programs, report

from steep import benchmarks


def test_fit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr(programs, "FIT_NEEDS", {"steep": (), "scikit-learn": (), "absent": ("no_such_module",)})
    result = programs.fit(threads=1, rounds=2)
    assert not result.failures
    assert set(result.times) == {"steep", "scikit-learn"}
    for name, times in result.times.items():
        assert len(times) == 2
        assert min(times) > 0
        assert 94 < result.details[name]["accuracy, %"] <= 100
        assert result.details[name]["s to the first epoch"] > 0
    report.print_libraries(result)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("s to the first epoch  accuracy, %")
    assert {line.split()[0] for line in lines[2:]} == {"steep", "scikit-learn"}
    assert benchmarks._chosen(False, "FIT dig").names == [programs.FIT]
    assert benchmarks._chosen(True, "fit").names == []


def test_fit_without_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    result = programs.fit()
    assert "it has the data, and cannot be used: ModuleNotFoundError" in result.failures["scikit-learn"]
    assert result.times == {}
    report.print_libraries(result)


def test_a_fit_that_learns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr(programs, "_python", lambda *ignored: {"ready": 1.0, "step": 1e-3, "accuracy": 0.1})
    assert programs.fit(rounds=1).failures["steep"] == "its accuracy is only 0.100"


def test_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"steep": "steep", "NumPy": "numpy", "absent": "no_such_module"}
    monkeypatch.setattr(programs, "IMPORTS", names)
    result = programs.imports(rounds=2)
    assert not result.failures
    assert {name: len(times) for name, times in result.times.items()} == {"steep": 2, "NumPy": 2}
    assert result.ratios()["NumPy"] > 0
    for details in result.details.values():
        assert details["MB of memory"] > 1
    assert result.details["NumPy"]["MB on disk"] > 10


def test_size_on_disk() -> None:
    distribution = importlib.metadata.distribution("pytest")
    (readme,) = (file for file in distribution.files or () if file.name == "METADATA")
    size = programs.size_on_disk(["pytest"])
    assert size is not None
    assert size > Path(str(distribution.locate_file(readme))).stat().st_size
    required = programs._required("pytest")
    assert {"pytest", "pluggy", "packaging"} <= set(required)
    whole, pluggy = programs.size_on_disk(["pytest", "pluggy"]), programs.size_on_disk(["pluggy"])
    assert pluggy
    assert whole == size + pluggy


def test_what_a_distribution_requires(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names in their normal form, circles, extras, and what is not installed."""
    requires = {"a": ["B_c>=1 ; python_version < '4'", "d; extra == 'test'", "gone"], "b-c": ["a", "e[x]<2"], "d": []}

    def look_up(name: str) -> list[str] | None:
        if name == "gone":
            raise importlib.metadata.PackageNotFoundError(name)
        return requires.get(name)

    monkeypatch.setattr(importlib.metadata, "requires", look_up)
    assert programs._required("a") == ["a", "b-c", "e"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise SystemExit('no way')", "no way"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(4)", "exit status 4"),
        ("print('hello')", "it printed no figures but 'hello\\n'"),
        ("", "it printed no figures but ''"),
        ("import time; time.sleep(60)", "not done after 0.5 s"),
    ],
)
def test_processes_that_fail(source: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "sleep" in source:
        monkeypatch.setattr(programs, "SECONDS", 0.5)
    with pytest.raises(programs.ProgramError) as error:
        programs._python(source, [], {}, None)
    assert str(error.value) == message


def test_programs_take_turns_and_those_that_fail_are_out() -> None:
    calls = []

    def run(name: str) -> dict[str, float]:
        calls.append(name)
        if name == "b" and len(calls) > 3:
            raise programs.ProgramError("it broke")
        return {"n": len(calls)}

    result = report.Result("row", "group")
    found = programs._in_turn(["a", "b", "c"], run, 2, result, warm_up=True)
    assert calls == ["a", "b", "c", "a", "b", "c", "a", "c"]
    assert found == {"a": [{"n": 4}, {"n": 7}], "c": [{"n": 6}, {"n": 8}]}
    assert result.failures == {"b": "it broke"}


def test_environment_of_a_process() -> None:
    assert programs._environment("Keras on JAX", 3)["KERAS_BACKEND"] == "jax"
    assert programs._environment("steep", 3)["STEEP_NUM_THREADS"] == "3"
    assert "STEEP_NUM_THREADS" not in programs._environment("steep", None)


def test_programs_among_the_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = report.Result(programs.IMPORTING, "import", {"steep": [0.1]}, table="programs", unit="ms")
    monkeypatch.setitem(benchmarks.PROGRAMS, programs.IMPORTING, lambda threads: result)
    path = tmp_path / "figures.json"
    assert benchmarks.run(only="import", json_path=str(path)) == 0
    (row,) = json.loads(path.read_text())["rows"]
    assert (row["name"], row["table"], row["unit"]) == ("import", "programs", "ms")
    assert any(line.split()[:2] == ["steep", "100"] for line in capsys.readouterr().out.splitlines())
