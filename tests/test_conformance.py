"""Suites that nobody here wrote. What they run, and what is left out and why, is in tests/conformance."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

pytestmark = pytest.mark.host(reason="compares with PyTorch on the CPU")


def test_opinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("expecttest")
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent / "conformance"), *sys.path])
    import opinfo

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, about its own samples
        results = opinfo.run()
    assert [message for result in results for message in result.failed] == []
    odd = [m for r in results for m in r.refused if not any(known in m for known in opinfo.REFUSED)]
    assert odd == []
    assert sum(result.errors for result in results) >= 130
    assert len(results) >= 160
    assert sum(result.passed for result in results) >= 4700
