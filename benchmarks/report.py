"""A row's figures, the tables on the screen, and the file of figures."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .peers import UNTAPED
from .timing import ratio, summary

__all__ = [
    "Result",
    "Table",
    "document",
    "geometric_mean",
    "number",
    "print_header",
    "print_libraries",
    "print_other_work",
    "show_ratio",
    "write_file",
    "write_json",
]

BEST, BEST_TAPED = "best", "best with a tape"
UNITS = {"µs": 1e6, "ms": 1e3}  # in a second


@dataclass
class Result:
    """A measured row. ``times`` are the seconds of a call by library and round; ``failures`` what went wrong."""

    name: str
    group: str
    times: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    table: str = "operations"
    unit: str = "µs"  # that people read the times in
    floor: float | None = None  # the least seconds that this machine needs
    details: dict[str, dict[str, float]] = field(default_factory=dict)  # further figures by library and heading

    def ratios(self) -> dict[str, float]:
        """The peers' times over steep's: above 1, steep is faster. "best" is the smallest.

        NumPy keeps no tape; "best with a tape" is the smallest without it.
        """
        if "steep" not in self.times:
            return {}
        own = self.times["steep"]
        found = {name: ratio(times, own) for name, times in self.times.items() if name != "steep"}
        taped = [x for name, x in found.items() if name not in UNTAPED]
        return {
            **found,
            **({BEST: min(found.values())} if found else {}),
            **({BEST_TAPED: min(taped)} if taped else {}),
        }

    def of_limit(self) -> float | None:
        """The least time over steep's: 1 is as fast as the machine can be."""
        own = self.times.get("steep")
        return self.floor / summary(own).median if self.floor and own else None

    def figures(self) -> dict[str, Any]:
        """The row in a file of figures."""
        return {
            "name": self.name,
            "group": self.group,
            "table": self.table,
            "unit": self.unit,
            "seconds": {name: {**vars(summary(t)), "rounds": t} for name, t in self.times.items()},
            "ratios": self.ratios(),
            "floor": self.floor,
            "of_limit": self.of_limit(),
            "details": self.details,
            "failures": self.failures,
        }


def print_header(machine: dict[str, Any]) -> None:
    """The header in words."""
    # The variants of PyTorch have its version and threads.
    libraries = {name: lib for name, lib in machine["libraries"].items() if not lib.get("variant")}
    versions = ", ".join(f"{name} {lib['version']}" for name, lib in libraries.items())
    threads = ", ".join(f"{name} {lib['threads']}" for name, lib in libraries.items())
    print(f"CPU       {machine['cpu']}, {machine['cores']} cores; steep uses {machine['instruction_set']}")
    if peaks := machine.get("peaks"):
        print(
            f"peaks     {peaks['operations'] / 1e9:.0f} GFLOP/s in float32 multiply-adds, "
            f"{peaks['bandwidth'] / 1e9:.1f} GB/s read and written in a copy"
        )
    print(f"versions  {versions}, Python {machine['python']}")
    print(f"threads   {threads}")
    for name, reason in machine["absent"].items():
        print(f"          {name} takes no part: {reason}")
    print(f"times     microseconds a call: median of {machine['rounds']} rounds, ± half the distance of the quartiles")
    print("          limit is the least time that the peaks allow, over steep's")
    print("          × is the peer's time over steep's: above 1, steep is faster; best is the row's fastest peer,")
    print("          taped its fastest peer that can differentiate: all but NumPy")


