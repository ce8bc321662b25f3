"""The DNS role between the node runtime and the service, on the demo topology."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address, ip_network
from itertools import count
from pathlib import Path
from typing import NoReturn

import pytest
import trio

from braid.events import Control
from braid.messages import ApplicationDelay, ApplicationReport, EdgeMeasures, EdgeReport, encode
from braid.role import NodeHandle, Situation, StartError
from dns.config import dns_config
from dns.role import Dns
from tests.dns.mmdb import database
from tests.dns.zone import addresses, free_port, query
from topology.model import Role, SocketAddress, Topology
from topology.source import load

DEMO = load(Path(__file__).parents[2] / "lab" / "demo.yaml")
ADDRESS = SocketAddress(ip_address("127.0.0.1"), free_port())
TOPOLOGY = replace(DEMO, nodes=DEMO.nodes | {"dns-1": replace(DEMO.nodes["dns-1"], dns_listen=(ADDRESS,))})


@dataclass
class Links:
    up: bool = True

    def neighbour_up(self, name: str) -> bool:
        return self.up

    def peer_up(self, name: str) -> bool:
        return False

    def usable_paths(self, name: str) -> int:
        return 0

    def round_trips(self) -> dict[int, float]:
        return {}


class Node:
    def __init__(self) -> None:
        self.topology = TOPOLOGY
        self.reload = trio.Event()

    def situation(self) -> Situation:
        return Situation(self.topology, "dns-1", Links())

    def handle(self) -> NodeHandle:
        return NodeHandle(
            situation=self.situation,
            replan=lambda: None,
            send_control=lambda _name, _message: False,
            changed=trio.Event,
            reloaded=lambda: self.reload,
            set_syn_keys=lambda _current, _keys, _gateways: None,
            tell=lambda _name, _message: None,
            send_to_peer=lambda _name, _message: False,
            set_owner=lambda *_words, **_named: False,
            hear=lambda: None,
            held=lambda _hold: False,
            draining=lambda: False,
            ready=lambda: True,
            traffic=dict,
        )


def control(edge: str, *, usable: int = 2, sequence: int = 1, adjacent: bool = True) -> Control:
    applications = tuple(ApplicationReport(name, usable, 0) for name in TOPOLOGY.applications)
    report = EdgeReport(sequence, True, False, applications)
    return Control(TOPOLOGY.nodes[edge].number, adjacent, encode(report))


async def keep_reporting(role: Dns, usable: dict[str, int], measures: dict[str, int]) -> NoReturn:
    """As edges do, so that none falls silent however slow the machine is; ``measures``: milliseconds behind an edge."""
    for sequence in count(1):
        for edge, paths in usable.items():
            role.receive_control(control(edge, usable=paths, sequence=sequence), trio.current_time())
        for edge, delay in measures.items():
            measured = encode(EdgeMeasures(sequence, 0, (ApplicationDelay("shop", delay),)))
            role.receive_control(Control(TOPOLOGY.nodes[edge].number, True, measured), trio.current_time())
        await trio.sleep(0.1)
    raise AssertionError


async def until(name: str, expected: set[str]) -> None:
    with trio.fail_after(60):
        while True:
            if set(await ask(name)) == expected:
                return
            await trio.sleep(0.05)


async def ask(name: str) -> list[str]:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as asker, trio.fail_after(60):
        await asker.sendto(query(name), (str(ADDRESS.host), ADDRESS.port))
        return addresses(await asker.recv(4096))


def vip(topology: Topology, edge: str) -> str:
    found = [v.address for v in topology.vips if (v.edge, v.application) == (edge, "shop") and v.address.version == 4]
    return str(found[0])


def test_the_configuration_is_that_of_the_topology() -> None:
    config = dns_config(DEMO, "dns-1")
    assert config.zone == DEMO.zone
    assert config.listen == DEMO.nodes["dns-1"].dns_listen
    assert [edge.name for edge in config.edges] == [node.name for node in DEMO.by_role(Role.EDGE)]
    assert config.hosts == {"shop.apps.example": "shop", "lab.apps.example": "lab", "media.apps.example": "media"}
    (server,) = config.servers
    assert server.hostname == "ns1.apps.example"
    assert [str(address) for address in server.addresses] == ["10.91.1.53", "fd91:1::53", "10.91.2.53", "fd91:2::53"]
    assert sum(len(addresses) for addresses in config.vips.values()) == len(DEMO.vips)


def test_a_node_of_another_role_has_no_configuration() -> None:
    with pytest.raises(ValueError, match=r"nodes.edge-fra-1.dns_listen: is missing"):
        dns_config(DEMO, "edge-fra-1")


async def test_reports_and_reloads_reach_the_answers() -> None:
    node, role = Node(), Dns()
    async with trio.open_nursery() as nursery:
        assert not role.checks(node.situation())[0].ok
        await nursery.start(partial(role.serve, node.handle()))
        fra, nyc = vip(TOPOLOGY, "edge-fra-1"), vip(TOPOLOGY, "edge-nyc-1")
        assert await ask("shop.apps.example") in ([fra], [nyc]), "before any report all count as well"
        assert [check.ok for check in role.checks(node.situation())] == [True, True, False]

        usable = {"edge-fra-1": 0, "edge-nyc-1": 2}
        nursery.start_soon(keep_reporting, role, usable, {})
        await until("shop.apps.example", {nyc})
        assert all(check.ok for check in role.checks(node.situation()))

        # If it counted, the reports with lower numbers that follow would not.
        role.receive_control(control("edge-fra-1", sequence=1_000_000, adjacent=False), trio.current_time())
        role.receive_control(Control(TOPOLOGY.nodes["edge-fra-1"].number, True, b"\x09nonsense"), trio.current_time())
        await trio.sleep(0.25)
        assert await ask("shop.apps.example") == [nyc], "neither end-to-end nor broken messages count"
        assert role.counters()["bad_messages"] == 1
        assert role.counters()["queries/udp/ipv4/A/NOERROR"] >= 3

        shop = replace(TOPOLOGY.applications["shop"], hostnames=("store.apps.example",))
        node.topology = replace(TOPOLOGY, applications=TOPOLOGY.applications | {"shop": shop})
        reload, node.reload = node.reload, trio.Event()
        reload.set()
        await until("store.apps.example", {nyc})
        assert await ask("shop.apps.example") == []

        usable.clear()
        role.receive_neighbour(TOPOLOGY.nodes["edge-nyc-1"].number, False, trio.current_time())
        await until("store.apps.example", {fra, nyc})
        nursery.cancel_scope.cancel()


async def test_measures_and_the_geo_database_reach_the_answers(tmp_path: Path) -> None:
    file = tmp_path / "cities.mmdb"
    regions = dict(TOPOLOGY.regions)
    edges = {name: replace(TOPOLOGY.nodes[name], serves=()) for name in ("edge-fra-1", "edge-nyc-1")}
    node, role = Node(), Dns()
    node.topology = replace(
        TOPOLOGY, regions=regions, nodes=TOPOLOGY.nodes | edges, dns=replace(TOPOLOGY.dns, geo_database=file.name)
    )
    handle = replace(node.handle(), topology_file=tmp_path / "net.yaml")
    with pytest.raises(StartError, match=r"dns\.geo_database: .*cities\.mmdb: No such file or directory; put"):
        await role.serve(handle)
    file.write_bytes(database({ip_network("127.0.0.0/8"): regions["edge-nyc"].location}))
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(role.serve, handle))
        assert await ask("shop.apps.example") == [vip(TOPOLOGY, "edge-nyc-1")]
        delays = {"edge-fra-1": 200, "edge-nyc-1": 5000}
        nursery.start_soon(keep_reporting, role, dict.fromkeys(delays, 2), delays)
        await until("shop.apps.example", {vip(TOPOLOGY, "edge-fra-1")})
        told = role.steering("shop.apps.example", "127.0.0.1")
        assert told is not None
        assert told["reason"] == "fastest"
        nursery.cancel_scope.cancel()
