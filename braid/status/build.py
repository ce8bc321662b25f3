"""From the core's counters, the topology and the runtime's facts to what a node shows. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from braid.status.flow import FastPathStatus, FlowStatus, NatStatus, ProxyStatus
from braid.status.kernel import OffloadStatus, kernel_status
from braid.status.paths import Chosen, PathHealth, PathSetStatus, PathStatus, ReceivedStatus
from braid.status.snapshot import (
    ApplicationStatus,
    Facts,
    NeighbourStatus,
    NodeStatus,
    Recovery,
    RecoveryWindow,
    RelayStatus,
    SessionStatus,
    ShardStatus,
    TopologyStatus,
)
from topology.model import Application, Node, NodeNumber, Role, Topology

Json = Mapping[str, Any]
Counters = TypeVar("Counters", FastPathStatus, NatStatus, OffloadStatus, Recovery, RecoveryWindow, RelayStatus)

SERVING = (Role.EDGE, Role.GATEWAY)
"""Roles that answer clients' SYNs by cookie."""
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmpv6", 132: "sctp"}


class Links:
    """What was made of entries of neighbours, for those that come again as they were (``braid.calm``)."""

    def __init__(self) -> None:
        self._topology: Topology | None = None
        self._made: dict[int, tuple[Json, NeighbourStatus]] = {}

    def of(self, topology: Topology, entries: Sequence[Json], names: _Names) -> tuple[NeighbourStatus, ...]:
        known = self._made if topology is self._topology else {}
        self._topology, self._made = topology, {}
        for entry in entries:
            made = known.get(entry["node"])
            fresh = made is None or made[0] is not entry
            self._made[entry["node"]] = (entry, _neighbour(entry, names)) if made is None or fresh else made
        return tuple([status for _, status in self._made.values()])


def node_status(topology: Topology, node: Node, core: Json, facts: Facts, links: Links | None = None) -> NodeStatus:
    """Everything about one node. ``core`` is the decoded ``Core.snapshot``; a counter it lacks reads as zero."""
    names = _Names(topology, facts.applications)
    neighbours = (links or Links()).of(topology, core.get("neighbours", ()), names)
    sessions = tuple(_session(entry, names) for entry in core.get("sessions", ()))
    received = tuple(_received(entry, names) for entry in core.get("received", ()))
    world = _World(
        {item.node: item for item in neighbours},
        {session.peer for session in sessions if session.usable and not session.adjacent},
        received,
        facts,
        core.get("mtu"),
    )
    paths = tuple(_path(entry, names, world) for entry in core.get("paths", ()))
    nat = core.get("nat") or {}
    return NodeStatus(
        name=node.name,
        number=node.number,
        role=node.role.value,
        region=node.region,
        place=topology.regions[node.region].place,
        version=facts.version,
        started_at=facts.started_at,
        uptime_s=max(0.0, facts.now - facts.started_at),
        ready=all(check.ok for check in facts.checks),
        checks=facts.checks,
        topology=TopologyStatus(topology.name, facts.revision, facts.loaded_at, facts.reload_error),
        neighbours=neighbours,
        sessions=sessions,
        paths=paths,
        path_sets=tuple(_path_set(entry, names, facts) for entry in core.get("sets", ())),
        received=received,
        applications=_applications(topology, node, sessions, paths, nat, names, facts),
        redundancy=facts.redundancy,
        nat=_counters(NatStatus, nat) if node.role is Role.GATEWAY else None,
        fast_path=_counters(FastPathStatus, core.get("fast_path") or {}) if node.role in SERVING else None,
        relay=_counters(RelayStatus, core.get("relay", {})) if node.role is Role.INTERMEDIATE else None,
        drops=dict(sorted(core.get("drops", {}).items())),
        fragmented=core.get("fragmented", 0),
        probing=dict(core.get("probing", {})),
        io=dict(core.get("io", {})),
        offload=_counters(OffloadStatus, core.get("offload", {})),
        kernel=kernel_status(core),
        shards=tuple(ShardStatus(**entry) for entry in core.get("shards", ())),
        proxies=tuple(_proxy(each, core.get("fast_path") or {}, names) for each in facts.proxies),
        dns=dict(sorted(facts.dns.items())),
        content=facts.content,
        transfers=facts.transfers and replace(facts.transfers, passed_on=core.get("owners", {}).get("passed_on", 0)),
        drain=facts.drain,
        passed_on=core.get("passed_on", 0),
        load=facts.load,
    )


