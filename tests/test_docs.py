"""The Python examples in the documents run, each document's from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def blocks(document: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d)], ids=lambda d: d.name)
def test_examples_run(document: Path) -> None:
    names: dict[str, Any] = {"__name__": "document"}
    for block in blocks(document):
        exec(compile(block, document.name, "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_files_that_documents_name_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = [document.parent / link for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text)]
    rooms = re.findall(r"`((?:csrc|python|tests|docs|benchmarks|examples|\.ci)/[\w./]*)`", text)
    missing = [path for path in [*links, *(ROOT / room for room in rooms)] if not path.exists()]
    assert not missing
