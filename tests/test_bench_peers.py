"""steep bench's peers: what they are asked to do is what the rows say."""

from __future__ import annotations

import numpy as np
import pytest
from steep.benchmarks import peers

from steep import benchmarks


def small_rows() -> list[benchmarks.Case]:
    names = ("1 element", "1e3", "64x10", "200x300x17", "iris")
    return [case for case in benchmarks._chosen(False, "").cases if any(name in case.name for name in names)]


@pytest.mark.parametrize("cls", [peers.Torch, peers.TorchFused, peers.Jax], ids=lambda cls: cls.name)
def test_peers_are_right(cls: type[peers.Library]) -> None:
    """In small rows; which of them a library has no function for is written out."""
    pytest.importorskip("jax" if cls is peers.Jax else "torch")
    library = cls()
    lacking = []
    for row in small_rows():
        got = row.check(library)
        if got is None:
            lacking.append(row.name)
        else:
            assert benchmarks.largest_difference(got, row.expected()) < 1e-5, row.name
            row.prepare(library)()
    if cls is peers.TorchFused:
        assert len(lacking) == len(small_rows()) - 1  # it has its training step only
    else:
        assert lacking == (["add 1 element, with grad"] if cls is peers.Jax else [])


@pytest.mark.parametrize("cls", [peers.Steep, peers.NumPy], ids=lambda cls: cls.name)
def test_inputs_stay_as_they_are(cls: type[peers.Library]) -> None:
    """NumPy takes large operands for temporaries if nothing but the call seems to hold them."""
    library = cls()
    add = library.forward("add", [np.full(10**6, 1.0, np.float32), np.full(10**6, 2.0, np.float32)])
    assert add is not None
    for _ in range(3):
        np.testing.assert_array_equal(library.numpy(add()), 3)


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    libraries, absent = peers.installed()
    assert absent["torch.compile"] == "it needs a C++ compiler, and there is none"
    assert {"steep", "NumPy", "PyTorch", "PyTorch fused"} <= {library.name for library in libraries}
    libraries, absent = peers.installed(quick=True)
    assert "torch.compile" not in {*absent, *(library.name for library in libraries)}


def test_every_library_that_is_installed_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    from steep.benchmarks import programs

    names = {name: needs for name, needs in programs.FIT_NEEDS.items() if needs and all(map(programs._exists, needs))}
    if not names:
        pytest.skip("no other library to train with is installed")
    pytest.importorskip("sklearn")
    monkeypatch.setattr(programs, "FIT_NEEDS", names)
    result = programs.fit(threads=1, rounds=1, epochs=8)
    assert not result.failures
    assert set(result.times) == set(names)
    assert all(94 < details["accuracy, %"] <= 100 for details in result.details.values())
