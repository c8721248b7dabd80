"""The figures as a page for a browser: one file that needs nothing else, in light and in dark."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from . import plots
from .report import BEST, BEST_TAPED, UNITS, geometric_mean, number, show_ratio

__all__ = ["page"]

Row = Mapping[str, Any]

STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
p { max-width: 60rem; }
body { max-width: 90rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; }
dl { display: grid; grid-template-columns: max-content auto; gap: .15rem 1rem; }
dt { opacity: .65; } dd { margin: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .1rem .6rem; text-align: right; }
thead th { border-bottom: 1px solid; } tbody th { text-align: left; font-weight: normal; }
tr.group th { padding-top: .8rem; font-weight: bold; } tr.mean { font-style: italic; }
tbody tr:hover { background: rgb(128 128 128 / .15); }
small { opacity: .65; } img { max-width: 100%; height: auto; }
"""

HOW_TO_READ = """
<p>Every row is the same work done by steep and its peers in turns, in one process and in short blocks, with rests in
between; the results are checked before anything is timed. Times are medians of the rounds, and ± is half the distance
of their quartiles. <b>×</b> is the peer's time over steep's: above 1, on green, steep is faster; below 1, on red, it is
slower. <b>Best</b> is the fastest peer of the row, <b>taped</b> the fastest one that can differentiate: all but NumPy.
<b>Of limit</b> is the least time that the machine needs, by its peaks, over steep's time; it is left out where the data
fit the caches.</p>
"""


def page(figures: Mapping[str, Any]) -> str:
    """The page, as HTML, from what ``--json`` writes."""
    tables = dict.fromkeys(row["table"] for row in figures["rows"])
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>steep bench</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>steep bench</h1>",
        *_header(figures),
        "<h2>How to read it</h2>",
        HOW_TO_READ,
    ]
    for table in tables:
        rows = [row for row in figures["rows"] if row["table"] == table]
        parts += map(_program, rows) if table == "programs" else _table(table, rows)
    parts += [*_failures(figures["rows"]), *_plots(figures["rows"]), "</body>\n</html>\n"]
    return "\n".join(parts)


def _header(figures: Mapping[str, Any]) -> Iterator[str]:
    libraries = figures["libraries"].items()
    peaks, share = figures.get("peaks"), figures.get("other_work")
    entries = {
        "date": figures["date"],
        "CPU": f"{figures['cpu']}, {figures['cores']} cores, {figures['system']}",
        "instruction set": f"{figures['instruction_set']} (steep's)",
        "peaks": peaks
        and f"{peaks['operations'] / 1e9:.0f} GFLOP/s in float32 multiply-adds, "
        f"{peaks['bandwidth'] / 1e9:.1f} GB/s read and written in a copy",
        "versions": ", ".join(f"{name} {lib['version']}" for name, lib in libraries if not lib.get("variant"))
        + f", Python {figures['python']}",
        "threads": ", ".join(f"{name} {lib['threads']}" for name, lib in libraries if not lib.get("variant")),
        "absent": ", ".join(f"{name} ({reason})" for name, reason in figures["absent"].items()),
        "rounds": figures["rounds"],
        "other programs": None if share is None else f"{share:.0%} of the processors meanwhile",
    }
    yield "<dl>"
    for name, text in entries.items():
        if text:
            yield f"<dt>{name}</dt><dd>{escape(str(text))}</dd>"
    yield "</dl>"