def flow_statuses(topology: Topology, flows: Sequence[Json], applications: tuple[str, ...] = ()) -> list[FlowStatus]:
    """The decoded JSON of ``Core.flows``, with names instead of numbers."""
    names = _Names(topology, applications)
    return [
        FlowStatus(
            application=names.application(entry["app"]),
            protocol=_PROTOCOLS.get(entry["proto"], str(entry["proto"])),
            client=entry["client"],
            vip=entry["vip"],
            snat=entry["snat"],
            target=entry["target"],
            edge=names.node(entry["edge"]),
            state=str(entry.get("state", "")),
            idle_s=float(entry.get("idle_s", 0)),
            packets_in=entry.get("packets_in", 0),
            packets_out=entry.get("packets_out", 0),
            bytes_in=entry.get("bytes_in", 0),
            bytes_out=entry.get("bytes_out", 0),
            mode=entry.get("mode", "nat"),
            records=entry.get("records"),
            connection=entry.get("connection"),
        )
        for entry in flows
    ]


def joined(proxied: Sequence[FlowStatus], flows: Sequence[FlowStatus], spliced: Mapping[int, str]) -> list[FlowStatus]:
    """What the proxies and the core know of connections, one entry for each: of one in the stack the proxy's, with the
    core's records; ``spliced`` says why those of the data plane have their server. One that has ended in the stack
    stays in the core's table for a while, and is not shown."""
    of_core = {flow.connection: flow for flow in flows if flow.connection is not None}
    in_stack = []
    for flow in proxied:
        known = of_core.pop(flow.connection, None) if flow.connection is not None else None
        in_stack.append(flow if known is None else replace(flow, records=known.records, snat=flow.snat or known.snat))
    rest = (flow for flow in flows if flow.connection is None)
    others = ((number, flow) for number, flow in of_core.items() if flow.mode != "normal")
    return [*in_stack, *rest, *(replace(flow, why=spliced.get(number, "")) for number, flow in others)]


def protection(usable: int, wanted: int) -> str:
    """The redundancy of an application in words: "protected 2 of 2", "reduced 1 of 2", "down 0 of 2"."""
    word = "down" if usable == 0 else "protected" if usable >= wanted else "reduced"
    return f"{word} {min(usable, wanted)} of {wanted}"


class _Names:
    """Numbers of the core to names of the topology; a number that just left the topology keeps its "#number"."""

    def __init__(self, topology: Topology, applications: tuple[str, ...]) -> None:
        self._topology = topology
        self._nodes: dict[int, Node] = {int(node.number): node for node in topology.nodes.values()}
        self._applications = applications or tuple(topology.applications)

    def node(self, number: int) -> str:
        found = self._nodes.get(number)
        return found.name if found else f"#{number}"

    def region(self, number: int) -> str:
        found = self._nodes.get(number)
        return found.region if found else f"#{number}"

    def application(self, index: int) -> str:
        return self._applications[index] if 0 <= index < len(self._applications) else f"#{index}"

    def index(self, application: str) -> int | None:
        return self._applications.index(application) if application in self._applications else None


@dataclass(frozen=True, slots=True)
class _World:
    """What is known besides of a node when its paths are looked at."""

    neighbours: Mapping[str, NeighbourStatus]
    usable: Collection[str]
    """Peers from end to end."""
    received: Sequence[ReceivedStatus]
    facts: Facts
    mtu: int | None


