"""Runs the Array API standard's own test suite (data-apis/array-api-tests) on steep, and prints what passed.

    STEEP_ARRAY_API_TESTS=<folder> python tests/conformance/array_api.py [--max-examples 20] [-k EXPRESSION]

The folder is a checkout of that suite with its submodule; it needs hypothesis, ndindex and pytest-json-report. It is
copied aside, as one line of it takes for granted that there are complex numbers, which steep does not have.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from suite import checkout

VARIABLE = "STEEP_ARRAY_API_TESTS"
COMPLEX = ("complex64", "complex128")

# What is left out, by pattern of the test's name, and why.
EXCLUDED = {
    r"complex|-(conj|real|imag)\]|test_(conj|real|imag)\b|\[(conj|real|imag)\b": "complex numbers",
    r"special_cases.*(real|imag)\(|test_vecdot$": "complex numbers",
    r"\[(fft|linalg)-": "the extensions fft and linalg",
}

# What fails, by pattern, and why that is meant.
KNOWN = {
    r"floor_?div": "infinities: inf // 1 is NaN and -1 // inf is -1, as Python, NumPy and PyTorch have it",
}

# Shrinking an example tells a person more, and takes far longer.
PLUGIN = """
from hypothesis import Phase, settings
import pytest

@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    settings.register_profile("steep", settings(), phases=(Phase.explicit, Phase.generate))
    settings.load_profile("steep")
"""


class Report(NamedTuple):
    passed: list[str]
    failed: dict[str, str]  # with the last line of the error
    left_out: dict[str, str]  # with the reason

    def print(self) -> int:
        """Prints the counts, the reasons and the failures; 1 if there are failures that are not meant."""
        meant = {name: reason for name in self.failed if (reason := reason_of(name))}
        for reason, count in sorted(Counter(self.left_out.values()).items()):
            print(f"    excluded {count}: {reason}")
        for reason, count in sorted(Counter(meant.values()).items()):
            print(f"    differ {count}: {reason}")
        for name, error in sorted(self.failed.items()):
            if name not in meant:
                print(f"    FAILED {name}: {error}")
        ran, failed = len(self.passed) + len(self.failed), len(self.failed) - len(meant)
        print(
            f"{ran} tests ran: {len(self.passed)} passed, {failed} failed, {len(meant)} differ by intention; "
            f"{len(self.left_out)} excluded ({100 * len(self.passed) / max(ran, 1):.1f} % passed)"
        )
        return int(failed > 0 or not self.passed)


def reason_of(failed: str) -> str | None:
    """Why a failure is meant; None if it is not."""
    return next((reason for pattern, reason in KNOWN.items() if re.search(pattern, failed)), None)


def prepare(suite: Path, work: Path) -> Path:
    """A copy of the suite that does without complex dtypes."""
    copy = work / "suite"
    shutil.copytree(suite, copy, ignore=shutil.ignore_patterns(".git", ".hypothesis", "__pycache__"))
    helpers = copy / "array_api_tests" / "dtype_helpers.py"
    text, count = re.subn(
        r"(dtype_nbits\[dt\]\) for dt in complex_dtypes\], key=lambda x: x\[1\])",
        r"\1, default=(xp.float64, 64)",
        helpers.read_text(),
    )
    if count != 1:
        raise SystemExit(f"{helpers} is not as expected: where is widest_complex_dtype set?")
    helpers.write_text(text)
    (copy / "steep_plugin.py").write_text(PLUGIN)
    return copy


def run(suite: Path, max_examples: int = 20, keyword: str = "", *, extra: tuple[str, ...] = ()) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        copy = prepare(suite, Path(folder))
        report = Path(folder) / "report.json"
        environment = dict(os.environ, ARRAY_API_TESTS_MODULE="steep", ARRAY_API_TESTS_SKIP_DTYPES=",".join(COMPLEX))
        environment["ARRAY_API_TESTS_VERSION"] = "2024.12"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "array_api_tests",
            "-q",
            "-p",
            "steep_plugin",
            "-p",
            "no:cacheprovider",
        ]
        command += ["--max-examples", str(max_examples), "--derandomize", "--disable-deadline"]
        command += ["--disable-extension", "linalg", "fft", "--json-report", f"--json-report-file={report}"]
        command += [*(("-k", keyword) if keyword else ()), *extra]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        if done.returncode not in (0, 1):  # all passed; some failed
            raise SystemExit(done.stdout + done.stderr)
        return read(json.loads(report.read_text()))


def read(report: dict) -> Report:
    out = Report([], {}, {})
    for test in report["tests"]:
        name = test["nodeid"].removeprefix("array_api_tests/")
        excluded = next((reason for pattern, reason in EXCLUDED.items() if re.search(pattern, name)), None)
        phases = [test[phase] for phase in ("setup", "call", "teardown") if phase in test]
        if excluded:
            out.left_out[name] = excluded
        elif test["outcome"] == "passed":
            out.passed.append(name)
        elif test["outcome"] == "skipped":
            reason = next(str(p["longrepr"]) for p in phases if p["outcome"] == "skipped")
            out.left_out[name] = re.sub(r"^.*Skipped: |['\")]+$", "", reason)
        else:
            crash = next((p["crash"]["message"] for p in phases if "crash" in p), "")
            out.failed[name] = (crash.splitlines() or ["?"])[0][:160]
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-examples", type=int, default=20)
    parser.add_argument("-k", dest="keyword", default="")
    options = parser.parse_args()
    folder = checkout(VARIABLE, "array_api_tests")
    return run(folder, options.max_examples, options.keyword).print()


if __name__ == "__main__":
    sys.exit(main())
