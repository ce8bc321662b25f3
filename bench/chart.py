"""Bar charts as SVG: groups of horizontal bars with a whisker from the least to the most."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = ("#8a8f98", "#0b6e4f", "#6fbf73", "#c8553d", "#e0a458")
WIDTH, LEFT, RIGHT = 860, 210, 120
BAR, GAP, TOP = 15, 14, 62


@dataclass(frozen=True, slots=True)
class Bar:
    value: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    unit: str
    digits: int
    series: tuple[str, ...]
    groups: tuple[tuple[str, tuple[Bar | None, ...]], ...]
    """A name and one bar per series each; None where nothing was measured."""


def draw(chart: Chart) -> str:
    most = max((bar.most for _, bars in chart.groups for bar in bars if bar), default=1) or 1
    scale = (WIDTH - LEFT - RIGHT) / most
    lines = [*_legend(chart.series)]
    y = TOP
    for name, bars in chart.groups:
        middle = y + BAR * len(bars) / 2 + 4
        lines.append(f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>')
        for index, bar in enumerate(bars):
            lines += _bar(bar, COLOURS[index % len(COLOURS)], y, scale, chart.digits)
            y += BAR
        y += GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}"'
        ' font-family="sans-serif" font-size="12" fill="#222">'
    )
    title = f'<text x="10" y="20" font-size="15">{escape(chart.title)} ({escape(chart.unit)})</text>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', title, *lines, "</svg>", ""])


def _legend(series: Sequence[str]) -> list[str]:
    lines, x = [], 10
    for index, name in enumerate(series):
        lines.append(f'<rect x="{x}" y="32" width="11" height="11" fill="{COLOURS[index % len(COLOURS)]}"/>')
        lines.append(f'<text x="{x + 15}" y="42" font-size="11">{escape(name)}</text>')
        x += 28 + round(5.8 * len(name))
    return lines


def _bar(bar: Bar | None, colour: str, y: float, scale: float, digits: int) -> list[str]:
    if bar is None:
        return [f'<text x="{LEFT + 4}" y="{y + 12}" font-size="11">not measured</text>']
    end, low, high = (LEFT + value * scale for value in (bar.value, bar.least, bar.most))
    middle = y + BAR / 2 - 0.5
    return [
        f'<rect x="{LEFT}" y="{y}" width="{bar.value * scale:.1f}" height="{BAR - 2}" fill="{colour}"/>',
        f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#222" stroke-width="1"/>',
        f'<text x="{max(end, high) + 5:.1f}" y="{y + 11}" font-size="11">{bar.value:,.{digits}f}</text>',
    ]
