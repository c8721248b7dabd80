"""The package as a user meets it: imports, settings, command line, documentation."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import steep as st

ROOT = Path(__file__).parents[1]
NOT_IMPORTED = ("torch", "sklearn", "matplotlib", "tqdm", "safetensors", "scipy", "jax")


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )


def modules() -> list[ModuleType]:
    names = [m.name for m in pkgutil.walk_packages(st.__path__, "steep.") if "_core" not in m.name]
    return [st, *(importlib.import_module(name) for name in names if not name.endswith("__main__"))]


# --- import -----------------------------------------------------------------------------------------------------------

MEASURE = """
import time
import numpy
start = time.process_time()
import steep
print(time.process_time() - start)
"""


def test_import_time(tmp_path: Path) -> None:
    """`import steep` takes at most 0.1 s more than `import numpy`: of processor time, in one of a few runs, as the
    machine may be busy, and the first one compiles to bytecode."""
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    assert any(float(python("-c", MEASURE, **bytecode).stdout) <= 0.1 for _ in range(10))


def test_import_loads_no_other_library_and_starts_nothing() -> None:
    code = f"""
import steep, sys, os
print([name for name in {NOT_IMPORTED} if name in sys.modules], len(os.listdir("/proc/self/task")))
"""
    result = python("-W", "error", "-c", code, OPENBLAS_NUM_THREADS="1")
    assert result.stdout.strip() == "[] 1", result.stdout + result.stderr
    assert result.stderr == ""


def test_public_names_exist_and_are_documented() -> None:
    for module in modules():
        for name in getattr(module, "__all__", []):
            assert hasattr(module, name), f"{module.__name__}.{name}"
            value = getattr(module, name)
            if inspect.isroutine(value) or inspect.isclass(value):
                assert value.__doc__, f"{module.__name__}.{name} has no docstring"
        assert module.__doc__ or module.__name__ == "steep.__main__", f"{module.__name__} has no docstring"


def test_version() -> None:
    text = (ROOT / "pyproject.toml").read_text() if (ROOT / "pyproject.toml").exists() else ""
    assert re.search(r'^version = "(.+)"$', text, re.MULTILINE)[1] == st.__version__  # type: ignore[index]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert st.__version__ in changelog


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", st._core.available_isas())
def test_isa_setting(isa: str) -> None:
    result = python("-c", "import steep; print(steep._core.isa, float(steep.exp(steep.zeros(9)).sum()))", STEEP_ISA=isa)
    assert result.stdout.split() == [isa, "9.0"]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("STEEP_ISA", "mmx", r"STEEP_ISA='mmx' is not available here: use one of \w+"),
        ("STEEP_NUM_THREADS", "0", "STEEP_NUM_THREADS='0' must be a whole number from 1 to 1024"),
        ("STEEP_NUM_THREADS", "two", "STEEP_NUM_THREADS='two' must be a whole number"),
        ("STEEP_NUM_THREADS", "3x", "STEEP_NUM_THREADS='3x' must be a whole number"),
        ("STEEP_NUM_THREADS", "99999999999", "STEEP_NUM_THREADS='99999999999' must be a whole number"),
    ],
)
def test_bad_settings_are_errors_of_the_import(variable: str, value: str, message: str) -> None:
    result = python("-c", "import steep", **{variable: value})
    assert result.returncode == 1
    assert re.search(message, result.stderr), result.stderr
    assert "Aborted" not in result.stderr


def test_number_of_threads_setting() -> None:
    for value, count in (("3", 3), ("", os.cpu_count()), ("1", 1)):
        result = python("-c", "import steep; print(steep.get_num_threads())", STEEP_NUM_THREADS=value)
        assert int(result.stdout) == count or value == ""


# --- command line -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["-m", "steep", "info"], ["-c", "import steep; steep.show_config()"]], ids=str)
def test_info(command: list[str]) -> None:
    result = python(*command)
    assert result.returncode == 0, result.stderr
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in result.stdout.splitlines() if "  " in line)
    assert result.stdout.startswith(f"steep            {st.__version__}\n")
    assert st._core.isa in result.stdout
    assert lines["device cpu"] == "available"
    assert lines["device cuda"]  # devices, or the reason why there is none
    assert re.search(r"^threads +\d+ ", result.stdout, re.MULTILINE)


def test_command_line_errors() -> None:
    for arguments in ([], ["train"], ["bench", "--threads", "0"]):
        result = python("-m", "steep", *arguments)
        assert result.returncode == 2
        assert "usage: steep" in result.stderr
    assert python("-m", "steep", "--help").returncode == 0


# --- documentation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", modules(), ids=lambda m: m.__name__)
def test_doctests(module: ModuleType) -> None:
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, _ = doctest.testmod(module, optionflags=flags)
    assert failed == 0


def test_doctests_are_found() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = sum(len(test.examples) for module in modules() for test in finder.find(module))
    assert examples > 150


def test_readme_example_runs_as_printed() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert blocks, "README.md has no ```python block"
    assert len(blocks[0].strip().splitlines()) <= 15
    result = python("-W", "error", "-c", blocks[0])
    assert result.returncode == 0, result.stderr[-2000:]
    printed = re.search(r"```python\n.*?```\s+```(?:text)?\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    if printed:  # the output that README shows below its example
        assert result.stdout.strip() == printed[1].strip()
