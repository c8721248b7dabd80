"""Tables: arrays with the names of their columns and classes, and text files of them."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["Table", "read_csv"]

Array = np.ndarray[Any, Any]
_MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})


@dataclass(frozen=True, eq=False)
class Table:
    """Features ``x`` (N, features) and targets ``y`` (N,), with names; ``x, y = table`` takes it apart.

    ``feature_names`` are the columns of x. ``target_names`` are the classes that the integers in y stand for; where y
    holds other numbers, it is empty or names y's columns. Without targets, y is None.
    """

    x: Array
    y: Array | None
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter((self.x, self.y))


class _Lines:
    """The rows of a file with their line numbers; errors name both."""

    def __init__(self, path: Any, delimiter: str) -> None:
        self.path = path
        self.delimiter = delimiter

    def error(self, line: int, text: str) -> ValueError:
        return ValueError(f"read_csv: {self.path}, line {line}: {text}")

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        with open(self.path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=self.delimiter, skipinitialspace=True, strict=True)
            try:
                for row in reader:
                    if any(cell.strip() for cell in row):
                        yield reader.line_num, [cell.strip() for cell in row]
            except csv.Error as error:
                raise self.error(reader.line_num, f"not readable: {error}") from None
            except UnicodeDecodeError as error:
                raise ValueError(f"read_csv: {self.path} is not text in UTF-8: {error}") from None


def read_csv(
    path: str | os.PathLike[str],
    target: str | int | None = None,
    *,
    features: Sequence[str | int] | None = None,
    header: bool | None = None,
    delimiter: str = ",",
    missing: Literal["error", "nan", "drop"] = "error",
) -> Table:
    """A text file of numbers as a Table: one line a sample, one column a feature or the target.

    ``target`` is the column of the targets, by name or number (−1 is the last): texts become the integers of their
    classes, whose names are sorted in ``target_names``; whole numbers become int64, others float64. ``features`` are
    the columns of x, all others by default. The first line is a ``header`` if no cell of it is a number, or if you
    say so. Cells that are empty, "?", "NA", "NaN", "null" or "none" are missing: ``missing`` says whether that is an
    error, becomes NaN in x, or drops the line. A missing target is an error unless the line is dropped. Empty lines
    are skipped.

    Raises ValueError, with the line's number, for lines of another length and cells that are no numbers; KeyError for a
    column that the file does not have.

    >>> import tempfile, pathlib
    >>> import steep as st
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "flowers.csv"
    ...     _ = path.write_text("length,width,kind\\n5.1,3.5,rose\\n4.9,3.0,lily\\n")
    ...     table = st.data.read_csv(path, target="kind")
    >>> table.x, table.y, table.target_names
    (array([[5.1, 3.5],
           [4.9, 3. ]]), array([1, 0]), ('lily', 'rose'))
    """
    if missing not in ("error", "nan", "drop"):
        raise ValueError(f"read_csv: missing={missing!r} must be 'error', 'nan' or 'drop'")
    lines = _Lines(path, delimiter)
    rows = list(lines)
    if not rows:
        raise ValueError(f"read_csv: {path} is empty")
    width = len(rows[0][1])
    if header is None:
        header = not any(_is_missing(cell) or _number(cell) is not None for cell in rows[0][1])
    names = rows.pop(0)[1] if header else [str(i) for i in range(width)]
    if not rows:
        raise ValueError(f"read_csv: {path} has a header, but no line of data")
    for line, row in rows:
        if len(row) != width:
            raise lines.error(line, f"{len(row)} cells, but the first line has {width} (delimiter {delimiter!r})")
    y_column = None if target is None else _column(lines, names, target)
    if features is None:
        columns = [i for i in range(width) if i != y_column]
    else:
        columns = [_column(lines, names, feature) for feature in features]
    used = columns if y_column is None else [*columns, y_column]
    if missing == "drop":
        rows = [(line, row) for line, row in rows if not any(_is_missing(row[i]) for i in used)]
        if not rows:
            raise ValueError(f"read_csv: {path}: something is missing in every line")
    x = np.array([[_feature(lines, line, row, i, names, missing) for i in columns] for line, row in rows])
    feature_names = tuple(names[i] for i in columns)
    if y_column is None:
        return Table(x, None, feature_names)
    for line, row in rows:
        if _is_missing(row[y_column]):
            raise lines.error(line, f"the target, column {names[y_column]!r}, is missing: see missing='drop'")
    y, classes = _targets([row[y_column] for _, row in rows])
    return Table(x, y, feature_names, classes)


def _is_missing(cell: str) -> bool:
    return cell.lower() in _MISSING


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # Python takes 1_000 for a number
    except ValueError:
        return None


def _column(lines: _Lines, names: list[str], column: str | int) -> int:
    if isinstance(column, str):
        if names.count(column) == 1:
            return names.index(column)
    elif -len(names) <= column < len(names):
        return column % len(names)
    several = isinstance(column, str) and column in names
    raise KeyError(
        f"read_csv: {lines.path} has {'several columns' if several else 'no column'} {column!r}: "
        f"there are {len(names)}, {', '.join(names)}"
    )


def _feature(lines: _Lines, line: int, row: list[str], column: int, names: list[str], missing: str) -> float:
    cell = row[column]
    if _is_missing(cell):
        if missing == "nan":
            return math.nan
        raise lines.error(line, f"column {names[column]!r} is missing ({cell!r}): see missing='nan' or 'drop'")
    number = _number(cell)
    if number is None:
        raise lines.error(
            line,
            f"column {names[column]!r} holds {cell!r:.40}, no number: choose the columns of numbers by features=[…], "
            "the one of classes by target=…, and say header=True if this is a line of names",
        )
    return number


def _targets(cells: list[str]) -> tuple[Array, tuple[str, ...]]:
    """Targets as numbers, and the names of their classes if they are texts."""
    values = [_number(cell) for cell in cells]
    if any(value is None for value in values):
        classes, y = np.unique(np.array(cells), return_inverse=True)
        return y.astype(np.int64), tuple(classes.tolist())
    numbers = np.array(values, np.float64)
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
    return (numbers.astype(np.int64) if whole.all() else numbers), ()
