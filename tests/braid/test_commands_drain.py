"""What an operator may order of a gateway that another order is about already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from braid.cli import braid
from braid.commands_drain import LAST_WORDS, BadOrder, drain, may_stop, undrain
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


@pytest.fixture
def tabled(file: Path) -> Path:
    """The topology file drains gw-1-1 to gw-1-2."""
    file.write_text(file.read_text() + "transfers:\n  - {gateway: gw-1-1, to: gw-1-2}\n")
    return file


@pytest.mark.parametrize(
    ("gateway", "to", "routed", "says"),
    [
        ("gw-1-1", "gw-1-3", False, r"net.yaml: transfers\[0\]: gw-1-1 is drained to gw-1-2 already; change the row"),
        ("gw-1-1", None, True, r"transfers\[0\]: gw-1-1 is drained without `routed` already"),
        ("gw-1-2", "gw-1-1", False, r"transfers\[0\]: gw-1-1 is drained itself"),
        ("gw-1-3", "gw-1-2", False, r"transfers\[0\]: gw-1-2 gets the connections of gw-1-1 already"),
    ],
)
def test_what_contradicts_the_table_is_not_ordered(
    tabled: Path, gateway: str, to: str | None, routed: bool, says: str
) -> None:
    with pytest.raises(BadOrder, match=says):
        drain(gateway, to, routed, 0.0, tabled, None)
    assert read_orders(orders_file(tabled)) == {}


def test_nor_what_contradicts_another_order(file: Path) -> None:
    write_order(orders_file(file), "gw-1-1", Order("gw-1-2"))
    with pytest.raises(BadOrder, match="gw-1-1 is drained itself, to gw-1-2; name a gateway that is not"):
        drain("gw-1-2", "gw-1-1", False, 0.0, file, None)
    assert read_orders(orders_file(file)) == {"gw-1-1": Order("gw-1-2")}


@pytest.mark.parametrize("to", [None, "gw-1-2"])
def test_what_the_table_drains_already_is_followed_and_not_ordered(
    tabled: Path, to: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drain("gw-1-1", to, False, 0.0, tabled, None) == 3, "it does not run"
    assert "is drained by" in capsys.readouterr().out
    assert read_orders(orders_file(tabled)) == {}


def test_what_the_table_drains_comes_home_when_the_row_goes(tabled: Path) -> None:
    write_order(orders_file(tabled), "gw-1-1", Order("gw-1-2"))
    with pytest.raises(BadOrder, match=r"net.yaml: transfers\[0\]: drains gw-1-1; remove the row"):
        undrain("gw-1-1", 0.0, tabled, None)
    assert read_orders(orders_file(tabled)) == {"gw-1-1": Order("gw-1-2")}


def test_braid_check_tells_what_was_ordered_against_the_file(tabled: Path) -> None:
    assert CliRunner().invoke(braid, ["check", str(tabled)]).exit_code == 0
    write_order(orders_file(tabled), "gw-1-2", Order("gw-1-1"))
    done = CliRunner().invoke(braid, ["check", str(tabled)])
    assert done.exit_code == 2
    assert "transfers[0]: gw-1-1 to gw-1-2, but `braid drain` has gw-1-2 at gw-1-1" in done.output


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
