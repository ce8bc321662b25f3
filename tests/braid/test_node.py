from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from braid import pki
from braid.control import ControlPlane
from braid.core import pump_events
from braid.credentials import load_credentials
from braid.handle import node_handle
from braid.measured import Reports
from braid.messages import EdgeReport, decode
from braid.plan import inner_mtu
from braid.roles import role_runtime
from tests.braid.fake_core import Fabric, FakeCore
from topology.held import Measure
from topology.source import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from braid.events import Control
    from topology.model import Topology

DEMO = Path("lab/demo.yaml")
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    pki.init(load(DEMO), directory, START)
    return directory


class Braid:
    """All nodes of the demo in one process, over fake cores and virtual time."""

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        self.topology = load(DEMO)
        self.directory = directory
        self.fabric = Fabric()
        self.nursery = nursery
        self.nodes: dict[str, ControlPlane] = {}
        self.cores: dict[str, FakeCore] = {}
        self.failures: list[str] = []
        self.scopes: dict[str, trio.CancelScope] = {}
        self.extra = timedelta()

    def today(self) -> datetime:
        return START + timedelta(days=1) + self.extra

    def start(self, name: str, topology: Topology | None = None) -> ControlPlane:
        topology = topology or self.topology
        node = topology.nodes[name]
        own = load_credentials(self.directory, name)
        rng = Random(node.number)
        core = FakeCore(self.fabric, node.number, own.static_key)
        control = ControlPlane(
            topology=topology,
            name=name,
            credentials=own,
            core=core,
            role=role_runtime(node.role, rng),
            rng=rng,
            clock=trio.current_time,
            today=self.today,
            fail=self.failures.append,
        )
        core.start()
        control.begin()
        self.nodes[name], self.cores[name] = control, core
        self.nursery.start_soon(self._run, name)
        return control

    async def _run(self, name: str) -> None:
        control, core = self.nodes[name], self.cores[name]
        with trio.CancelScope() as scope:
            self.scopes[name] = scope
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(pump_events, core, control.receive)
                    nursery.start_soon(control.run_timers)
                    if name.startswith("edge"):
                        await nursery.start(control.role.serve, node_handle(control, lambda: ready(control)))
            finally:
                core.stop()

    def start_all(self) -> None:
        for name in self.topology.nodes:
            self.start(name)

    async def kill(self, name: str) -> None:
        """The process dies; its neighbours notice after the silence limit."""
        self.scopes[name].cancel()
        await trio.testing.wait_all_tasks_blocked()
        number = self.topology.nodes[name].number
        for core in self.fabric.cores.values():
            for peer, adjacent in list(core.sessions):
                if peer == number:
                    core.lose(peer, adjacent)
        await settle()

    def number(self, name: str) -> int:
        return self.topology.nodes[name].number


@pytest.fixture
def braid(credentials: Path, nursery: trio.Nursery) -> Iterator[Braid]:
    made = Braid(credentials, nursery)
    yield made
    nursery.cancel_scope.cancel()


def ready(control: ControlPlane) -> bool:
    return all(check.ok for check in control.checks())


async def settle(seconds: float = 0.0) -> None:
    """Lets everything happen that is due within so many seconds of virtual time; file descriptors are real."""
    end = trio.current_time() + seconds
    while True:
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        if trio.current_time() >= end:
            return
        await trio.sleep(0.01)


def routes(core: FakeCore, peer: int) -> set[tuple[int, ...]]:
    sets = [paths for paths in core.desired["path_sets"] if paths["peer"] == peer]
    return {tuple(path["route"]) for paths in sets for path in paths["paths"]}


async def test_the_whole_demo_comes_up_within_a_second(braid: Braid, autojump_clock: trio.testing.MockClock) -> None:
    braid.start_all()
    await settle(1)
    for name, control in braid.nodes.items():
        if name not in ("dns-1", "cache-fra-1"):
            assert ready(control), name
    edge = braid.nodes["edge-fra-1"]
    for gateway in ("gw-sto-1", "gw-mil-1"):
        assert edge.peer_up(gateway)
        assert edge.usable_paths(gateway) == 2
    assert sum(len(core.initiations) for core in braid.cores.values()) < 200


async def test_a_dead_intermediate_is_replaced_by_a_third_region(
    braid: Braid, autojump_clock: trio.testing.MockClock
) -> None:
    braid.start_all()
    await settle(1)
    core, gateway = braid.cores["edge-fra-1"], braid.number("gw-sto-1")
    before = routes(core, gateway)
    used = {route[0] for route in before}
    dead = "mid-ams-1"
    assert braid.number(dead) in used
    await braid.kill(dead)
    after = routes(core, gateway)
    assert len(after) == 2
    assert braid.number(dead) not in {route[0] for route in after}
    kept = before & after
    assert len(kept) == 1
    assert braid.nodes["edge-fra-1"].usable_paths("gw-sto-1") == 2