def _neighbour(entry: Json, names: _Names) -> NeighbourStatus:
    number = NodeNumber(entry["node"])
    return NeighbourStatus(
        node=names.node(number),
        region=names.region(number),
        address=entry.get("address"),
        up=bool(entry.get("up")),
        rtt_ms=_milliseconds(entry, "rtt_us"),
        heard_ms_ago=entry.get("heard_ms_ago"),
        tx_datagrams=entry.get("tx_datagrams", 0),
        rx_datagrams=entry.get("rx_datagrams", 0),
        jitter_ms=_milliseconds(entry, "jitter_us"),
        loss=entry.get("loss"),
        one_way_ms=_milliseconds(entry, "one_way_us"),
        reported=entry.get("reported", 0),
        lost=entry.get("lost", 0),
    )


def _session(entry: Json, names: _Names) -> SessionStatus:
    recovery = entry.get("recovery")
    return SessionStatus(
        peer=names.node(entry["peer"]),
        adjacent=bool(entry["adjacent"]),
        epoch=entry.get("epoch", 0),
        age_s=float(entry.get("age_s", 0)),
        usable=bool(entry.get("usable")),
        heard_ms_ago=entry.get("heard_ms_ago"),
        tx_packets=entry.get("tx_packets", 0),
        tx_bytes=entry.get("tx_bytes", 0),
        recovery=None if recovery is None else _counters(Recovery, recovery),
        skew_ms=entry.get("skew_us", 0) / 1000,
        given_up=entry.get("given_up", 0),
        late=entry.get("late", 0),
        window=None if entry.get("window") is None else _counters(RecoveryWindow, entry["window"]),
    )


def _proxy(proxy: ProxyStatus, fast_path: Json, names: _Names) -> ProxyStatus:
    """The role knows those that a stack has, or had."""
    waiting: int = fast_path.get("waiting", {}).get(str(names.index(proxy.application)), 0)
    return replace(proxy, open=proxy.open + waiting, open_waiting=waiting)


def _received(entry: Json, names: _Names) -> ReceivedStatus:
    return ReceivedStatus(
        peer=names.node(entry["peer"]),
        id=entry["id"],
        via=names.node(entry["via"]),
        kept=entry.get("first", 0),
        eliminated=entry.get("eliminated", 0),
        reordered=entry.get("reordered", 0),
    )


def _path(entry: Json, names: _Names, world: _World) -> PathStatus:
    facts = world.facts
    peer = names.node(entry["peer"])
    route = tuple(names.node(number) for number in entry["route"])
    known = facts.path_health.get((entry["peer"], entry["id"])) or _health(entry, peer, route, world)
    arrived = [item for item in world.received if item.via == route[0] and item.peer == peer]
    return PathStatus(
        peer=peer,
        id=entry["id"],
        route=route,
        regions=tuple(names.region(number) for number in entry["route"][:-1]),
        up=known.up,
        rtt_ms=_milliseconds(entry, "rtt_us") if known.rtt_ms is None else known.rtt_ms,
        copies_sent=entry.get("copies_sent", 0),
        bytes_sent=entry.get("bytes_sent", 0),
        unsent=entry.get("unsent", 0),
        kept=sum(item.kept for item in arrived),
        eliminated=sum(item.eliminated for item in arrived),
        in_use=bool(entry.get("in_use", True)),
        detail=known.detail,
        one_way_ms=_milliseconds(entry, "one_way_us"),
        jitter_ms=_milliseconds(entry, "jitter_us"),
        loss=entry.get("loss"),
        one_way_error_ms=_milliseconds(entry, "one_way_error_us"),
        reported=entry.get("reported", 0),
        lost=entry.get("lost", 0),
        probes=entry.get("probes", 0),
        probes_lost=entry.get("probes_lost", 0),
        loss_bursts=entry.get("loss_bursts", 0),
        loss_burst=entry["probes_lost"] / entry["loss_bursts"] if entry.get("loss_bursts") else None,
        spare=bool(entry.get("spare", False)),
        health=entry.get("health", "passing"),
        active=bool(entry.get("active", entry.get("in_use", True))),
        mtu=entry.get("mtu"),
        mtu_state=entry.get("mtu_state", ""),
        mtu_since=None if entry.get("mtu_ms_ago") is None else facts.now - entry["mtu_ms_ago"] / 1000,
        mtu_configured=world.mtu,
        mtu_probe_bytes=entry.get("mtu_probe_bytes", 0),
    )


