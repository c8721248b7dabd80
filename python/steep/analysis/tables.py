"""Results as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["table"]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns beneath their heads, aligned on the right.

    >>> print(table(["size", "error"], [["10", "0.5"], ["1000", "0.25"]]))
    size  error
      10    0.5
    1000   0.25
    """
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in (heads, *rows)]
    return "\n".join("  ".join(line) for line in lines)
