"""What steep bench makes of its figures: comparisons, the page, plots, and files that are whole or absent."""

from __future__ import annotations

import base64
import copy
import json
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from steep.benchmarks import compare, page, plots, report

from steep import benchmarks
from steep.cli import main

ROW = "relu 1e3 backward"
MACHINE: dict[str, Any] = {
    "date": "2026-01-02T03:04:05+00:00",
    "cpu": "A <CPU> & more",
    "cores": 2,
    "system": "Linux",
    "python": "3.12.0",
    "instruction_set": "avx2",
    "rounds": 3,
    "seconds": 0.01,
    "libraries": {"steep": {"version": "1", "threads": "2"}, "NumPy": {"version": "2", "threads": "2"}},
    "absent": {"JAX": "not installed"},
    "peaks": {"operations": 2e11, "bandwidth": 2e10},
    "other_work": 0.01,
}


def figures() -> dict[str, Any]:
    results = [
        report.Result("add 1e7", "elementwise", {"steep": [1e-3] * 3, "NumPy": [2e-3, 2.1e-3, 2e-3]}, floor=5e-4),
        report.Result("exp 1e3", "elementwise", {"steep": [1e-6] * 3, "NumPy": [5e-7] * 3}),
        report.Result("odd <row>", "rows", {"steep": [1e-3] * 3}, {"NumPy": "ValueError: a < b"}),
        report.Result(
            "import",
            "import",
            {"steep": [0.1] * 3, "NumPy": [0.08] * 3},
            table="programs",
            unit="ms",
            details={"steep": {"MB of memory": 20.0}},
        ),
    ]
    return report.document(copy.deepcopy(MACHINE), results)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "jax"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(benchmarks, "QUICK", benchmarks.timing.Plan(rounds=3, seconds=1e-4))
    monkeypatch.setattr(benchmarks.floors, "measure_peaks", lambda: benchmarks.floors.Peaks(1e11, 1e10))
    monkeypatch.setattr(benchmarks.peers.NumPy, "rest", 0.0)


# --- comparisons ------------------------------------------------------------------------------------------------------


def change(old: dict[str, list[float]], new: dict[str, list[float]]) -> compare.Change:
    rows = [report.Result("row", "group", times).figures() for times in (old, new)]
    return compare.Change(*rows)


def test_a_slower_machine_changes_nothing() -> None:
    found = change({"steep": [1, 1.01, 1.02], "NumPy": [2, 2.02, 2.04]}, {"steep": [3, 3.03, 3.06], "NumPy": [6, 6, 6]})
    assert found.factor == pytest.approx(1, abs=0.02)
    assert found.new.median / found.old.median == pytest.approx(3)
    assert found.verdict == ""


def test_slower_and_faster_by_more_than_the_spread() -> None:
    old = {"steep": [1.0, 1.0, 1.0], "NumPy": [2.0, 2.0, 2.0]}
    for time, verdict in ((1.02, ""), (1.05, "slower"), (0.98, ""), (0.95, "faster")):
        found = change(old, {"steep": [time] * 3, "NumPy": [2.0] * 3})
        assert found.factor == pytest.approx(time)
        assert (found.spread, found.verdict) == (0, verdict)
    # The quartiles of the new run are 15 % from its median, 30 % from each other.
    noisy = change(old, {"steep": [0.91, 1.3, 1.69], "NumPy": [2.0] * 3})
    assert noisy.spread == pytest.approx(0.3)
    assert noisy.verdict == ""
    assert change(old, {"steep": [0.98, 1.4, 1.82], "NumPy": [2.0] * 3}).verdict == "slower"


def test_the_steadiest_peer_of_both_runs_counts() -> None:
    found = change({"steep": [1.0], "NumPy": [2.0], "JAX": [1.0]}, {"steep": [1.0], "NumPy": [2.0], "PyTorch": [9.0]})
    assert (found.peer, found.factor) == ("NumPy", 1)
    found = change(
        {"steep": [1.0] * 3, "NumPy": [2.0, 2.1, 2.0], "JAX": [8.0] * 3},
        {"steep": [1.0] * 3, "NumPy": [2.0] * 3, "JAX": [5.0, 80.0, 800.0]},  # disturbed
    )
    assert (found.peer, found.factor, found.verdict) == ("NumPy", 1, "")
    alone = change({"steep": [1.0], "JAX": [1.0]}, {"steep": [1.5], "NumPy": [1.0]})
    assert (alone.peer, alone.factor, alone.verdict) == (None, 1.5, "slower")


