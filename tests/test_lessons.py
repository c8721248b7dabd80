"""The lessons run from top to bottom without errors and warnings, and are stored without outputs.

With ``STEEP_LESSON_PICTURES=FOLDER`` the pictures of the lessons that run are written there, to be looked at.
"""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from steep.notebook import in_notebook

DOCS = Path(__file__).parents[1] / "docs"
LESSONS = sorted(DOCS.glob("lessons/*.ipynb"))
TABLE = [line for line in (DOCS / "course.md").read_text(encoding="utf-8").splitlines() if ".ipynb)" in line]

each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def cells(lesson: Path, kind: str) -> list[dict[str, Any]]:
    notebook = json.loads(lesson.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def headings(lesson: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", "\n".join(text(cell) for cell in cells(lesson, "markdown")), re.MULTILINE)


# --- as they are stored -----------------------------------------------------------------------------------------------


@each_lesson
def test_nothing_that_was_run_is_stored(lesson: Path) -> None:
    notebook = json.loads(lesson.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}, cell["id"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], f"clear the outputs of {cell['id']}"
            assert cell["execution_count"] is None, cell["id"]


@each_lesson
def test_cells_are_named_short_and_explained(lesson: Path) -> None:
    notebook = json.loads(lesson.read_text(encoding="utf-8"))
    names = [cell["id"] for cell in notebook["cells"]]
    assert len({*names}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)
    for cell in cells(lesson, "code"):
        source = text(cell)
        compile(source, cell["id"], "exec")
        assert 0 < len(source.splitlines()) <= 32, cell["id"]
        assert not re.search(r"^\s*[%!]", source, re.MULTILINE), f"{cell['id']}: plain Python only"
    first, *others = cells(lesson, "markdown")
    assert text(first).startswith(f"# {lesson.stem[0]}. ")
    assert len(others) * 2 >= len(cells(lesson, "code"))


@each_lesson
def test_files_that_lessons_name_exist(lesson: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", "\n".join(text(cell) for cell in cells(lesson, "markdown")))
    assert all((lesson.parent / link).exists() for link in links), links


@pytest.mark.parametrize("row", TABLE)
def test_headings_that_the_table_names_exist(row: str) -> None:
    places = re.findall(r"\[[^]]+\]\((lessons/[^)]+)\): ([^;|]+)", row)
    assert places
    for path, names in places:
        missing = {name.strip() for name in names.split("·")} - {*headings(DOCS / path)}
        assert not missing


def test_every_heading_of_a_lesson_is_in_the_table() -> None:
    named = " ".join(TABLE)
    for lesson in LESSONS:
        for heading in headings(lesson)[1:]:
            assert heading in named or heading == "Try it yourself" or heading.endswith("manner"), heading


# --- as they run ------------------------------------------------------------------------------------------------------


@pytest.mark.host(reason="a lesson runs in a process of its own, on its default device")
@each_lesson
def test_lesson_runs(lesson: Path, tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    for library in ("ipykernel", "matplotlib", "sklearn"):
        pytest.importorskip(library)
    assert not in_notebook()  # though ipykernel is imported
    notebook = nbformat.read(lesson, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("from steep.notebook import in_notebook\n\nassert in_notebook()"))
    client = nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")})  # no history in the user's folder
    outputs = [(cell["id"], output) for cell in notebook.cells for output in cell.get("outputs", ())]
    warned = [output["text"] for _, output in outputs if "Warning" in output.get("text", "")]
    assert not warned
    pictures = [
        (name, output["data"]["image/png"]) for name, output in outputs if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 2
    folder = os.environ.get("STEEP_LESSON_PICTURES")
    for name, picture in pictures if folder else ():
        path = Path(str(folder), lesson.stem, f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(picture))
