"""Suites of other projects that lie in checkouts: tests/conformance says what they run and what is left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host(reason="compares with NumPy and PyTorch on the CPU")


@pytest.mark.parametrize(
    ("program", "variable", "at_least"),
    [
        ("array_api.py", "STEEP_ARRAY_API_TESTS", 1080),
        ("einops_suite.py", "STEEP_EINOPS_TESTS", 110),
        ("hips_autograd.py", "STEEP_HIPS_TESTS", 350),
        ("keras_suite.py", "STEEP_KERAS_TESTS", 190),
    ],
)
def test_suite(program: str, variable: str, at_least: int) -> None:
    if variable not in os.environ:
        pytest.skip(f"{variable} does not name a checkout of the suite")
    command = [sys.executable, str(Path(__file__).parent / "conformance" / program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(r"^\d+ tests ran: (\d+) passed, 0 failed", done.stdout, re.MULTILINE)
    assert counts is not None
    assert int(counts[1]) >= at_least
