"""The examples run as a learner runs them, and the models they train are good."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import steep as st

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize(("name", "accuracy"), [("digits", 0.93), ("iris", 0.90), ("mixed", 0.93)])
def test_quick_example(name: str, accuracy: float, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    assert main(["--quick", "--seed", "1", "--device", str(st.get_default_device())]) >= accuracy
    assert "validation accuracy" in capsys.readouterr().out


def test_examples_are_all_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"digits", "iris", "mixed"}


def test_example_as_a_script() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "iris.py"), "--quick"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1].startswith("validation accuracy 0.9")
    assert result.stderr == ""
