"""Where a warning points to: the line outside steep that led to it."""

from __future__ import annotations

import sys

__all__ = ["level_outside"]


def level_outside(unless: str | None = None) -> int:
    """The ``stacklevel`` with which ``warnings.warn`` in the calling function points to the first line outside steep.

    0 if the way there leads through a module whose name begins with ``unless``.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and (name := f"{frame.f_globals.get('__name__')}.").startswith("steep."):
        if unless is not None and name.startswith(unless):
            return 0
        frame, level = frame.f_back, level + 1
    return level
