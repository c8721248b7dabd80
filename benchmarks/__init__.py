"""The benchmark suite behind ``steep bench``: steep and its peers do the same work side by side.

A row's results are checked before it is timed. Rows for operations are in cases.py, for training steps in training.py,
for whole programs in programs.py; peers.py says how each library runs them, timing.py how the times are taken,
floors.py how short they can be, and report.py, page.py, plots.py and compare.py how they are shown.
docs/benchmarks.md explains it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import steep as st

from . import compare, floors, gpu, page, plots
from .cases import Case, kernel_cases, largest_difference
from .machine import OtherWork, header
from .peers import ERRORS, Library, installed, limited_blas
from .programs import PROGRAMS
from .report import (
    Result,
    Table,
    document,
    print_header,
    print_libraries,
    print_other_work,
    write_file,
    write_json,
)
from .timing import Failure, Plan, Runner, race
from .training import training_cases

__all__ = ["gpu", "run"]

QUICK, FULL = Plan(rounds=7, seconds=0.01), Plan(rounds=15, seconds=0.03)
OK, FAILED, UNUSABLE, SLOWER = range(4)  # exit statuses


@dataclass(frozen=True)
class Rows:
    """What is to be measured."""

    cases: list[Case]
    programs: list[str]

    @property
    def names(self) -> list[str]:
        return [*(case.name for case in self.cases), *self.programs]


@dataclass(frozen=True)
class Output:
    """Where the figures go, apart from the screen; and the earlier ones that they are compared with."""

    json: Path | None
    plots: Path | None
    html: Path | None
    compare: Path | None

    def obstacle(self) -> str | None:
        """Why a file cannot be written, as far as one can tell before there is something to write."""
        for path in (self.json, self.plots, self.html):
            if path is not None and not path.absolute().parent.is_dir():
                return f"cannot write {path}: {path.absolute().parent} is not a directory"
        if self.plots is not None and self.plots.exists() and not self.plots.is_dir():
            return f"cannot write plots to {self.plots}: it is not a directory"
        if self.plots is not None and not plots.available():
            return "plots need matplotlib: pip install matplotlib"
        return None

    def write(self, machine: dict[str, Any], results: Sequence[Result]) -> str | None:
        """Writes all that is wanted; returns what could not be written, and why."""
        figures = document(machine, results)
        path = self.json
        try:
            if self.json is not None:
                write_json(self.json, machine, results)
            path = self.html
            if self.html is not None:
                write_file(self.html, page.page(figures).encode())
            path = self.plots
            if self.plots is not None:
                plots.save_plots(self.plots, plots.draw(figures["rows"]))
        except OSError as error:
            return f"cannot write {path}: {error}"
        return None


def run(
    quick: bool = False,
    only: str = "",
    json_path: str | None = None,
    threads: int | None = None,
    plots_path: str | None = None,
    html_path: str | None = None,
    compare_path: str | None = None,
) -> int:
    """Measures and prints the rows whose name contains ``only``; writes the figures to ``json_path``.

    ``html_path`` gets them as a page, the folder ``plots_path`` as plots; they are compared with those of an earlier
    run in ``compare_path``. ``threads`` is for every library that lets itself be limited. Returns the exit status: 0;
    1 if steep failed or was wrong in a row; 2 if nothing could be measured, compared or written; 3 if steep has become
    slower.
    """
    rows = _chosen(quick, only)
    output = Output(*(Path(path) if path else None for path in (json_path, plots_path, html_path, compare_path)))
    if not rows.names:
        print(f"no row of the benchmark has {only!r} in its name; the rows are:")
        print("\n".join(f"  {name}" for name in _chosen(quick, "").names))
        return UNUSABLE
    if obstacle := output.obstacle():
        print(obstacle)
        return UNUSABLE
    earlier = None
    if output.compare is not None:
        try:
            earlier = compare.read_figures(output.compare)
        except (OSError, compare.FiguresError) as error:
            print(f"cannot compare: {error}")
            return UNUSABLE
        if not set(rows.names) & {row["name"] for row in earlier["rows"]}:
            print(f"cannot compare: {output.compare} has none of the rows that are to be measured")
            return UNUSABLE
    libraries, absent = installed(quick)
    plan = QUICK if quick else FULL
    threads_before = st.get_num_threads()
    try:
        with limited_blas(threads):
            if threads is not None:
                for library in libraries:
                    if not library.set_threads(threads):
                        print(f"{library.name} cannot be limited to {threads} threads")
            machine = header(libraries, absent, plan)
            results = _measure_all(rows, libraries, machine, plan, threads)
    finally:
        st.set_num_threads(threads_before)
    return _finish(machine, results, output, earlier)


def _chosen(quick: bool, only: str) -> Rows:
    cases: list[Case] = [*kernel_cases(), *training_cases()]
    return Rows(
        [case for case in cases if (case.quick or not quick) and only.lower() in case.name.lower()],
        [name for name in PROGRAMS if not quick and only.lower() in name.lower()],
    )


def _measure_all(
    rows: Rows, libraries: Sequence[Library], machine: dict[str, Any], plan: Plan, threads: int | None
) -> list[Result]:
    """Measures and prints all rows, and notes in ``machine`` what was found about it."""
    peaks = floors.measure_peaks()
    machine["peaks"] = vars(peaks)
    print_header(machine)
    others = OtherWork()
    results: list[Result] = []
    for title in dict.fromkeys(case.table for case in rows.cases):
        cases = [case for case in rows.cases if case.table == title]
        results += _measure_table(title, cases, libraries, plan, peaks)
    for name in rows.programs:
        results.append(PROGRAMS[name](threads))
        print_libraries(results[-1])
    for result in results:
        for name, reason in result.failures.items():
            print(f"{name} failed in {result.name}: {reason}")
    machine["other_work"] = others.share()
    print_other_work(machine["other_work"])
    return results


def _measure_table(
    title: str, cases: Sequence[Case], libraries: Sequence[Library], plan: Plan, peaks: floors.Peaks
) -> Iterator[Result]:
    """A table of rows, printed as they come."""
    taking_part = [lib for lib in libraries if lib.operations or title != "operations"]
    peers = [lib.name for lib in taking_part if lib.name != "steep"]
    table = Table(title, peers, [case.name for case in cases], limits=any(case.work for case in cases))
    results = []
    for case in cases:
        result = _measure(case, taking_part, plan)
        result.floor = floors.floor(case.work, peaks)
        table.row(result)
        results.append(result)
        yield result
    if len(results) > 1:
        table.means(results)


def _measure(case: Case, libraries: Sequence[Library], plan: Plan) -> Result:
    """One row: every library's result is compared with the right one, then those that passed race."""
    result = Result(case.name, case.group, table=case.table)
    expected = case.expected()
    runners = {}
    for library in libraries:
        try:
            got = case.check(library)
            if got is None:
                continue
            difference = largest_difference(got, expected)
            if difference > case.tolerance:
                result.failures[library.name] = f"its result differs from the right one by {difference:.1e} of its size"
            else:
                runners[library.name] = Runner(case.prepare(library), case.rest(library))
        except ERRORS as error:
            result.failures[library.name] = f"{type(error).__name__}: {error}"
    del expected
    while runners and not result.times:
        try:
            result.times = race(runners, plan)
        except Failure as failure:
            cause = failure.__cause__
            result.failures[failure.name] = f"{type(cause).__name__}: {cause}"
            del runners[failure.name]
    return result


def _finish(machine: dict[str, Any], results: Sequence[Result], output: Output, earlier: dict[str, Any] | None) -> int:
    """Compares and writes the figures; returns the exit status."""
    slower = False
    if earlier is not None and output.compare is not None:
        figures = document(machine, results)
        slower = compare.print_changes(earlier, figures, compare.changes(earlier, figures), output.compare)
    if trouble := output.write(machine, results):
        print(trouble)
        return UNUSABLE
    if any("steep" in result.failures for result in results):
        return FAILED
    return SLOWER if slower else OK
