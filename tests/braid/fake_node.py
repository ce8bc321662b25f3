"""A small Braid and the counters its nodes would report, for the tests of everything that shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from braid.status.build import flow_statuses, node_status
from braid.status.choices import choices
from braid.status.flow import ProxyServerStatus, ProxyStatus
from braid.status.gossip import Known
from braid.status.overlay import overlay
from braid.status.paths import Chosen, PathHealth
from braid.status.recorder import Recorder
from braid.status.redundancy import RedundancyStatus
from braid.status.snapshot import Check, Facts, NodeStatus, TargetStatus
from braid.status.summary import summary_of
from topology.model import (
    Application,
    CheckKind,
    DnsZone,
    HealthCheck,
    Link,
    Node,
    NodeNumber,
    PortRange,
    Protocol,
    Region,
    Role,
    ServiceMode,
    SocketAddress,
    Target,
    Topology,
    Vip,
)
from topology.policy import FixedCopies

if TYPE_CHECKING:
    from braid.status.changes import Change
    from braid.status.flow import FlowStatus
    from braid.status.picture import Choice, Overlay

REGIONS = {
    "edge-fra": (Role.EDGE, "Frankfurt"),
    "mid-ams": (Role.INTERMEDIATE, "Amsterdam"),
    "mid-lon": (Role.INTERMEDIATE, "London"),
    "gw-sto": (Role.GATEWAY, "Stockholm"),
    "dns": (Role.DNS, "Frankfurt"),
}
NUMBERS = {"edge-fra-1": 11, "mid-ams-1": 21, "mid-lon-1": 22, "gw-sto-1": 31, "dns-1": 41}


def small_topology() -> Topology:
    nodes = {}
    for name, number in NUMBERS.items():
        region = name.removesuffix("-1")
        address = ip_address(f"10.90.0.{number}")
        nodes[name] = Node(
            name=name,
            number=NodeNumber(number),
            region=region,
            role=REGIONS[region][0],
            underlay=(address,),
            port=7400,
            shards=1,
            status=SocketAddress(address, 7480),
            mtu=1500,
        )
    shop = Application(
        name="shop",
        hostnames=("shop.apps.example",),
        ports=(PortRange(Protocol.TCP, 80, 80),),
        targets=(Target(ip_address("10.93.0.10"), None, 1), Target(ip_address("10.93.0.11"), None, 1)),
        gateways=("gw-sto",),
        redundancy=FixedCopies(2),
        mode=ServiceMode.NAT,
        check=HealthCheck(CheckKind.TCP, 80, "/", 2.0, 1.0, 2, 3),
    )
    return Topology(
        name="small",
        regions={name: Region(name, role, place, frozenset()) for name, (role, place) in REGIONS.items()},
        nodes=nodes,
        links=tuple(Link(a, b, 1.0) for a in ("edge-fra", "gw-sto") for b in ("mid-ams", "mid-lon")),
        applications={"shop": shop},
        vips=(
            Vip("edge-fra-1", "shop", ip_address("10.91.1.130")),
            Vip("edge-fra-1", "shop", ip_address("fd91:1::1:1")),
        ),
        zone=DnsZone("apps.example", 30, "hostmaster.apps.example"),
    )


def edge_core() -> dict[str, Any]:
    """What the core of edge-fra-1 reports: mid-lon-1 is down."""
    return {
        "drops": {"no_application": 3, "hop_tag": 12},
        "io": {"tun_rx_packets": 1000, "tun_rx_bytes": 1_400_000, "udp_rx_datagrams": 1990, "udp_tx_datagrams": 2000},
        "offload": {"udp_gso": True, "udp_gro": True, "tun_tso": True, "tun_uso": False, "fallbacks": 1},
        "neighbours": [
            {
                "node": 21,
                "address": "10.90.0.21:7400",
                "up": True,
                "rtt_us": 12_250,
                "heard_ms_ago": 40,
                "tx_datagrams": 1000,
                "rx_datagrams": 995,
            },
            {
                "node": 22,
                "address": None,
                "up": False,
                "rtt_us": None,
                "heard_ms_ago": None,
                "tx_datagrams": 7,
                "rx_datagrams": 0,
            },
        ],
        "sessions": [
            {
                "peer": 21,
                "adjacent": True,
                "epoch": 1,
                "age_s": 12.5,
                "tx_packets": 1000,
                "tx_bytes": 1_500_000,
                "usable": True,
                "heard_ms_ago": 40,
                "recovery": None,
            },
            {
                "peer": 31,
                "adjacent": False,
                "epoch": 3,
                "age_s": 11.0,
                "tx_packets": 1000,
                "tx_bytes": 1_400_000,
                "skew_us": 5500,
                "given_up": 1,
                "late": 2,
                "window": {"packets": 65472, "bytes": 8192, "margin": 0.75, "capped": False},
                "usable": True,
                "heard_ms_ago": 41,
                "recovery": {
                    "passed": 990,
                    "discarded": 985,
                    "out_of_order": 4,
                    "rogue": 1,
                    "lost": 2,
                    "tagless": 0,
                    "resets": 1,
                    "latent_errors": 0,
                },
            },
        ],
        "paths": [
            {"peer": 31, "id": 0, "route": [21, 31], "copies_sent": 1000, "bytes_sent": 1_500_000, "unsent": 0},
            {"peer": 31, "id": 1, "route": [22, 31], "copies_sent": 995, "bytes_sent": 1_490_000, "unsent": 5},
        ],
        "sets": [{"peer": 31, "set": 2, "mtu": 1420, "active": [0, 1]}],
        "received": [
            {"peer": 31, "id": 0, "via": 21, "first": 700, "eliminated": 285, "reordered": 3},
            {"peer": 31, "id": 2, "via": 21, "first": 1, "eliminated": 2},
            {"peer": 31, "id": 1, "via": 22, "first": 290, "eliminated": 700},
        ],
        "nat": {},
    }


def gateway_core() -> dict[str, Any]:
    return {
        "drops": {},
        "io": {"udp_rx_datagrams": 2000},
        "offload": {},
        "neighbours": [
            {
                "node": 21,
                "address": "10.90.0.21:7400",
                "up": True,
                "rtt_us": 900,
                "heard_ms_ago": 5,
                "tx_datagrams": 1,
                "rx_datagrams": 2,
            }
        ],
        "sessions": [
            {
                "peer": 11,
                "adjacent": False,
                "epoch": 3,
                "age_s": 11.0,
                "tx_packets": 1,
                "tx_bytes": 2,
                "usable": True,
                "heard_ms_ago": 41,
                "recovery": {"passed": 995, "lost": 0},
            }
        ],
        "paths": [{"peer": 11, "id": 0, "route": [21, 11], "copies_sent": 989, "bytes_sent": 9, "unsent": 0}],
        "sets": [{"peer": 11, "set": 2, "mtu": 1420, "active": [0]}],
        "received": [
            {"peer": 11, "id": 0, "via": 21, "first": 800, "eliminated": 190},
            {"peer": 11, "id": 1, "via": 22, "first": 195, "eliminated": 780},
        ],
        "nat": {"flows": 4, "created": 9, "expired": 5, "ports_exhausted": 1, "table_full": 2, "by_app": {"0": 4}},
    }


FLOWS: list[dict[str, Any]] = [
    {
        "app": 0,
        "proto": 6,
        "client": "10.91.1.10:40000",
        "vip": "10.91.1.130:80",
        "snat": "10.93.0.128:2000",
        "target": "10.93.0.10:80",
        "edge": 11,
        "state": "established",
        "idle_s": 0.5,
        "packets_in": 10,
        "packets_out": 20,
        "bytes_in": 1000,
        "bytes_out": 20_000,
    },
    {
        "app": 7,
        "proto": 99,
        "client": "[fd91:1::10]:5353",
        "vip": "[fd91:1::1:1]:53",
        "snat": "[fd93::1:0]:1",
        "target": "[fd93::10]:53",
        "edge": 99,
        "state": "replied",
        "idle_s": 3,
        "packets_in": 1,
        "packets_out": 1,
        "bytes_in": 60,
        "bytes_out": 90,
    },
]


def facts(**changes: Any) -> Facts:
    values: dict[str, Any] = {
        "now": 1_700_000_090.0,
        "started_at": 1_700_000_000.0,
        "version": "0.1.0",
        "revision": "9f2c51d07ab3",
        "loaded_at": 1_700_000_000.5,
        "checks": (Check("tun", True), Check("sessions", True, "2 of 2")),
    }
    return Facts(**(values | changes))


def edge_status(**changes: Any) -> NodeStatus:
    topology = small_topology()
    why = "cheapest disjoint pair; no other choice"
    changes = {"chosen": {(31, 2): Chosen(why, 5000, 3)}, **changes}
    return node_status(topology, topology.nodes["edge-fra-1"], edge_core(), facts(**changes))


def gateway_status(**changes: Any) -> NodeStatus:
    topology = small_topology()
    targets = (
        TargetStatus("shop", "10.93.0.10", None, 1, True),
        TargetStatus("shop", "10.93.0.11", None, 1, False, "connection refused"),
    )
    servers = (ProxyServerStatus("10.93.0.10", 2, False, 7, 0.5, 40, 3, 1), ProxyServerStatus("10.93.0.11", 0, True))
    proxies = (
        ProxyStatus(
            "shop",
            "http",
            "p2c",
            4,
            9,
            42,
            {"no_server": 2},
            servers,
            accepted_by="fast-path",
            promoted=9,
            promotion_ms={"p50": 0.4, "p99": 0.9},
            spliced=3,
            open_spliced=1,
            stayed={"too_much_queued": 1},
        ),
    )
    chosen = {(11, 2): Chosen("cheapest path", 0, 0)}
    changes = {"targets": targets, "chosen": chosen, "proxies": proxies, **changes}
    return node_status(topology, topology.nodes["gw-sto-1"], gateway_core(), facts(**changes))


def middle_status(**changes: Any) -> NodeStatus:
    """mid-ams-1, which hears both ends."""
    topology = small_topology()
    near = gateway_core()["neighbours"][0]
    core = {"neighbours": [near | {"node": 11}, near | {"node": 31}], "relay": {"forwarded": 9, "streams": 2}}
    return node_status(topology, topology.nodes["mid-ams-1"], core, facts(**changes))


def measured(up: bool) -> PathHealth:
    return PathHealth(up, 31.5 if up else None, "" if up else "no probe answered for 2 s")


def overlay_of(
    statuses: tuple[NodeStatus, ...], node: str, wall: float = 1_700_000_090.0, changes: tuple[Change, ...] = ()
) -> Overlay:
    """All of them heard of just now, as ``node`` shows them."""
    topology = small_topology()
    summaries = [summary_of(status, topology, changes if status.name == node else (), wall) for status in statuses]
    known = {summary.origin: Known(summary, 100.0, 2.0, 1) for summary in summaries}
    return overlay(topology, node, known, 100.0, wall)


@dataclass
class FakeView:
    """A ``NodeView`` whose answers a test sets."""

    status: NodeStatus = field(default_factory=edge_status)
    checks: tuple[Check, ...] = (Check("tun", True),)
    living: Check = field(default_factory=lambda: Check("data thread", True))
    broken: bool = False
    asked: list[int] = field(default_factory=list)
    recorder: Recorder = field(default_factory=Recorder)
    others: tuple[NodeStatus, ...] = field(default_factory=lambda: (gateway_status(),))
    changes: tuple[Change, ...] = ()

    def overlay(self) -> tuple[Overlay, tuple[Choice, ...]]:
        seen = overlay_of((self.snapshot(), *self.others), self.status.name, changes=self.changes)
        return seen, choices(seen)

    def snapshot(self) -> NodeStatus:
        if self.broken:
            raise RuntimeError("seeded failure")
        return self.status

    def steering(self, hostname: str | None, client: str | None) -> dict[str, Any] | None:
        if client == "nobody":
            raise ValueError("'nobody' is no address")
        return None if hostname == "elsewhere" else {"name": self.status.name, "asked": [hostname, client]}

    def flows(self, limit: int) -> list[FlowStatus]:
        self.asked.append(limit)
        return flow_statuses(small_topology(), FLOWS)[:limit]

    def ready(self) -> tuple[Check, ...]:
        return self.checks

    def alive(self) -> Check:
        return self.living


def redundancy() -> RedundancyStatus:
    """Of an application with a target loss that is met."""
    return RedundancyStatus(
        application="shop",
        peer="gw-sto-1",
        target=1e-4,
        mode="steady",
        verdict="MET",
        text="MET",
        estimate=1e-6,
        bound=3e-5,
        using=("mid-ams-1", "mid-lon-1"),
        candidates=2,
        packets_per_s=100.0,
        packets=1000,
        copies_sent=2010,
        copied_bytes=100_000,
        mean_copies=2.01,
        budget=2.1,
        settled=990,
        repaired=7,
        lost=1,
        bytes_per_repair=14285.7,
        changes=2,
        surges=1,
        surge_s=12.0,
        longest_surge_s=12.0,
        surge_cause="loss 38 % on 2 of 2 paths",
    )
