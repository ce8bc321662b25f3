"""Two sources of drains: the routing table of the topology file, and what ``braid drain`` has ordered."""

from __future__ import annotations

from pathlib import Path

import pytest

from braid.drained import Order, contradictions, order_of, orders_file, read_orders, write_order
from tests.topology.test_drains import text
from topology.source import parse

FILE = Path("net.yaml")
TABLE = parse(text('{gateway: gw-1-1, to: gw-1-2, until: "1970-01-01T00:01:00Z"}'), "net.yaml")
A, B, C = "gw-1-1", "gw-1-2", "gw-1-3"


def test_a_gateway_is_drained_by_either_and_what_was_ordered_goes_first() -> None:
    row = order_of(TABLE, A, {}, 0.0)
    assert row == Order(B)
    assert row.by == "transfers[0]"
    assert order_of(TABLE, A, {}, 60.0) is None, "the row has ended"
    assert order_of(TABLE, B, {}, 0.0) is None
    ordered = order_of(TABLE, C, {C: Order("gw-1-4")}, 0.0)
    assert ordered == Order("gw-1-4")
    assert ordered.by == "braid drain"
    both = order_of(TABLE, A, {A: Order(B)}, 0.0)
    assert both is not None
    assert both.by == "transfers[0]", "it stays drained when the line goes"
    assert order_of(TABLE, A, {A: Order(B, back=True)}, 0.0) == Order(B, back=True)
    assert order_of(TABLE, A, {A: Order(C)}, 0.0) == Order(C)


@pytest.mark.parametrize(
    ("gateway", "order", "says"),
    [
        (A, Order(B), None),
        (A, Order(B, back=True), None),
        (C, Order("gw-1-4"), None),
        (A, Order("gone"), None),
        (A, Order(C), "gw-1-1 is drained to gw-1-2 already; `braid undrain gw-1-1` first, or change the row"),
        (A, Order(C, back=True), "already; wait until it is home"),
        (A, Order(B, routed=True), "gw-1-1 is drained without `routed` already"),
        (B, Order(A), "gw-1-1 is drained itself, to gw-1-2; `braid undrain gw-1-2` first"),
        (B, Order(C), "gw-1-2 gets the connections of gw-1-1"),
        (C, Order(A), "gw-1-1 is drained itself"),
        (C, Order(B), "gw-1-2 gets the connections of gw-1-1 already"),
    ],
)
def test_an_order_that_the_table_contradicts_is_told_with_its_place(
    gateway: str, order: Order, says: str | None
) -> None:
    found = contradictions(FILE, TABLE, {gateway: order}, 0.0)
    if says is None:
        assert found == []
    else:
        (problem,) = found
        assert problem.startswith(
            f"net.yaml: transfers[0]: {A} to {B}, but `braid drain` has {gateway} at {order.to}: "
        )
        assert says in problem
    assert contradictions(FILE, TABLE, {gateway: order}, 60.0) == [], "the row has ended"


def test_who_ordered_it_is_not_written(tmp_path: Path) -> None:
    file = orders_file(tmp_path / "net.yaml")
    write_order(file, A, Order(B, routed=True, by="transfers[7]"))
    assert read_orders(file)[A].by == "braid drain"
