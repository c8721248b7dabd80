"""Runs the five outside suites and writes what came of them to docs/conformance.md.

PyTorch 2.13.0, expecttest and absl-py must be installed, and checkouts of the other four suites named by
STEEP_ARRAY_API_TESTS, STEEP_EINOPS_TESTS, STEEP_HIPS_TESTS and STEEP_KERAS_TESTS. With names of programs
(``report.py keras_suite.py``) it runs these alone and keeps what the page says of the others. Ends with 1 if a suite
has failures.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SUITES = {
    "opinfo.py": (
        "PyTorch's OpInfo",
        "Every operation that PyTorch's table of operations and steep both have, on PyTorch's own sample inputs, in "
        "float32 and float64 (integers where it takes no floats): values, and gradients with random cotangents. "
        "What PyTorch's table says must be an error has to be one here too.",
    ),
    "array_api.py": (
        "The Array API standard's tests",
        "The suite of the standard, data-apis/array-api-tests, version 2024.12 of the main namespace, with 20 examples "
        "a test.",
    ),
    "einops_suite.py": ("einops", "einops' own tests, with steep as one of its backends."),
    "hips_autograd.py": (
        "HIPS/autograd",
        "Autograd's own tests of gradients, first and second, reverse and forward; steep in the place of its NumPy.",
    ),
    "keras_suite.py": (
        "Keras",
        "Keras' own tests of losses, optimizers, schedules and metrics, with the numbers that are written in them.",
    ),
}
PAGE = HERE.parents[1] / "docs" / "conformance.md"
HEAD = """# Conformance

Five suites that nobody here wrote run against steep. `python tests/conformance/report.py` runs them again and writes
this page; the programs in `tests/conformance` say what is left out, and why.
"""


def shortened(line: str) -> str:
    return line if len(line) <= 118 else line[:115] + "..."


def section(program: str) -> tuple[int, str]:
    """Runs a suite: its exit code, and what the page says of it."""
    title, text = SUITES[program]
    done = subprocess.run([sys.executable, str(HERE / program)], capture_output=True, text=True)
    if not done.stdout.strip():
        raise SystemExit(f"{program} did not run:\n{done.stderr}")
    lines = "\n".join(shortened(line) for line in done.stdout.rstrip().splitlines())
    return done.returncode, f"## {title}\n\n{text}\n\n```\n{lines}\n```\n"


def main(*programs: str) -> int:
    before = PAGE.read_text() if PAGE.exists() else ""
    code, summary, sections = 0, [], []
    for program, (title, _) in SUITES.items():
        old = re.search(rf"^## {re.escape(title)}\n.*?^```\n.*?^```\n", before, re.DOTALL | re.MULTILINE)
        if programs and program not in programs:
            if old is not None:
                sections.append(old[0])
        else:
            failed, new = section(program)
            code |= failed
            sections.append(new)
    for text in sections:
        total = [line for line in text.splitlines() if re.search(r"\d (samples )?passed", line)][-1]
        summary.append(f"- **{text.splitlines()[0][3:]}**: {total}.")
    PAGE.write_text("\n".join([HEAD, *summary, "", *sections]))
    print("\n".join(summary))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