def _table(title: str, rows: Sequence[Row]) -> Iterator[str]:
    peers = list(dict.fromkeys(name for row in rows for name in row["seconds"] if name != "steep"))
    columns = [*peers, BEST, BEST_TAPED]
    limits = any(row["of_limit"] for row in rows)
    heads = ["steep, µs", "±", *(["of limit"] if limits else [])]
    heads += [head for name in peers for head in (escape(name), "×")] + ["× best", "× taped"]
    yield f'<h2>{escape(title.capitalize())}</h2>\n<div class="scroll"><table>'
    yield f"<thead><tr><th></th>{''.join(f'<th>{head}</th>' for head in heads)}</tr></thead>\n<tbody>"
    for group in dict.fromkeys(row["group"] for row in rows):
        members = [row for row in rows if row["group"] == group]
        yield f'<tr class="group"><th colspan="{len(heads) + 1}">{escape(group)}</th></tr>'
        for row in members:
            yield f"<tr><th>{escape(row['name'])}</th>{''.join(_cells(row, peers, limits))}</tr>"
        means = {name: geometric_mean([row["ratios"] for row in members], name) for name in columns}
        cells = "".join(f"<td></td>{_ratio(means[name])}" for name in peers)
        empty = "<td></td>" * (3 if limits else 2)
        best = _ratio(means[BEST]) + _ratio(means[BEST_TAPED])
        yield f'<tr class="mean"><th>geometric mean</th>{empty}{cells}{best}</tr>'
    yield "</tbody></table></div>"


def _cells(row: Row, peers: Sequence[str], limits: bool) -> Iterator[str]:
    own = row["seconds"].get("steep")
    yield f"<td>{number(own['median'] * 1e6)}</td><td>{_spread(own)}</td>" if own else "<td>failed</td><td></td>"
    if limits:
        yield f"<td>{row['of_limit']:.0%}</td>" if row["of_limit"] else "<td></td>"
    for name in peers:
        times = row["seconds"].get(name)
        cell = number(times["median"] * 1e6) if times else "failed" if name in row["failures"] else "–"
        yield f"<td>{cell}</td>{_ratio(row['ratios'].get(name))}"
    yield _ratio(row["ratios"].get(BEST)) + _ratio(row["ratios"].get(BEST_TAPED))


def _program(row: Row) -> str:
    """A table of one row, with a line for each library."""
    headings = list(dict.fromkeys(heading for details in row["details"].values() for heading in details))
    heads = "".join(f"<th>{escape(head)}</th>" for head in ["", row["unit"], "±", "×", *headings])
    lines = []
    for name, times in row["seconds"].items():
        details = [row["details"].get(name, {}).get(heading) for heading in headings]
        cells = "".join(f"<td>{'–' if value is None else number(value)}</td>" for value in details)
        median = number(times["median"] * UNITS[row["unit"]])
        ratio = "<td></td>" if name == "steep" else _ratio(row["ratios"].get(name))
        lines.append(f"<tr><th>{escape(name)}</th><td>{median}</td><td>{_spread(times)}</td>{ratio}{cells}</tr>")
    table = f"<table><thead><tr>{heads}</tr></thead>\n<tbody>{''.join(lines)}</tbody></table>"
    return f'<h2>{escape(row["name"].capitalize())}</h2>\n<div class="scroll">{table}</div>'


def _spread(times: Mapping[str, float]) -> str:
    return f"<small>{(times['high'] - times['low']) / times['median'] / 2:.0%}</small>"


def _ratio(x: float | None) -> str:
    """A cell, the greener or redder the further from 1; a factor of 4 has the full colour."""
    if x is None:
        return "<td>–</td>"
    strength = min(abs(math.log(x, 4)), 1.0) * 0.5
    colour = "40 160 80" if x >= 1 else "210 60 50"
    return f'<td style="background: rgb({colour} / {strength:.2f})">{show_ratio(x)}</td>'


def _failures(rows: Sequence[Row]) -> Iterator[str]:
    found = [(name, row["name"], reason) for row in rows for name, reason in row["failures"].items()]
    if found:
        yield "<h2>What failed</h2>\n<ul>"
        yield from (f"<li>{escape(name)} in {escape(row)}: {escape(reason)}</li>" for name, row, reason in found)
        yield "</ul>"


def _plots(rows: Sequence[Row]) -> Iterator[str]:
    yield "<h2>Plots</h2>"
    if not plots.available():
        yield "<p>Plots need matplotlib, which was not installed when this page was written.</p>"
        return
    for title, figure in plots.draw(rows).items():
        data = base64.b64encode(plots.render(figure, "svg")).decode()
        title = escape(title[0].upper() + title[1:])
        yield f'<h3>{title}</h3>\n<img alt="{title}" src="data:image/svg+xml;base64,{data}">'
