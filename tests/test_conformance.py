"""Suites that nobody here wrote. What they run, and what is left out and why, is in tests/conformance."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

pytestmark = pytest.mark.host(reason="compares with PyTorch on the CPU")


CONFORMANCE = Path(__file__).parent / "conformance"


def test_opinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("expecttest")
    monkeypatch.setattr(sys, "path", [str(CONFORMANCE), *sys.path])
    import opinfo

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, about its own samples
        results = opinfo.run()
    assert [message for result in results for message in result.failed] == []
    odd = [m for r in results for m in r.refused if not any(known in m for known in opinfo.REFUSED)]
    assert odd == []
    assert len(results) >= 120
    assert sum(result.passed for result in results) >= 2000


@pytest.mark.parametrize(
    ("program", "variable", "at_least"),
    [("einops_suite.py", "STEEP_EINOPS_TESTS", 110), ("hips_autograd.py", "STEEP_HIPS_TESTS", 350)],
)
def test_suite_of_a_checkout(program: str, variable: str, at_least: int) -> None:
    if variable not in os.environ:
        pytest.skip(f"{variable} does not name a checkout of the suite")
    done = subprocess.run([sys.executable, CONFORMANCE / program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(r"^\d+ tests ran: (\d+) passed, 0 failed", done.stdout, re.MULTILINE)
    assert counts is not None
    assert int(counts[1]) >= at_least
