"""What all tests share. The instruction set is the process's own: ``STEEP_ISA`` chooses it before pytest starts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import steep as st


def pytest_report_header() -> str:
    return f"steep {st.__version__}, instruction set {st._core.isa}, {st.get_num_threads()} threads"


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts at the same place of the random stream."""
    st.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def threads() -> Iterator[None]:
    """Restores the number of threads."""
    before = st.get_num_threads()
    yield
    st.set_num_threads(before)