def test_printed_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = figures(), figures()
    new["rows"][0]["seconds"]["steep"]["rounds"] = [2e-3] * 3
    new["rows"].append(report.Result("new row", "rows", {"steep": [1.0]}).figures())
    new["libraries"]["NumPy"]["version"] = "3"
    new["cpu"] = "another"
    found = compare.changes(old, new)
    assert [c.name for c in found] == ["add 1e7", "exp 1e3", "odd <row>", "import"]
    assert compare.print_changes(old, new, found, Path("old.json"))
    printed = capsys.readouterr().out
    assert "NumPy's version: 2 → 3" in printed
    assert "CPU: A <CPU> & more → another" in printed
    assert "1 of 4 rows slower, 0 faster\nslower: add 1e7\n" in printed
    (line,) = (line for line in printed.splitlines() if line.startswith("add 1e7"))
    assert line.split()[2:] == ["1,000", "2,000", "µs", "2.00", "NumPy", "2.00", "5%", "slower"]
    (line,) = (line for line in printed.splitlines() if line.startswith("import"))
    assert line.split() == ["import", "100", "100", "ms", "1.00", "NumPy", "1.00", "3%"]
    assert not compare.print_changes(old, old, compare.changes(old, old), Path("old.json"))


def test_exit_status_of_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.json"
    assert benchmarks.run(quick=True, only=ROW, json_path=str(path)) == 0
    old = json.loads(path.read_text())
    for factor, status in ((1e-3, 3), (1e3, 0)):
        faked = copy.deepcopy(old)
        faked["rows"][0]["seconds"]["steep"]["rounds"] = [factor * 1e-6] * 3
        path.write_text(json.dumps(faked))
        assert benchmarks.run(quick=True, only=ROW, compare_path=str(path)) == status
        assert ("slower: " + ROW in capsys.readouterr().out) == (status == 3)


def broken(edit: Callable[[dict[str, Any]], Any]) -> str:
    old = figures()
    edit(old)
    return json.dumps(old)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("{", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        ("[]", "was not written by steep bench --json"),
        ('{"rows": []}', "was not written by steep bench --json"),
        (broken(lambda old: old.update(format=2)), "has the format 2; this version of steep reads 1"),
        (broken(lambda old: old.update(gpu="a GPU")), "has the figures of a GPU, a GPU"),
        (broken(lambda old: old.pop("libraries")), "is damaged"),
        (broken(lambda old: old["rows"].append(3)), "is damaged"),
        (broken(lambda old: old["rows"][0].pop("name")), "is damaged"),
        (broken(lambda old: old["rows"][0]["seconds"]["steep"].pop("rounds")), "is damaged"),
        (broken(lambda old: old["rows"][0]["seconds"]["steep"].update(rounds=[])), "is damaged"),
        (broken(lambda old: old["rows"][0]["seconds"]["steep"].update(rounds=[1, 0, 1])), "is damaged"),
        (broken(lambda old: old["rows"][0]["seconds"]["steep"].update(rounds=[1, float("nan"), 1])), "is damaged"),
        (broken(lambda old: old["rows"][0]["seconds"]["steep"].update(rounds=[1])), "is damaged"),
        (broken(lambda old: None), "has none of the rows that are to be measured"),
    ],
)
def test_files_that_cannot_be_compared_with(
    content: str | bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.json"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert benchmarks.run(quick=True, only=ROW, compare_path=str(path)) == 2
    printed = capsys.readouterr().out
    assert "cannot compare" in printed
    assert message in printed
    assert "versions" not in printed  # before anything is measured


# --- the page ---------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects what the tests look for."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th", "small"):
            self.rows[-1][-1] += data
        self.text.append(data)


def test_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "available", lambda: False)
    text = page.page(figures())
    read = Page(text)
    assert read.sources == []
    assert "url(" not in text
    assert "@import" not in text
    assert "color-scheme: light dark" in text
    assert "A <CPU> & more, 2 cores, Linux" in read.text
    assert "200 GFLOP/s in float32 multiply-adds, 20.0 GB/s read and written in a copy" in read.text
    assert "NumPy in odd <row>: ValueError: a < b" in read.text
    rows = {row[0]: row[1:] for row in read.rows}
    assert rows["add 1e7"] == ["1,000", "0%", "50%", "2,000", "2.00", "2.00", "–"]
    assert rows["exp 1e3"] == ["1.00", "0%", "", "0.50", "0.50", "0.50", "–"]
    assert rows["odd <row>"] == ["1,000", "0%", "", "failed", "–", "–", "–"]
    assert rows["geometric mean"] == ["", "", "", "", "–", "–", "–"]  # of the last group, where NumPy failed
    assert rows["steep"] == ["100", "0%", "", "20.0"]
    assert rows["NumPy"] == ["80.0", "0%", "0.80", "–"]
    assert "Plots need matplotlib" in text


