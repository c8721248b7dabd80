"""The benchmark suite behind ``steep bench``: steep and its peers do the same work side by side.

A row's results are checked before it is timed. Rows for operations are in cases.py, for training steps in training.py;
peers.py says how each library runs them, timing.py how the times are taken, report.py how they are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import steep as st

from . import gpu
from .cases import Case, kernel_cases, largest_difference
from .peers import ERRORS, Library, installed, limited_blas
from .report import OtherWork, Result, Table, header, print_header, print_other_work, write_json
from .timing import Failure, Plan, Runner, race
from .training import training_cases

__all__ = ["gpu", "run"]

TOLERANCE = 1e-4  # of the largest expected value: five steps in float32 keep to it
QUICK, FULL = Plan(rounds=7, seconds=0.01), Plan(rounds=15, seconds=0.03)


def run(quick: bool = False, only: str = "", json_path: str | None = None, threads: int | None = None) -> int:
    """Measures and prints the rows whose name contains ``only``; writes the figures to ``json_path``.

    ``threads`` is for every library that lets itself be limited. Returns the exit status: 0, 1 if steep failed or was
    wrong in a row, 2 if nothing could be measured.
    """
    cases = _chosen(quick, only)
    path = Path(json_path) if json_path else None
    if not cases:
        print(f"no row of the benchmark has {only!r} in its name; the rows are:")
        print("\n".join(f"  {case.name}" for case in _chosen(quick, "")))
        return 2
    if path is not None and not path.absolute().parent.is_dir():
        print(f"cannot write {path}: {path.absolute().parent} is not a directory")
        return 2
    libraries, absent = installed()
    plan = QUICK if quick else FULL
    threads_before = st.get_num_threads()
    try:
        with limited_blas(threads):
            if threads is not None:
                for library in libraries:
                    if not library.set_threads(threads):
                        print(f"{library.name} cannot be limited to {threads} threads")
            return _measure_all(cases, libraries, absent, plan, path)
    finally:
        st.set_num_threads(threads_before)


def _chosen(quick: bool, only: str) -> list[Case]:
    every: list[Case] = [*kernel_cases(), *training_cases()]
    return [case for case in every if (case.quick or not quick) and only.lower() in case.name.lower()]


def _measure_all(
    cases: Sequence[Case], libraries: Sequence[Library], absent: dict[str, str], plan: Plan, path: Path | None
) -> int:
    machine = header(libraries, absent, plan)
    print_header(machine)
    table = Table(libraries, [case.name for case in cases])
    others = OtherWork()
    results = []
    for case in cases:
        result = _measure(case, libraries, plan)
        table.row(result)
        results.append(result)
    if len(results) > 1:
        table.means(results)
    for result in results:
        for name, reason in result.failures.items():
            print(f"{name} failed in {result.name}: {reason}")
    machine["other_work"] = others.share()
    print_other_work(machine["other_work"])
    if path is not None:
        try:
            write_json(path, machine, results)
        except OSError as error:
            print(f"cannot write {path}: {error}")
            return 2
    return 1 if any("steep" in result.failures for result in results) else 0


def _measure(case: Case, libraries: Sequence[Library], plan: Plan) -> Result:
    """One row: every library's result is compared with the right one, then those that passed race."""
    result = Result(case.name, case.group)
    expected = case.expected()
    runners = {}
    for library in libraries:
        try:
            got = case.check(library)
            if got is None:
                continue
            difference = largest_difference(got, expected)
            if difference > TOLERANCE:
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
