"""Runs the four outside suites and writes what came of them to docs/conformance.md.

PyTorch 2.13.0 and expecttest must be installed, and checkouts of the other three suites named by STEEP_ARRAY_API_TESTS,
STEEP_EINOPS_TESTS and STEEP_HIPS_TESTS. Ends with 1 if a suite has failures.
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
}
HEAD = """# Conformance

Four suites that nobody here wrote run against steep. `python tests/conformance/report.py` runs them again and writes
this page; the programs in `tests/conformance` say what is left out, and why.
"""


def shortened(line: str) -> str:
    return line if len(line) <= 118 else line[:115] + "..."


def main() -> int:
    code, summary, sections = 0, [], []
    for program, (title, text) in SUITES.items():
        done = subprocess.run([sys.executable, str(HERE / program)], capture_output=True, text=True)
        if not done.stdout.strip():
            raise SystemExit(f"{program} did not run:\n{done.stderr}")
        code |= done.returncode
        lines = [shortened(line) for line in done.stdout.rstrip().splitlines()]
        total = next(line for line in reversed(lines) if re.search(r"\d (samples )?passed", line))
        summary.append(f"- **{title}**: {total}.")
        sections.append(f"## {title}\n\n{text}\n\n```\n" + "\n".join(lines) + "\n```\n")
    (HERE.parents[1] / "docs" / "conformance.md").write_text("\n".join([HEAD, *summary, "", *sections]))
    print("\n".join(summary))
    return code


if __name__ == "__main__":
    sys.exit(main())
