"""A few hundred random programs against NumPy and differences: see tests/programs.py, which runs thousands."""

from __future__ import annotations

import pytest

hypothesis = pytest.importorskip("hypothesis")

from programs import check  # noqa: E402
from random_programs.builder import Program, programs  # noqa: E402


@hypothesis.settings(
    max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
@hypothesis.given(programs(), hypothesis.strategies.booleans())
def test_random_programs(program: Program, second_order: bool) -> None:
    check(program, second_order)
