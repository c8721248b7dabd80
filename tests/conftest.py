"""What all tests share. The instruction set is the process's own: ``STEEP_ISA`` chooses it before pytest starts.

``pytest --device cuda`` makes CUDA the default device, so that all tests run there, except those marked ``host``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import steep as st


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="the default device of all tests")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "host(reason): is about the CPU only; skipped with --device cuda")
    if config.getoption("--device") == "cuda":
        if not st.cuda.is_available():
            pytest.exit(f"--device cuda: CUDA is not available: {st.cuda.unavailable_reason()}", returncode=4)
        st.set_default_device("cuda")  # before the test files are imported: some have tensors of their own


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items if config.getoption("--device") == "cuda" else ():
        mark = item.get_closest_marker("host")
        if mark is not None:
            item.add_marker(pytest.mark.skip(reason=f"of the CPU only: {mark.kwargs['reason']}"))


def pytest_report_header(config: pytest.Config) -> str:
    device = config.getoption("--device")
    return f"steep {st.__version__}, {device}, instruction set {st._core.isa}, {st.get_num_threads()} threads"


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    """Every test starts at the same place of the random stream, on the device that was asked for."""
    st.manual_seed(0)
    st.set_default_device(request.config.getoption("--device"))


@pytest.fixture
def cuda() -> str:
    """A CUDA device, which the test needs."""
    if not st.cuda.is_available():
        pytest.skip(f"CUDA is not available: {st.cuda.unavailable_reason()}")
    return "cuda:0"


@pytest.fixture
def second_cuda(cuda: str) -> str:
    """Another one."""
    if st.cuda.device_count() < 2:
        pytest.skip("there is one CUDA device only")
    return "cuda:1"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Restores the number of threads."""
    if request.config.getoption("--device") != "cpu":
        pytest.skip("of the CPU only: the number of threads")
    before = st.get_num_threads()
    yield
    st.set_num_threads(before)