def _path_set(entry: Json, names: _Names, facts: Facts) -> PathSetStatus:
    chosen = facts.chosen.get((entry["peer"], entry["set"]), Chosen("", 0, 0))
    return PathSetStatus(
        peer=names.node(entry["peer"]),
        number=entry["set"],
        mtu=entry["mtu"],
        active=tuple(entry.get("active", ())),
        why=chosen.why,
        joint_probes=chosen.joint_probes,
        joint_lost=chosen.joint_lost,
    )


def _health(entry: Json, peer: str, route: tuple[str, ...], world: _World) -> PathHealth:
    first = world.neighbours.get(route[0])
    if first is None or not first.up:
        return PathHealth(False, None, f"neighbour {route[0]} is down")
    if peer not in world.usable:
        return PathHealth(False, None, f"no session with {peer}")
    in_use = entry.get("in_use", True)
    avoided = not in_use and not world.facts.avoided.get(entry["peer"], frozenset()).isdisjoint(entry["route"][:-1])
    if avoided or (in_use and entry.get("arrives") is False):
        return PathHealth(False, None, f"{peer} hears nothing on this path")
    return PathHealth(True)


def _applications(
    topology: Topology,
    node: Node,
    sessions: tuple[SessionStatus, ...],
    paths: tuple[PathStatus, ...],
    nat: Json,
    names: _Names,
    facts: Facts,
) -> tuple[ApplicationStatus, ...]:
    if node.role is Role.EDGE:
        return tuple(
            _edge_application(topology, node, application, sessions, paths, facts)
            for application in topology.applications.values()
        )
    if node.role is Role.GATEWAY:
        by_app = nat.get("by_app", {})
        return tuple(
            ApplicationStatus(
                name=application.name,
                hostnames=application.hostnames,
                flows=by_app.get(str(names.index(application.name)), 0),
                targets=tuple(target for target in facts.targets if target.application == application.name),
            )
            for application in topology.applications.values()
            if node.region in application.gateways
        )
    return ()


def _edge_application(
    topology: Topology,
    node: Node,
    application: Application,
    sessions: tuple[SessionStatus, ...],
    paths: tuple[PathStatus, ...],
    facts: Facts,
) -> ApplicationStatus:
    reachable = {session.peer for session in sessions if session.usable and not session.adjacent}
    reachable &= {path.peer for path in paths if path.up and path.in_use}
    preferred = [item.name for region in application.gateways for item in topology.nodes_of(region)]
    gateway = facts.gateway_of.get(application.name) or next((name for name in preferred if name in reachable), None)
    usable = sum(path.up and path.in_use for path in paths if path.peer == gateway) if gateway in reachable else 0
    return ApplicationStatus(
        name=application.name,
        hostnames=application.hostnames,
        vips=tuple(
            str(vip.address) for vip in topology.vips if vip.edge == node.name and vip.application == application.name
        ),
        gateway=gateway,
        copies_wanted=application.copies,
        copies_usable=min(usable, application.copies),
        protection=protection(usable, application.copies),
    )


def _milliseconds(entry: Json, name: str) -> float | None:
    """A measurement in microseconds that the core may not make yet."""
    value = entry.get(name)
    return None if value is None else value / 1000


def _counters(kind: type[Counters], values: Json) -> Counters:
    return kind(**{item.name: values[item.name] for item in fields(kind) if item.name in values})