class Table:
    """Prints rows as they come, in columns of fixed width."""

    def __init__(self, title: str, peers: Sequence[str], names: Sequence[str], limits: bool) -> None:
        self.peers = peers
        self.limits = limits
        self.width = max(map(len, [*names, "geometric mean, other elementwise"]))
        self.columns = [max(10, len(name)) for name in peers]
        head = f"\n{title:{self.width}}  {'steep':>10}    ±" + ("  limit" if limits else "")
        head += "".join(f"  {name:>{width}}      ×" for name, width in zip(peers, self.columns, strict=True))
        print(head + ("  × best  × taped" if len(peers) > 1 else ""))

    def row(self, result: Result) -> None:
        """Prints one row."""
        own = result.times.get("steep")
        text = f"  {'failed':>10}     "
        if own is not None:
            text = f"  {number(summary(own).median * 1e6):>10} {spread(own):>4}"
        if self.limits:
            limit = result.of_limit()
            text += f"  {'' if limit is None else f'{limit:.0%}':>5}"
        ratios = result.ratios()
        for name, width in zip(self.peers, self.columns, strict=True):
            cell = "failed" if name in result.failures else "–"
            if name in result.times:
                cell = number(summary(result.times[name]).median * 1e6)
            text += f"  {cell:>{width}} {show_ratio(ratios.get(name)):>6}"
        print(f"{result.name:{self.width}}{text}{self._best(ratios)}", flush=True)

    def _best(self, ratios: dict[str, float]) -> str:
        if len(self.peers) < 2:
            return ""
        return f"  {show_ratio(ratios.get(BEST)):>6}  {show_ratio(ratios.get(BEST_TAPED)):>7}"

    def means(self, results: Sequence[Result]) -> None:
        """Prints the geometric means of the ratios, for each group and for all rows."""
        print()
        groups = list(dict.fromkeys(result.group for result in results))
        for group in [*groups, None] if len(groups) > 1 else [None]:
            chosen = [result.ratios() for result in results if group in (None, result.group)]
            if not any(chosen):
                continue
            means = {name: geometric_mean(chosen, name) for name in [*self.peers, BEST, BEST_TAPED]}
            found = {name: mean for name, mean in means.items() if mean is not None}
            title = f"geometric mean, {group or 'all'}"
            text = f"{title:{self.width}}  {'':10} {'':4}" + " " * 7 * self.limits
            for name, width in zip(self.peers, self.columns, strict=True):
                text += f"  {'':{width}} {show_ratio(found.get(name)):>6}"
            print(text + self._best(found))


def print_libraries(result: Result) -> None:
    """A table of one row only: a line for each library, with its further figures."""
    headings = list(dict.fromkeys(heading for details in result.details.values() for heading in details))
    print(f"\n{result.name:42}  {result.unit:>8}    ±       ×" + "".join(f"  {heading}" for heading in headings))
    ratios = result.ratios()
    for name, times in result.times.items():
        text = f"{name:42}  {number(summary(times).median * UNITS[result.unit]):>8} {spread(times):>4}"
        text += f"  {show_ratio(ratios[name]) if name in ratios else '':>6}"
        for heading in headings:
            value = result.details.get(name, {}).get(heading)
            text += f"  {'–' if value is None else number(value):>{len(heading)}}"
        print(text)


def geometric_mean(ratios: Sequence[dict[str, float]], name: str) -> float | None:
    """Of the ratios by that name; None if there are none."""
    found = [r[name] for r in ratios if name in r]
    return math.exp(sum(map(math.log, found)) / len(found)) if found else None


def number(x: float) -> str:
    """Three digits at least."""
    return f"{x:,.0f}" if x >= 99.95 else f"{x:.1f}" if x >= 9.995 else f"{x:.2f}"


def spread(times: list[float]) -> str:
    """Half the distance of the quartiles, in percent of the median."""
    s = summary(times)
    return f"{(s.high - s.low) / s.median / 2:.0%}"


def show_ratio(x: float | None) -> str:
    """A ratio in a column six characters wide."""
    return "–" if x is None else f"{x:.3f}" if x < 0.0995 else f"{x:.2f}" if x < 99.995 else f"{x:.0f}"


def print_other_work(share: float | None) -> None:
    """Warns if others worked too."""
    if share is not None and share > 0.05:
        print(f"\nOther programs used {share:.0%} of the processors meanwhile: these times will not repeat.")


def document(machine: dict[str, Any], results: Sequence[Result]) -> dict[str, Any]:
    """All figures of a run, as they are written to a file."""
    return {"format": 1, **machine, "rows": [result.figures() for result in results]}


def write_json(path: Path, machine: dict[str, Any], results: Sequence[Result]) -> None:
    """Writes all figures, or leaves the file as it was. Raises OSError."""
    write_file(path, json.dumps(document(machine, results), indent=1, ensure_ascii=False).encode() + b"\n")


def write_file(path: Path, content: bytes) -> None:
    """Writes a file, or leaves it as it was. Raises OSError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    with open(temporary, "wb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
