from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from braid import pki
from braid.control import ControlPlane
from braid.credentials import load_credentials
from braid.drained import Order, orders_file, write_order
from braid.events import Established
from braid.reload import Reloader, reason_to_refuse, restart_needed, signature
from braid.roles import role_runtime
from braid.view import Loaded
from tests.braid.fake_core import Fabric, FakeCore
from tests.braid.test_node import START
from topology.source import load, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO = Path("lab/demo.yaml").read_text()


@pytest.fixture
def reloader(tmp_path: Path) -> Iterator[Reloader]:
    """An intermediate that runs from files in a directory of its own."""
    file = tmp_path / "braid.yaml"
    file.write_text(DEMO)
    topology = load(file)
    pki.init(topology, tmp_path / "pki", START)
    core = FakeCore(Fabric(), topology.nodes["mid-ams-1"].number)
    rng = Random(1)
    control = ControlPlane(
        topology=topology,
        name="mid-ams-1",
        credentials=load_credentials(tmp_path / "pki", "mid-ams-1"),
        core=core,
        role=role_runtime(topology.nodes["mid-ams-1"].role, rng),
        rng=rng,
        clock=lambda: 0.0,
        today=lambda: START,
        fail=lambda _message: None,
    )
    control.begin()
    yield Reloader(file, tmp_path / "pki", control, Loaded("first", 1.0), lambda: 2.0)
    core.stop()


async def test_a_changed_file_is_taken_over(reloader: Reloader) -> None:
    changed = DEMO.replace("[10.90.0.11, ", "[10.90.0.13, ")
    reloader.topology_file.write_text(changed)
    event = reloader.control.reloaded
    await reloader.reload()
    assert event.is_set()
    core = reloader.control.core
    assert isinstance(core, FakeCore)
    addresses = [address for neighbour in core.desired["neighbours"] for address in neighbour["addresses"]]
    assert "10.90.0.13:7400" in addresses
    assert reloader.loaded.revision != "first"
    assert reloader.loaded.at == 2.0
    assert reloader.loaded.error is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("braid: 1\nregions: {}\n", "braid.yaml"),
        ("\x00", "braid.yaml"),
        (DEMO.replace("mid-ams-1", "mid-ams-2"), "is not in it any more"),
        (DEMO.replace("name: demo", "name: other"), "topology of 'other'"),
    ],
)
async def test_a_bad_file_changes_nothing_and_is_shown(reloader: Reloader, text: str, problem: str) -> None:
    before = reloader.control.topology
    reloader.topology_file.write_text(text)
    await reloader.reload_topology()
    assert reloader.control.topology is before
    assert problem in (reloader.loaded.error or "")
    assert reloader.loaded.revision == "first"
    reloader.topology_file.write_text(DEMO)
    await reloader.reload_topology()
    assert reloader.loaded.error is None


async def test_a_file_that_contradicts_what_was_ordered_changes_nothing(reloader: Reloader) -> None:
    sibling = (
        "  gw-sto-2: {region: gw-sto, underlay: [10.90.0.39, fd90::39], snat_pools: [10.93.1.0/30, fd93:5::/126]}\n"
    )
    two = DEMO.replace("  gw-sto-1:\n", f"{sibling}  gw-sto-1:\n", 1)
    table = two.replace("transfers:\n", "transfers:\n  - {gateway: gw-sto-1, to: gw-sto-2}\n", 1)
    orders = orders_file(reloader.topology_file)
    write_order(orders, "gw-sto-2", Order("gw-sto-1"))
    reloader.topology_file.write_text(table)
    await reloader.reload_topology()
    assert reloader.control.topology.drains == ()
    assert "transfers[0]: gw-sto-1 to gw-sto-2, but `braid drain` has gw-sto-2 at" in (reloader.loaded.error or "")
    write_order(orders, "gw-sto-2", None)
    await reloader.reload_topology()
    assert reloader.loaded.error is None
    assert [row.to for row in reloader.control.topology.drains] == ["gw-sto-2"]


async def test_a_vanished_file_changes_nothing(reloader: Reloader) -> None:
    reloader.topology_file.unlink()
    await reloader.reload_topology()
    assert reloader.loaded.error is not None


async def test_a_revocation_is_obeyed_within_two_seconds(
    reloader: Reloader, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    control, core = reloader.control, reloader.control.core
    assert isinstance(core, FakeCore)
    number = control.topology.nodes["edge-fra-1"].number
    await trio.sleep(0.1)
    for command in control.sessions.handle_timeout(1.0):
        control._carry_out([command])
    control.receive(Established(number, True, 1, True, 7))
    assert control.neighbour_up("edge-fra-1")
    nursery.start_soon(reloader.follow)
    await trio.testing.wait_all_tasks_blocked()
    pki.revoke(reloader.pki, "edge-fra-1", START)
    await trio.sleep(2)
    assert (number, True) in core.closed
    assert not control.neighbour_up("edge-fra-1")
    nursery.cancel_scope.cancel()


async def test_a_half_written_trust_keeps_the_last_good_one(reloader: Reloader) -> None:
    (reloader.pki / "crl.pem").write_text("-----BEGIN X509 CRL-----\n")
    reloader.reload_credentials()
    core = reloader.control.core
    assert isinstance(core, FakeCore)
    assert core.closed == []


def test_changes_that_need_a_restart_are_named() -> None:
    before = parse(DEMO, "a")
    after = parse(DEMO.replace("[10.90.0.21, ", "[10.90.0.24, "), "a")
    assert restart_needed(before, before, "mid-ams-1") == []
    assert "underlay" in restart_needed(before, after, "mid-ams-1")
    assert restart_needed(before, after, "mid-lon-1") == []


def test_a_node_does_not_change_its_role() -> None:
    before = parse(DEMO, "a")
    assert reason_to_refuse(before, before, "dns-1") is None


def test_a_signature_changes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    missing = signature([file])
    file.write_text("1")
    first = signature([file])
    file.write_text("22")
    assert len({missing, first, signature([file])}) == 3
