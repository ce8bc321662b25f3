"""docs/performance.md and its charts say what bench/results.json says, no more and no less."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from bench import report, results
from bench.chart import Bar, Chart, draw
from bench.report import pages


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report.RESULTS.read_text())
    return found


def test_the_report_is_what_the_results_give(document: dict[str, Any]) -> None:
    for file, text in pages(document).items():
        assert file.read_text() == text, f"{file.name} differs: run python -m bench.report"


def test_no_chart_is_left_from_before(document: dict[str, Any]) -> None:
    assert {*report.CHARTS.iterdir()} | {report.PAGE} == pages(document).keys()


def test_medians_are_those_of_the_values(document: dict[str, Any]) -> None:
    summaries = [
        *document["core"].values(),
        *(f for group in document["groups"].values() for contender in group.values() for f in contender.values()),
    ]
    assert summaries
    for summary in summaries:
        ordered = sorted(summary["values"])
        assert (summary["min"], summary["max"]) == (ordered[0], ordered[-1])
        below = sum(value < summary["median"] - 1e-9 for value in ordered)
        above = sum(value > summary["median"] + 1e-9 for value in ordered)
        assert max(below, above) <= len(ordered) / 2
        assert ordered[0] > 0


def test_failures_and_absence_are_told(document: dict[str, Any]) -> None:
    failure = {"group": "g", "contender": "nebula", "workload": "w", "round": 3, "problem": "it broke"}
    text = pages({**document, "failures": [failure], "missing": ["x is left out"]})[report.PAGE]
    assert "- x is left out\n- round 3, nebula, w, g: it broke\n" in text


def test_a_chart_is_well_formed_and_to_scale() -> None:
    bars = (Bar(5, 4, 10), None, Bar(2.5, 2, 3))
    root = ET.fromstring(draw(Chart("A < B", "s & t", 1, ("one", "two", "three"), (("group <1>", bars),))))
    tag = "{http://www.w3.org/2000/svg}"
    widths = [float(r.get("width", "0")) for r in root.iter(f"{tag}rect") if r.get("x") == "210"]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    texts = [text.text for text in root.iter(f"{tag}text")]
    assert "A < B (s & t)" in texts
    assert "not measured" in texts


def test_a_table_shows_what_a_contender_lacks() -> None:
    group = {"a": {"f": {"unit": "s", "digits": 1, "median": 2.0, "min": 1.0, "max": 3.0}}, "b": {}}
    assert results.table(group, {"a": "A", "b": "B"})[1] == ["f (s)", "2.0 (1.0 to 3.0)", "-"]
