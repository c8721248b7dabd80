"""The step that a thread records as a CUDA graph (``steep.cuda.graph``), for those who do more than queue work on it.

What Python does in a step is not repeated by a replay. Where it matters, it is noted here, and done again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Postponed", "Recording", "recording"]


class Postponed(Exception):
    """The step must run once more as it is before it can be recorded, for the reason given."""


class Recording:
    """What belongs to the replays of a step, and what takes back the recording of one that fails."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream  # of random numbers
        self.start = self.furthest = (stream.seed, stream.offset)  # in it
        self.fits: list[Callable[[], bool]] = []  # whether the graph still does what the step would
        self.before: list[Callable[[], None]] = []  # a replay
        self.after: list[Callable[[], None]] = []
        self.undo: list[Callable[[], None]] = []


class _Thread(threading.local):
    recording: Recording | None = None


_thread = _Thread()


def recording() -> Recording | None:
    """What the calling thread records; None almost always."""
    return _thread.recording


def set_recording(recording: Recording | None) -> None:
    """Begins or ends it."""
    _thread.recording = recording