async def test_a_path_keeps_its_id_while_others_change(braid: Braid, autojump_clock: trio.testing.MockClock) -> None:
    braid.start_all()
    await settle(1)
    core, gateway = braid.cores["edge-fra-1"], braid.number("gw-sto-1")

    def ids() -> dict[tuple[int, ...], int]:
        sets = [paths for paths in core.desired["path_sets"] if paths["peer"] == gateway]
        return {tuple(path["route"]): path["id"] for paths in sets for path in paths["paths"]}

    before = ids()
    await braid.kill("mid-ams-1")
    during = ids()
    braid.start("mid-ams-1")
    await settle(2)
    assert ids() == before
    assert all(during[route] == before[route] for route in during if route in before)
    assert len(set(during.values()) | set(before.values())) == len({*during, *before})


async def test_a_restarted_node_is_accepted_within_a_second(
    braid: Braid, autojump_clock: trio.testing.MockClock
) -> None:
    braid.start_all()
    await settle(30)
    for name in ("edge-fra-1", "gw-sto-1", "mid-ams-1"):
        await braid.kill(name)
        await settle(7)
        braid.start(name)
        await settle(0.9)
        assert ready(braid.nodes[name]), name
    assert braid.nodes["edge-fra-1"].usable_paths("gw-sto-1") == 2


async def test_without_any_other_path_the_dead_ones_stay_in_the_plan(
    braid: Braid, autojump_clock: trio.testing.MockClock
) -> None:
    braid.start("edge-fra-1")
    await settle(1)
    assert len(routes(braid.cores["edge-fra-1"], braid.number("gw-sto-1"))) == 2
    checks = {check.name: check for check in braid.nodes["edge-fra-1"].checks()}
    assert not checks["neighbour"].ok
    assert "mid-ams-1" in checks["neighbour"].detail
    assert not checks["gateway"].ok


