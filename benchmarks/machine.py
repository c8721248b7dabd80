"""What the figures depend on: the processor, the versions, and how much others worked meanwhile."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import steep as st

from .peers import Library
from .timing import Plan

__all__ = ["OtherWork", "header"]


class OtherWork:
    """How much of the processors' time goes to other programs: more than a little spoils every figure."""

    def __init__(self) -> None:
        self.start = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        """Seconds of wall-clock time, of all processors' work, and of this process's and its children's work.

        None where unknown.
        """
        try:
            ticks = [int(n) for n in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
        except (OSError, ValueError):
            return None
        idle, waiting = ticks[3:5]
        own = os.times()
        worked = own.user + own.system + own.children_user + own.children_system
        return own.elapsed, (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK"), worked

    def share(self) -> float | None:
        """The share since the start, from 0 to 1."""
        now = self._now()
        if self.start is None or now is None:
            return None
        elapsed, all_work, own_work = (b - a for a, b in zip(self.start, now, strict=True))
        return min(1.0, max(0.0, (all_work - own_work) / (elapsed * (os.cpu_count() or 1)))) if elapsed > 0 else None


def cpu_name() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def header(libraries: Sequence[Library], absent: dict[str, str], plan: Plan) -> dict[str, Any]:
    """All of it."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_name(),
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "instruction_set": st._core.isa,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "libraries": {
            lib.name: {
                "version": lib.version,
                "threads": lib.threads(),
                **({} if lib.operations else {"variant": True}),
            }
            for lib in libraries
        },
        "absent": absent,
    }
