"""Another project's pytest suite, run as it is in its checkout, and a count of what became of its tests."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest


class LeftOutError(Exception):
    """Something that steep doesn't offer, or that the adapter doesn't: the reason for which a test is left out."""


def checkout(variable: str, holds: str) -> Path:
    """The folder that the environment variable names. Ends the program if it does not hold the suite."""
    folder = Path(os.environ.get(variable, "")).absolute()
    if variable not in os.environ or not (folder / holds).is_dir():
        sys.exit(f"{variable} must name a checkout that holds {holds}/")
    return folder


class Record:
    """A pytest plugin: the tests that passed, failed, and were left out, with the reason.

    A test is left out if ``excluded`` has its name (``file.py::test``, ``file.py::Class::test``), or if it raises an
    error for which ``reason_of`` has a reason. It runs all the same: if it is in ``excluded`` and passes, that is a
    failure, since the reason doesn't hold.
    """

    def __init__(self, excluded: Mapping[str, str], reason_of: Callable[[BaseException], str | None]) -> None:
        self._excluded, self._reason_of = excluded, reason_of
        self.passed: list[str] = []
        self.failed: dict[str, str] = {}
        self.left_out: dict[str, str] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report = yield
        name = f"{item.path.name}::{item.nodeid.partition('::')[2]}"
        reason = self._excluded.get(name) or self._excluded.get(name.partition("[")[0])
        if call.excinfo is not None:
            error = call.excinfo.value
            skipped = str(error) if call.excinfo.errisinstance(pytest.skip.Exception) else None
            reason = reason or self._reason_of(error) or skipped
            if reason is None:
                self.failed[name] = f"{type(error).__name__}: {error}"
            else:
                self.left_out[name] = reason
        elif call.when == "call":
            if reason is None:
                self.passed.append(name)
            else:
                self.failed[name] = f"passes, though it is excluded: {reason}"
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed[report.nodeid] = str(report.longrepr)

    def run(self, paths: Sequence[Path], only: str = "") -> None:
        """Runs the tests of these files whose name contains ``only``. Nothing is written into their folder."""
        sys.dont_write_bytecode = True
        quiet = ["-p", "no:cacheprovider", "-p", "no:terminal", "-c", os.devnull, "--continue-on-collection-errors"]
        pytest.main([*quiet, *(["-k", only] if only else []), *map(str, paths)], plugins=[self])

    def report(self) -> int:
        """Prints the counts by file, the reasons and the failures; 1 if there are failures, or no tests."""
        counts: dict[str, list[int]] = {}
        for column, names in enumerate((self.passed, self.left_out, self.failed)):
            for name in names:
                counts.setdefault(name.split("::")[0], [0, 0, 0])[column] += 1
        for name, row in sorted(counts.items()):
            print(f"{name:24} passed {row[0]:4}  excluded {row[1]:3}  failed {row[2]:3}")
        for reason, count in sorted(Counter(self.left_out.values()).items()):
            print(f"    excluded {count}: {reason}")
        for name, message in self.failed.items():
            print(f"    FAILED {name}: {' '.join(message.split())[:400]}")
        ran = len(self.passed) + len(self.failed)
        print(f"{ran} tests ran: {len(self.passed)} passed, {len(self.failed)} failed; {len(self.left_out)} excluded")
        return int(bool(self.failed) or not self.passed)
