"""The table on the screen and the file of figures."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import steep as st

from .peers import Library
from .timing import Plan, ratio, summary

__all__ = ["OtherWork", "Result", "Table", "header", "print_header", "print_other_work", "write_json"]


@dataclass
class Result:
    """A measured row. ``times`` are the seconds of a call by library and round; ``failures`` what went wrong."""

    name: str
    group: str
    times: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def ratios(self) -> dict[str, float]:
        """The peers' times over steep's: above 1, steep is faster. "best" is the smallest."""
        if "steep" not in self.times:
            return {}
        own = self.times["steep"]
        found = {name: ratio(times, own) for name, times in self.times.items() if name != "steep"}
        return {**found, "best": min(found.values())} if found else {}


class OtherWork:
    """How much of the processors' time goes to other programs: more than a little spoils every figure."""

    def __init__(self) -> None:
        self.start = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        """Seconds of wall-clock time, of all processors' work, and of this process's work; None where unknown."""
        try:
            ticks = [int(n) for n in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
        except (OSError, ValueError):
            return None
        idle, waiting = ticks[3:5]
        own = os.times()
        return own.elapsed, (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK"), own.user + own.system

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
    """What the figures depend on."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_name(),
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "instruction_set": st._core.isa,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "libraries": {lib.name: {"version": lib.version, "threads": lib.threads()} for lib in libraries},
        "absent": absent,
    }


def print_header(machine: dict[str, Any]) -> None:
    """The header in words."""
    versions = ", ".join(f"{name} {lib['version']}" for name, lib in machine["libraries"].items())
    threads = ", ".join(f"{name} {lib['threads']}" for name, lib in machine["libraries"].items())
    print(f"CPU       {machine['cpu']}, {machine['cores']} cores; steep uses {machine['instruction_set']}")
    print(f"versions  {versions}, Python {machine['python']}")
    print(f"threads   {threads}")
    for name, reason in machine["absent"].items():
        print(f"          {name} takes no part: {reason}")
    print(f"times     microseconds a call: median of {machine['rounds']} rounds, ± half the distance of the quartiles")
    print("          × is the peer's time over steep's: above 1, steep is faster; best is the row's fastest peer")
    print()


class Table:
    """Prints rows as they come, in columns of fixed width."""

    def __init__(self, libraries: Sequence[Library], names: Sequence[str]) -> None:
        self.peers = [lib.name for lib in libraries if lib.name != "steep"]
        self.width = max(map(len, [*names, "geometric mean, elementwise"]))
        head = f"{'':{self.width}}  {'steep':>10}    ±"
        head += "".join(f"  {name:>10}      ×" for name in self.peers)
        print(head + ("  × best" if len(self.peers) > 1 else ""))

    def row(self, result: Result) -> None:
        """Prints one row."""
        own = result.times.get("steep")
        if own is None:
            text = f"  {'failed':>10}     "
        else:
            s = summary(own)
            text = f"  {_number(s.median * 1e6):>10} {f'{(s.high - s.low) / s.median / 2:.0%}':>4}"
        ratios = result.ratios()
        for name in self.peers:
            cell = "failed" if name in result.failures else "–"
            if name in result.times:
                cell = _number(summary(result.times[name]).median * 1e6)
            text += f"  {cell:>10} {_ratio(ratios.get(name)):>6}"
        if len(self.peers) > 1:
            text += f"  {_ratio(ratios.get('best')):>6}"
        print(f"{result.name:{self.width}}{text}", flush=True)

    def means(self, results: Sequence[Result]) -> None:
        """Prints the geometric means of the ratios, for each group and for all rows."""
        print()
        groups = list(dict.fromkeys(result.group for result in results))
        for group in [*groups, None] if len(groups) > 1 else [None]:
            chosen = [result.ratios() for result in results if group in (None, result.group)]
            if not any(chosen):
                continue
            title = f"geometric mean, {group or 'all'}"
            text = f"{title:{self.width}}  {'':10}     "
            text += "".join(f"  {'':10} {_ratio(_geometric_mean(chosen, name)):>6}" for name in self.peers)
            print(text + (f"  {_ratio(_geometric_mean(chosen, 'best')):>6}" if len(self.peers) > 1 else ""))


def _geometric_mean(ratios: Sequence[dict[str, float]], name: str) -> float | None:
    found = [r[name] for r in ratios if name in r]
    return math.exp(sum(map(math.log, found)) / len(found)) if found else None


def _number(x: float) -> str:
    return f"{x:,.0f}" if x >= 99.95 else f"{x:.1f}" if x >= 9.995 else f"{x:.2f}"


def _ratio(x: float | None) -> str:
    return "–" if x is None else f"{x:.2f}" if x < 99.995 else f"{x:.0f}"


def print_other_work(share: float | None) -> None:
    """Warns if others worked too."""
    if share is not None and share > 0.05:
        print(f"\nOther programs used {share:.0%} of the processors meanwhile: these times will not repeat.")


def write_json(path: Path, machine: dict[str, Any], results: Sequence[Result]) -> None:
    """Writes all figures, or leaves the file as it was. Raises OSError."""
    rows = []
    for result in results:
        times = {name: {**vars(summary(t)), "rounds": t} for name, t in result.times.items()}
        rows.append(
            {
                "name": result.name,
                "group": result.group,
                "seconds": times,
                "ratios": result.ratios(),
                "failures": result.failures,
            }
        )
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump({"format": 1, **machine, "rows": rows}, file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
