"""The objects of an instruction set export their fill functions and nothing else.

Anything else that is global (an inline function, a template instance, a static of one) could be merged by the linker
with the same symbol of the baseline, and would crash on a CPU without the set.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import steep as st

ROOT = Path(__file__).parents[1]
OBJECTS = sorted(ROOT.glob("build/*/CMakeFiles/kernels_*.dir/**/*.o"))
PARTS = {"avx512_bf16": {"bf16.cpp.o"}}  # beside a whole set: what its newer instruction is for
SETS = sorted({re.search(r"kernels_(\w+)\.dir", str(path))[1] for path in OBJECTS})  # type: ignore[index]


@pytest.fixture
def nm() -> str:
    tool = shutil.which("nm")
    if tool is None:
        pytest.skip("there is no nm on this machine")
    if not OBJECTS:
        pytest.skip("there is no build directory: steep was installed from a wheel")
    return tool


def exported(nm: str, path: Path) -> list[str]:
    """Defined symbols that the linker sees: global, weak and unique ones."""
    lines = subprocess.run([nm, "-C", "--defined-only", path], capture_output=True, text=True, check=True).stdout
    symbols = [line.split(maxsplit=2)[1:] for line in lines.splitlines()]
    return [name for kind, name in symbols if kind.isupper() or kind in "uvw"]


def test_objects_export_only_their_fill_function(nm: str) -> None:
    for path in OBJECTS:
        isa = re.search(r"kernels_(\w+)\.dir", str(path))[1]  # type: ignore[index]
        names = exported(nm, path)
        assert len(names) == 1, f"{path.name} of {isa} exports {names}"
        assert re.fullmatch(rf"steep::{isa}::fill_\w+\(steep::Kernels&\)", names[0]), (
            f"{path.name} of {isa}: {names[0]}"
        )


def test_every_set_has_the_same_objects(nm: str) -> None:
    builds = {path.relative_to(ROOT).parts[1] for path in OBJECTS}
    for build in builds:
        here = [path for path in OBJECTS if path.relative_to(ROOT).parts[1] == build]
        names = {isa: {path.name for path in here if f"kernels_{isa}.dir" in str(path)} for isa in SETS}
        found = {isa: frozenset(objects) for isa, objects in names.items() if objects}
        for isa in PARTS.keys() & found.keys():
            assert found.pop(isa) == PARTS[isa]
        assert len({*found.values()}) == 1, names


def test_the_check_finds_a_leak(nm: str, tmp_path: Path) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("there is no compiler on this machine")
    source = tmp_path / "leak.cpp"
    source.write_text("inline int leak() { static int n; return ++n; }\nint (*keep)() = leak;\nstatic int hidden;\n")
    subprocess.run([compiler, "-c", source, "-o", tmp_path / "leak.o"], check=True)
    assert sorted(exported(nm, tmp_path / "leak.o")) == ["keep", "leak()", "leak()::n"]


def test_the_module_needs_no_cuda_library() -> None:
    """A package with CUDA kernels must be importable where there is no driver: the runtime is linked statically."""
    tool = shutil.which("readelf")
    if tool is None:
        pytest.skip("there is no readelf on this machine")
    dynamic = subprocess.run([tool, "-d", st._core.__file__], capture_output=True, text=True, check=True).stdout
    needed = [line for line in dynamic.splitlines() if "NEEDED" in line]
    assert needed
    assert not any(name in line for line in needed for name in ("libcuda", "libcudart", "libnvidia"))
