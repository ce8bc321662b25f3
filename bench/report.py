"""``python -m bench.report``: docs/performance.md and its charts, from bench/results.json and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import figures, results
from bench.chart import Bar, Chart, draw
from bench.goals import Row, rows
from bench.machine import described

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "performance.md"
CHARTS = ROOT / "docs" / "performance"

HEAD = """# Performance

Written by `python -m bench.report` from [bench/results.json](../bench/results.json); `make bench` writes both.
How it is measured: [bench/README.md](../bench/README.md).

**Measured on:** {machine}.

Client, nodes, origin and traffic generator share these CPUs: figures compare contenders and say little about machines.
{rounds} rounds, contenders in turn; medians, with the least and the most. Ratios are those of medians."""

GOALS = """## Goals

"Met?" tells which of the two numbers is reached; of two directions the worse one counts.
{short}"""

CORE = """## The core alone

One thread of `braid-micro`, no kernel: what a packet costs in each role, and memory. Measured {when}."""

BULK = [figures.tcp(direction, flows) for flows in figures.FLOWS for direction in ("up", "down")]


def pages(document: Mapping[str, Any]) -> dict[Path, str]:
    """Every file of the report with its text."""
    charts = _charts(document)
    return {PAGE: _page(document, charts), **{CHARTS / name: draw(chart) for name, chart in charts.items()}}


def write(document: Mapping[str, Any]) -> None:
    CHARTS.mkdir(parents=True, exist_ok=True)
    for file, text in pages(document).items():
        file.write_text(text)


def _page(document: Mapping[str, Any], charts: Mapping[str, Chart]) -> str:
    judged = rows(document)
    parts = [
        HEAD.format(machine=described(document["machine"]), rounds=document["options"]["rounds"]),
        GOALS.format(short=_short(judged)),
        _markdown([["what", "at least", "goal", "measured", "met?"], *(_cells(row) for row in judged)]),
    ]
    for group, contenders in document["groups"].items():
        parts.append(f"## {group[0].upper()}{group[1:]}")
        parts += [
            f"![{chart.title}](performance/{name})" for name, chart in charts.items() if chart.title.endswith(group)
        ]
        parts.append(_markdown(results.table(contenders, document["contenders"])))
    when = document.get("core_measured", document["machine"]["measured"])
    parts.append(CORE.format(when=when))
    parts.append(_markdown([["what", "median (least to most)", "unit"], *_core(document)]))
    parts.append("## Failures\n\n" + _failures(document))
    return "\n\n".join(parts) + "\n"


def _cells(row: Row) -> list[str]:
    return [row.what, row.least, row.goal, row.measured, row.met]


def _short(judged: Sequence[Row]) -> str:
    short = [row.what for row in judged if row.met == "no"]
    unknown = [row.what for row in judged if row.met not in ("no", "goal", "at least")]
    lines = [f"{sum(row.met == 'goal' for row in judged)} of {len(judged)} reach the goal."]
    lines += [f"Fall short of the least: {'; '.join(short)}."] if short else ["None falls short of the least."]
    lines += [f"Not measured: {'; '.join(unknown)}."] if unknown else []
    return "\n".join(lines)


def _core(document: Mapping[str, Any]) -> list[list[str]]:
    return [[f"`{name}`", results.cell(of), of["unit"]] for name, of in document["core"].items()]


def _failures(document: Mapping[str, Any]) -> str:
    told = [f"- {line}" for line in document["missing"]]
    told += [
        "- round {round}, {contender}, {workload}, {group}: {problem}".format(**failure)
        for failure in document["failures"]
    ]
    return "\n".join(told) or "None: every contender took part, and every measurement gave a figure."


def _markdown(cells: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|---" * len(cells[0]) + "|", *lines[1:]])


def _charts(document: Mapping[str, Any]) -> dict[str, Chart]:
    trips = [figures.round_trip(state, part) for state in ("idle", "under load") for part in ("p50", "p99")]
    return {
        "tcp.svg": _chart(document, "TCP", figures.WITH_OFFLOAD, BULK),
        "udp.svg": _chart(
            document, "UDP at a loss below 0.1 %", figures.WITH_OFFLOAD, [*map(figures.udp, figures.SIZES)]
        ),
        "round-trip.svg": _chart(document, "Round trip", figures.WITH_OFFLOAD, trips),
        "tcp-without-offload.svg": _chart(document, "TCP", figures.WITHOUT_OFFLOAD, BULK),
    }


def _chart(document: Mapping[str, Any], title: str, group: str, wanted: Sequence[figures.Figure]) -> Chart:
    names: Mapping[str, str] = document["contenders"]
    found = document["groups"].get(group, {})
    groups = tuple((f.name, tuple(_bar(found.get(key, {}).get(f.name)) for key in names)) for f in wanted)
    return Chart(f"{title}, {group}", wanted[0].unit, wanted[0].digits, tuple(names.values()), groups)


def _bar(summary: Mapping[str, Any] | None) -> Bar | None:
    return Bar(summary["median"], summary["min"], summary["max"]) if summary else None


def main() -> int:
    try:
        document = json.loads(RESULTS.read_text())
    except FileNotFoundError:
        print(f"bench.report: {RESULTS.relative_to(ROOT)} is missing: run make bench", file=sys.stderr)
        return 2
    write(document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
