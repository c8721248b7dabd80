"""Two runs side by side: what has become slower or faster between them.

Machines differ, and the same one differs from hour to hour. So steep's time is taken relative to that of a peer in the
same round of the same run, where there is one; the plain times are shown too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .report import UNITS, number
from .timing import Summary, summary

__all__ = ["Change", "FiguresError", "changes", "print_changes", "read_figures"]

Document = Mapping[str, Any]
NOTICEABLE = 0.03  # a smaller change than this is none: other runs of the same program differ by as much


class FiguresError(ValueError):
    """A file is not one that ``steep bench --json`` wrote."""


def read_figures(path: Path) -> dict[str, Any]:
    """The figures of an earlier run. Raises OSError, and FiguresError for a file of another kind."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FiguresError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("rows"), list) or "format" not in found:
        raise FiguresError(f"{path} was not written by steep bench --json")
    if found["format"] != 1:
        raise FiguresError(f"{path} has the format {found['format']!r}; this version of steep reads 1")
    if "gpu" in found:
        raise FiguresError(f"{path} has the figures of a GPU, {found['gpu']}; here the CPU is measured")
    libraries = found.get("libraries")
    known = isinstance(libraries, dict) and all(isinstance(library, dict) for library in libraries.values())
    if not known or not all(map(_is_row, found["rows"])):
        raise FiguresError(f"{path} is damaged: its rows are not those of steep bench --json")
    return found


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str) or not isinstance(row.get("seconds"), dict):
        return False
    times = list(row["seconds"].values())
    if not all(isinstance(t, dict) and _are_times(t.get("rounds")) for t in times):
        return False
    return len({len(t["rounds"]) for t in times}) <= 1


def _are_times(rounds: Any) -> bool:
    return (
        isinstance(rounds, list)
        and bool(rounds)
        and all(isinstance(t, (int, float)) and not isinstance(t, bool) and 0 < t < float("inf") for t in rounds)
    )


class Change:
    """steep's time in a row of two runs, plain and relative to the steadiest peer that both runs have.

    A peer that was disturbed in one of the runs scatters, and so is not the one.
    """

    def __init__(self, old: Document, new: Document) -> None:
        self.name: str = new["name"]
        self.unit: str = new.get("unit", "µs")
        self.old, self.new = (summary(row["seconds"]["steep"]["rounds"]) for row in (old, new))
        self.peer: str | None = None  # without one the plain times count
        self.relative = self.old, self.new
        peers = [name for name in new["seconds"] if name != "steep" and name in old["seconds"]]
        if peers:
            relative = {name: (_relative(old, name), _relative(new, name)) for name in peers}
            self.peer = min(peers, key=lambda name: _spread(*relative[name]))
            self.relative = relative[self.peer]

    @property
    def factor(self) -> float:
        """The new time over the old one: above 1, steep has become slower."""
        old, new = self.relative
        return new.median / old.median

    @property
    def spread(self) -> float:
        """What the two runs scatter by: a factor that differs less from 1 is chance."""
        return _spread(*self.relative)

    @property
    def verdict(self) -> str:
        """ "slower", "faster", or nothing for a change within the spread."""
        least = 1 + max(self.spread, NOTICEABLE)
        return "slower" if self.factor > least else "faster" if self.factor < 1 / least else ""


def _relative(row: Document, peer: str) -> Summary:
    """steep's time over the peer's in each round."""
    own, other = (np.array(row["seconds"][name]["rounds"]) for name in ("steep", peer))
    return summary(list(own / other))


def _spread(*summaries: Summary) -> float:
    """The distances of the quartiles, added."""
    return sum((s.high - s.low) / s.median for s in summaries)


def changes(old: Document, new: Document) -> list[Change]:
    """Of the rows in which both runs have a time of steep."""
    before = {row["name"]: row for row in old["rows"] if "steep" in row["seconds"]}
    return [Change(before[r["name"]], r) for r in new["rows"] if r["name"] in before and "steep" in r["seconds"]]


def differences(old: Document, new: Document) -> list[str]:
    """What else is not the same in the two runs, and moves the figures too."""
    found = []
    for key, name in (("cpu", "CPU"), ("cores", "cores"), ("instruction_set", "instruction set"), ("python", "Python")):
        if old.get(key) != new.get(key):
            found.append(f"{name}: {old.get(key)} → {new.get(key)}")
    for name, library in new["libraries"].items():
        before = old["libraries"].get(name, {})
        for key in ("version", "threads") if before else ():
            if before.get(key) != library.get(key):
                found.append(f"{name}'s {key}: {before.get(key)} → {library.get(key)}")
    return found


def print_changes(old: Document, new: Document, found: Sequence[Change], path: Path) -> bool:
    """Prints them, and returns whether something has become slower."""
    print(f"\ncompared with {path}, of {old.get('date', 'an unknown date')}")
    print("          × is the new time over the old one: above 1, steep has become slower")
    print("          by peer: of steep's time relative to the steadiest peer's in the same round, which is what counts")
    print("          ± is what chance explains; without a peer the plain times count")
    for difference in differences(old, new):
        print(f"          not the same: {difference}")
    width = max(map(len, ["", *(change.name for change in found)]))
    print(f"\n{'':{width}}  {'old':>10}  {'new':>13}  {'×':>5}  {'by peer':>21}  {'±':>4}")
    for change in found:
        times = [number(s.median * UNITS[change.unit]) for s in (change.old, change.new)]
        text = f"{change.name:{width}}  {times[0]:>10}  {times[1]:>10} {change.unit}"
        text += f"  {change.new.median / change.old.median:>5.2f}"
        text += f"  {f'{change.peer} {change.factor:.2f}' if change.peer else '–':>21}"
        print(f"{text}  {max(change.spread, NOTICEABLE):>4.0%}  {change.verdict}".rstrip())
    slower = [change.name for change in found if change.verdict == "slower"]
    faster = sum(change.verdict == "faster" for change in found)
    print(f"\n{len(slower)} of {len(found)} rows slower, {faster} faster")
    for name in slower:
        print(f"slower: {name}")
    return bool(slower)