def test_colours_of_ratios() -> None:
    assert "40 160 80 / 0.25" in page._ratio(2.0)
    assert "210 60 50 / 0.25" in page._ratio(0.5)
    assert "40 160 80 / 0.50" in page._ratio(400.0)
    assert "/ 0.00" in page._ratio(1.0)
    assert page._ratio(None) == "<td>–</td>"


def test_page_with_plots() -> None:
    pytest.importorskip("matplotlib")
    read = Page(page.page(figures()))
    assert len(read.sources) == 3  # elementwise, import, limits
    for source in read.sources:
        kind, _, data = source.partition(";base64,")
        assert kind == "data:image/svg+xml"
        assert b"</svg>" in base64.b64decode(data, validate=True)


def test_page_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert main(["bench", "--quick", "--filter", ROW, "--html", str(path)]) == 0
    assert ROW in Page(path.read_text(encoding="utf-8")).text
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


# --- plots and files --------------------------------------------------------------------------------------------------


def test_plots(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "plots"
    drawn = plots.draw(figures()["rows"])
    assert list(drawn) == ["elementwise: peers' time over steep's", "import", "how near to the machine's limit"]
    plots.save_plots(folder, drawn)
    files = sorted(folder.iterdir())
    assert [p.name for p in files] == [
        "elementwise-peers-time-over-steeps.png",
        "how-near-to-the-machines-limit.png",
        "import.png",
    ]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in files)
    (axes,) = drawn["elementwise: peers' time over steep's"].axes
    (dots,) = axes.collections
    assert [tuple(xy) for xy in dots.get_offsets()] == [(2, 0), (0.5, 1)]


def test_plots_without_matplotlib(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plots, "available", lambda: False)
    assert benchmarks.run(quick=True, only=ROW, plots_path=str(tmp_path / "plots")) == 2
    assert "plots need matplotlib: pip install matplotlib" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["json_path", "html_path", "plots_path"])
def test_places_that_cannot_be_written(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere: dict[str, Any] = {option: str(tmp_path / "nowhere" / "x")}
    assert benchmarks.run(quick=True, only=ROW, **nowhere) == 2
    assert f"{tmp_path / 'nowhere'} is not a directory" in capsys.readouterr().out
    (tmp_path / "file").touch()
    if option == "plots_path":
        assert benchmarks.run(quick=True, only=ROW, plots_path=str(tmp_path / "file")) == 2
        assert "it is not a directory" in capsys.readouterr().out


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")

    def full(handle: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(report.os, "fsync", full)
    assert benchmarks.run(quick=True, only=ROW, html_path=str(path)) == 2
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_options_for_the_cpu_only(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--html", "--plots", "--compare"):
        with pytest.raises(SystemExit) as stop:
            main(["bench", "--device", "cuda", option, "x"])
        assert stop.value.code == 2
        assert "are for the CPU" in capsys.readouterr().err
