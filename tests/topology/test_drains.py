"""Rows of the routing table that drain a gateway: what a file may say, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from topology import effective
from topology.drains import Clash, DrainRow, clashes
from topology.source import TopologyError, parse
from topology.table import in_force

EXAMPLE = Path("topology/examples/two-gateways.yaml").read_text()
MORE = "".join(
    f"  gw-1-{n}: {{region: gw-1, underlay: [192.0.2.{31 + n}], snat_pools: [203.0.113.{128 + 4 * n}/30]}}\n"
    for n in (3, 4)
)
ROW = "{gateway: gw-1-1, to: gw-1-2}"


def text(*rows: str) -> str:
    """With four gateways in a region, and one in another."""
    table = "".join(f"  - {row}\n" for row in rows)
    written = EXAMPLE.replace("  gw-2-1:", f"{MORE}  gw-2-1:", 1)
    return f"{written}transfers:\n{table}" if rows else written


def problems(*rows: str) -> list[tuple[str, str]]:
    with pytest.raises(TopologyError) as caught:
        parse(text(*rows), "net.yaml")
    return [(problem.key, str(problem)) for problem in caught.value.problems]


def test_a_row_drains_one_gateway_to_another_until_a_moment() -> None:
    found = parse(text(ROW, '{gateway: gw-1-3, to: gw-1-4, routed: true, until: "1970-01-01T00:01:00Z"}'), "net.yaml")
    assert found.transfers == ()
    assert found.drains == (DrainRow("gw-1-1", "gw-1-2"), DrainRow("gw-1-3", "gw-1-4", True, 60.0))
    assert [row.place for row in found.drains] == ["transfers[0]", "transfers[1]"]
    assert in_force(found, 59.9) == found.drains
    assert in_force(found, 60.0) == found.drains[:1]
    shown = next(table for table in effective.tables(found) if table.title == "drains")
    assert shown.rows == (
        ("gw-1-1", "gw-1-2", "no", ""),
        ("gw-1-3", "gw-1-4", "yes", "1970-01-01T00:01:00Z"),
    )


@pytest.mark.parametrize(
    ("rows", "key", "says"),
    [
        (["{gateway: gw-1-9, to: gw-1-2}"], "transfers[0].gateway", "gw-1-9 is no gateway; use gateways: gw-1-1"),
        (["{gateway: gw-1-1, to: edge-1}"], "transfers[0].to", "edge-1 is no gateway"),
        (["{gateway: gw-1-1, to: gw-2-1}"], "transfers[0].to", "not of gw-1, the region of gw-1-1; use gw-1-2 or"),
        (["{gateway: gw-2-1, to: gw-1-1}"], "transfers[0].to", "add another gateway to the region"),
        (["{gateway: gw-1-1, to: gw-1-1}"], "transfers[0].to", "drained to itself"),
        ([ROW, ROW], "transfers[1].gateway", "gw-1-1 is drained to gw-1-2 already; keep one"),
        ([ROW, "{gateway: gw-1-1, to: gw-1-3}"], "transfers[1].gateway", "drained to gw-1-2 already"),
        ([ROW, "{gateway: gw-1-2, to: gw-1-1}"], "transfers[1].to", "gw-1-1 is drained itself, to gw-1-2"),
        ([ROW, "{gateway: gw-1-3, to: gw-1-1}"], "transfers[1].to", "gw-1-1 is drained itself"),
        ([ROW, "{gateway: gw-1-2, to: gw-1-3}"], "transfers[1].gateway", "gets the connections of gw-1-1"),
        ([ROW, "{gateway: gw-1-3, to: gw-1-2}"], "transfers[1].to", "gets the connections of gw-1-1 already"),
        (["{gateway: gw-1-1}"], "transfers[0].to", "missing"),
        (["{gateway: gw-1-1, to: gw-1-2, until: 2027-01-31}"], "transfers[0].until", "is no moment"),
        (["{gateway: gw-1-1, to: gw-1-2, route: true}"], "transfers[0].route", "did you mean `routed:`?"),
        (["{gateway: gw-1-1, to: gw-1-2, proxies: [c]}"], "transfers[0].proxies", "known here: gateway, to, routed"),
        (["drain"], "transfers[0]", "is no mapping"),
    ],
)
def test_what_is_refused(rows: list[str], key: str, says: str) -> None:
    ((place, problem),) = problems(*rows)
    assert place == key
    assert says in problem
    assert problem.startswith("net.yaml:")


def test_of_three_that_form_a_circle_the_last_ones_are_refused() -> None:
    rows = ("{gateway: gw-1-1, to: gw-1-2}", "{gateway: gw-1-2, to: gw-1-3}", "{gateway: gw-1-3, to: gw-1-1}")
    assert [key for key, _ in problems(*rows)] == ["transfers[1].gateway", "transfers[2].to"]


def test_drains_of_different_gateways_are_no_contradiction() -> None:
    assert list(clashes([("a", "b"), ("c", "d")])) == []
    assert list(clashes([("a", "a")])) == [
        Clash(0, "to", "a is drained to itself", "name another gateway of its region")
    ]
