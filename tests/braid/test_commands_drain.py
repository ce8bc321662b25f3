"""What an operator may order of a gateway that another order is about already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from braid.commands_drain import LAST_WORDS, BadOrder, drain, may_stop
from braid.drained import Order, orders_file, read_orders, write_order

EXAMPLE = Path("topology/examples/two-gateways.yaml")
THIRD = "  gw-1-3: {region: gw-1, underlay: [192.0.2.34], snat_pools: [203.0.113.140/30]}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "net.yaml"
    found.write_text(EXAMPLE.read_text().replace("  gw-2-1:", THIRD + "  gw-2-1:"))
    return found


@pytest.mark.parametrize(
    ("order", "to", "says"),
    [
        (Order("gw-1-2"), "gw-1-3", "gw-1-1 is drained to gw-1-2: `braid undrain gw-1-1` first"),
        (Order("gw-1-2", back=True), "gw-1-2", "gw-1-1 is coming home from gw-1-2: wait until"),
        (Order("gw-1-2", back=True), None, "gw-1-1 is coming home from gw-1-2: wait until"),
        (None, "gw-2-1", "'gw-2-1' is no other gateway of the region of gw-1-1; choose of gw-1-2, gw-1-3"),
    ],
)
def test_a_drain_that_contradicts_another_is_refused_and_changes_nothing(
    file: Path, order: Order | None, to: str | None, says: str
) -> None:
    write_order(orders_file(file), "gw-1-1", order)
    before = read_orders(orders_file(file))
    with pytest.raises(BadOrder, match=says):
        drain("gw-1-1", to, False, 0.0, file, None)
    assert read_orders(orders_file(file)) == before


@pytest.mark.parametrize(("to", "goes"), [(None, "gw-1-3"), ("gw-1-3", "gw-1-3")])
def test_one_that_is_said_again_stays_what_it_was(file: Path, to: str | None, goes: str) -> None:
    write_order(orders_file(file), "gw-1-1", Order("gw-1-3"))
    assert drain("gw-1-1", to, False, 0.0, file, None) == 3, "it does not run"
    assert read_orders(orders_file(file)) == {"gw-1-1": Order(goes)}


@pytest.mark.parametrize(
    ("said", "silent", "may"),
    [
        ({}, 0.0, True),
        ({"state": "following"}, 9.0, False),
        ({"opening": 1}, 9.0, False),
        ({"stay": 1}, 9.0, False),
        ({"stay": 2, "stay_why": {"ending": 2}}, LAST_WORDS - 0.1, False),
        ({"stay": 2, "stay_why": {"ending": 2}}, LAST_WORDS, True),
        ({"stay": 2, "stay_why": {"tls": 1, "ending": 1}}, LAST_WORDS, False),
        ({"stay_why": {"listener": 1}}, 9.0, False),
    ],
)
def test_a_gateway_may_stop_when_nothing_would_break_off(said: dict[str, Any], silent: float, may: bool) -> None:
    assert may_stop({"state": "away", "opening": 0, "stay": 0, "stay_why": {}} | said, silent) is may