async def test_a_revoked_node_loses_its_sessions_and_gets_no_new_one(
    braid: Braid, autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    braid.start_all()
    await settle(1)
    edge = braid.nodes["edge-fra-1"]
    revoked = braid.number("mid-lon-1")
    trust = load_credentials(braid.directory, "edge-fra-1").trust
    serial = trust.peers["mid-lon-1"].serial
    own = load_credentials(braid.directory, "edge-fra-1")
    assert edge.set_credentials(replace(own, trust=replace(trust, revoked_serials=frozenset({serial}))))
    await settle(0.2)
    assert (revoked, True) in braid.cores["edge-fra-1"].closed
    assert not edge.neighbour_up("mid-lon-1")
    braid.cores["mid-lon-1"].lose(braid.number("edge-fra-1"), True)
    await settle(5)
    assert "revoked" in braid.cores["edge-fra-1"].refused
    assert not edge.neighbour_up("mid-lon-1")
    assert all(route[0] != revoked for route in routes(braid.cores["edge-fra-1"], braid.number("gw-sto-1")))


async def test_an_expired_certificate_ends_the_session(braid: Braid, autojump_clock: trio.testing.MockClock) -> None:
    braid.start_all()
    await settle(1)
    edge = braid.nodes["edge-fra-1"]
    assert edge.neighbour_up("mid-ams-1")
    braid.extra = timedelta(days=4000)
    edge.review_peers()
    await settle(0.1)
    assert not edge.neighbour_up("mid-ams-1")
    assert (braid.number("mid-ams-1"), True) in braid.cores["edge-fra-1"].closed
    assert edge.own_problem == "expired"


async def test_a_removed_application_leaves_the_data_plane_and_others_keep_their_number(
    braid: Braid, autojump_clock: trio.testing.MockClock
) -> None:
    edge = braid.start("edge-fra-1")
    before = {app["vips"][0]: app["app"] for app in braid.cores["edge-fra-1"].desired["edge"]["applications"]}
    less = replace(
        braid.topology,
        applications={"lab": braid.topology.applications["lab"]},
        vips=tuple(vip for vip in braid.topology.vips if vip.application == "lab"),
        transfers=(),
    )
    edge.set_topology(less)
    after = {app["vips"][0]: app["app"] for app in braid.cores["edge-fra-1"].desired["edge"]["applications"]}
    assert len(before) == 3
    assert len(after) == 1
    assert after.items() <= before.items()


async def test_a_topology_that_the_core_refuses_changes_nothing(
    braid: Braid, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = braid.start("edge-fra-1")

    def refuse(_desired: str) -> None:
        raise ValueError("no")

    monkeypatch.setattr(braid.cores["edge-fra-1"], "configure", refuse)
    with pytest.raises(ValueError, match="no"):
        edge.set_topology(replace(braid.topology, applications={}, vips=(), transfers=()))
    assert edge.topology is braid.topology


async def test_edges_report_to_the_dns_node_at_once_and_twice_a_second(
    braid: Braid, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[float, int, bool, bool, int]] = []
    measured: list[int] = []

    def record(_self: object, control: Control, now: float) -> None:
        report = decode(control.message)
        if not isinstance(report, EdgeReport):
            measured.append(control.peer)
            return
        heard.append((now, control.peer, report.ready, report.draining, report.applications[0].usable))

    monkeypatch.setattr("dns.role.Dns.receive_control", record)
    braid.start_all()
    await settle(5)
    number = braid.number("edge-fra-1")
    mine = [entry for entry in heard if entry[1] == number]
    assert 9 <= len(mine) <= 30
    assert measured.count(number) == len(mine)
    assert mine[-1][2:] == (True, False, 2)
    count = len(mine)
    braid.nodes["edge-fra-1"].drain()
    await settle(0.05)
    mine = [entry for entry in heard if entry[1] == number]
    assert len(mine) == count + 1
    assert mine[-1][3]


async def test_a_dead_data_thread_is_reported(braid: Braid) -> None:
    braid.start("mid-ams-1")
    await settle()
    braid.cores["mid-ams-1"].push(("failed", "index out of bounds"))
    await settle()
    assert braid.failures == ["index out of bounds"]


def test_the_overlay_mtu_is_that_of_the_narrowest_node() -> None:
    topology = load(DEMO)
    assert inner_mtu(topology) == 1404
    nodes = {
        name: replace(node, underlay=tuple(host for host in node.underlay if host.version == 4))
        for name, node in topology.nodes.items()
    }
    assert inner_mtu(replace(topology, nodes=nodes)) == 1420
    nodes["mid-ams-1"] = replace(nodes["mid-ams-1"], mtu=1400)
    assert inner_mtu(replace(topology, nodes=nodes)) == 1324


async def test_a_path_broken_behind_its_first_hop_is_gone_round_within_three_seconds(
    braid: Braid, autojump_clock: trio.testing.MockClock
) -> None:
    braid.start_all()
    await settle(1)
    edge, core = braid.nodes["edge-fra-1"], braid.cores["edge-fra-1"]
    gateway, broken = braid.number("gw-sto-1"), braid.number("mid-ams-1")
    assert broken in {route[0] for route in routes(core, gateway)}

    def snapshot(_whole: bool = True) -> str:
        paths = [
            {"peer": paths["peer"], "route": path["route"], "in_use": True, "arrives": path["route"][0] != broken}
            for paths in core.desired["path_sets"]
            for path in paths["paths"]
            if paths["peer"] == gateway
        ]
        return json.dumps([{"paths": paths}])

    core.snapshot = snapshot  # type: ignore[method-assign]
    braid.nursery.start_soon(edge.watch_paths)
    await settle(3)
    hops = {route[0] for route in routes(core, gateway)}
    assert broken not in hops
    assert len(hops) == 2
    assert edge.usable_paths("gw-sto-1") == 2
    assert broken in {route[0] for route in routes(core, braid.number("gw-mil-1"))}


async def test_what_others_tell_and_what_is_measured_moves_paths_and_a_reload_keeps_it(
    braid: Braid, autojump_clock: trio.testing.MockClock
) -> None:
    braid.start_all()
    await settle(1)
    edge, core, gateway = braid.nodes["edge-fra-1"], braid.cores["edge-fra-1"], braid.number("gw-sto-1")
    hops = {route[0] for route in routes(core, gateway)}
    assert hops == {braid.number("mid-ams-1"), braid.number("mid-par-1")}
    link = ("mid-ams-1", "gw-sto-1")
    edge.reports = lambda: Reports({link: Measure(11.0, 0.1)})
    braid.nursery.start_soon(edge.watch_paths)
    await settle(1.7)
    better = {braid.number("mid-lon-1"), braid.number("mid-par-1")}
    assert {route[0] for route in routes(core, gateway)} == better
    why = edge.reasons()[gateway, 2].why
    assert why.endswith("not mid-ams: 122 ms measured, 17 declared")
    edge.set_topology(replace(braid.topology))
    assert {route[0] for route in routes(core, gateway)} == better
    edge.reports = lambda: Reports({link: Measure(11.0, 0.0)})
    await settle(29)
    assert {route[0] for route in routes(core, gateway)} == better
    await settle(3)
    assert {route[0] for route in routes(core, gateway)} == hops


async def test_a_data_thread_that_does_not_answer_ends_the_node(braid: Braid) -> None:
    edge = braid.start("edge-fra-1")

    def silent(_whole: bool = True) -> str:
        raise RuntimeError("the data thread does not answer")

    braid.cores["edge-fra-1"].snapshot = silent  # type: ignore[method-assign]
    edge.look_at_paths()
    assert braid.failures == ["the data thread does not answer"]
