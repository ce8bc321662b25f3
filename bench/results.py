"""What was measured, as it is collected and as it stands in results.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.core import Measured
    from bench.figures import Figure

Document = dict[str, Any]


@dataclass(slots=True)
class Collected:
    """Values in the order in which they were taken: by group, contender and figure; the core's by name and unit."""

    groups: dict[str, dict[str, dict[Figure, list[float]]]] = field(default_factory=dict)
    core: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, group: str, contender: str, values: Mapping[Figure, float]) -> None:
        figures = self.groups.setdefault(group, {}).setdefault(contender, {})
        for figure, value in values.items():
            figures.setdefault(figure, []).append(value)

    def add_core(self, values: Measured) -> None:
        for name, value in values.items():
            self.core.setdefault(name, []).append(value)

    def fail(self, group: str, contender: str, workload: str, turn: int, problem: str) -> None:
        self.failures.append(
            {"group": group, "contender": contender, "workload": workload, "round": turn, "problem": problem}
        )


def document(
    collected: Collected,
    *,
    machine: Mapping[str, Any],
    options: Mapping[str, Any],
    names: Mapping[str, str],
    missing: tuple[str, ...],
) -> Document:
    """As JSON. ``names`` are those of the contenders by key, ``missing`` says who was left out and why."""
    return {
        "machine": dict(machine),
        "options": dict(options),
        "contenders": dict(names),
        "missing": list(missing),
        "failures": collected.failures,
        "groups": {
            group: {
                contender: {figure.name: _summary(values, figure.unit, figure.digits) for figure, values in of.items()}
                for contender, of in contenders.items()
            }
            for group, contenders in collected.groups.items()
        },
        "core": core(collected),
    }


def core(collected: Collected) -> dict[str, Any]:
    return {name: _summary(values, unit, 1) for (name, unit), values in collected.core.items()}


def _summary(values: list[float], unit: str, digits: int) -> dict[str, Any]:
    kept = [round(value, digits + 2) for value in values]
    return {
        "unit": unit,
        "digits": digits,
        "median": round(median(kept), digits + 2),
        "min": min(kept),
        "max": max(kept),
        "values": kept,
    }


def table(group: Mapping[str, Mapping[str, Mapping[str, Any]]], names: Mapping[str, str]) -> list[list[str]]:
    """Rows of cells: a heading, then one row per figure with the median, the least and the most of each contender."""
    keys = [key for key in names if key in group]
    known = dict.fromkeys(figure for key in keys for figure in group[key])
    units = {figure: of["unit"] for key in keys for figure, of in group[key].items()}
    rows = [["median (least to most)", *(names[key] for key in keys)]]
    rows += [[f"{figure} ({units[figure]})", *(cell(group[key].get(figure)) for key in keys)] for figure in known]
    return rows


def cell(summary: Mapping[str, Any] | None) -> str:
    if summary is None:
        return "-"
    return "{median:.{digits}f} ({min:.{digits}f} to {max:.{digits}f})".format(**summary)


def plain(rows: list[list[str]]) -> str:
    """For a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
