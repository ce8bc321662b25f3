"""A row of the routing table drains a gateway, and its end brings all home: downloads by curl go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bench import drain as bench
from braid.commands_drain import BadOrder, drain, undrain
from braid.drained import Order, orders_file, read_orders, write_order
from tests.netns.test_drain import check_objects, start_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

SIZES = ("10MB", "15MB", "20MB", "12MB", "18MB", "9MB")
ROW = {"gateway": bench.GATEWAY, "to": bench.SIBLING}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with bench.running(tmp_path_factory.mktemp("draintable"), "draintable") as lab:
        yield lab


def write(lab: RunningLab, *rows: dict[str, Any]) -> None:
    """The nodes look each second."""
    lab.file.write_text(yaml.safe_dump(bench.document("draintable") | {"transfers": list(rows)}, sort_keys=False))


def until(holds: Callable[[], object], patience: float = 30.0) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def state(lab: RunningLab) -> tuple[str, str, str]:
    said = bench.said(lab, bench.GATEWAY)
    return said["state"], said["to"], said["by"]


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def test_a_row_moves_all_connections_and_its_removal_brings_them_home(pair: RunningLab) -> None:
    running = [start_objects(pair, mode, *SIZES) for mode in ("nat", "fast-path", "http")]
    time.sleep(0.5)
    write(pair, ROW)
    until(lambda: state(pair) == ("away", bench.SIBLING, "transfers[0]"))
    assert drain(bench.GATEWAY, None, False, 30, None, pair.name) == 0, "nothing breaks off if it stops now"
    told = bench.said(pair, bench.GATEWAY)
    assert (told["flows"] >= 2, told["refused"], told["stay"]) == (True, 0, 0), told
    assert read_orders(orders_file(pair.file)) == {}
    with pytest.raises(BadOrder, match="remove the row"):
        undrain(bench.GATEWAY, 5, None, pair.name)
    with pytest.raises(BadOrder, match=f"{bench.GATEWAY} is drained itself"):
        drain(bench.SIBLING, bench.GATEWAY, False, 5, None, pair.name)
    write(pair)
    until(lambda: state(pair)[0] == "home")
    for child in running:
        check_objects(child, *SIZES)


def test_a_row_ends_by_itself(pair: RunningLab) -> None:
    running = start_objects(pair, "http", *SIZES)
    time.sleep(0.5)
    write(pair, ROW | {"until": moment(6)})
    until(lambda: state(pair)[0] == "away")
    until(lambda: state(pair)[0] == "home")
    check_objects(running, *SIZES)
    write(pair)


def test_a_row_that_contradicts_an_order_is_refused_and_the_last_good_table_stays(pair: RunningLab) -> None:
    def error() -> str:
        found: str | None = pair.status(bench.GATEWAY)["topology"]["reload_error"]
        return found or ""

    write_order(orders_file(pair.file), bench.SIBLING, Order(bench.GATEWAY))
    try:
        write(pair, ROW)
        until(lambda: "transfers[0]" in error())
        assert "braid undrain" in error()
        assert state(pair)[0] == "home"
    finally:
        write(pair)
        write_order(orders_file(pair.file), bench.SIBLING, None)
    until(lambda: not error())
