"""The whole overlay as one node knows it: its own state and the others' summaries brought together. Pure.

Both ends of a link and of a path say what they see. Only together they show a link that works in one direction, and
copies that were sent and never came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.status.picture import (
    ApplicationInfo,
    ChangeInfo,
    LinkInfo,
    NodeInfo,
    Overlay,
    PathInfo,
    RedundancyInfo,
    RegionInfo,
    SetInfo,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from braid.status.gossip import Known
    from braid.status.summary import ApplicationSummary, ArrivalReport, LinkReport, PathReport
    from topology.model import Topology

SAME_AGE_S = 30
"""Counters of two nodes cover the same time when both started within so many seconds."""


def overlay(topology: Topology, node: str, known: Mapping[int, Known], now: float, wall: float) -> Overlay:
    """``known`` holds every node that was heard of, and this one with the time ``now``. Names that are not in the
    topology are left out."""
    view = _Seen(topology, known, now, wall)
    own = known[int(topology.nodes[node].number)].summary
    return Overlay(
        seen_by=node,
        at=wall,
        topology=topology.name,
        revision=own.revision,
        regions=tuple(
            RegionInfo(region.name, region.role.value, region.place, tuple(sorted(region.shared_risk)))
            for region in topology.regions.values()
        ),
        nodes=tuple(view.node(name) for name in topology.nodes),
        links=view.links(),
        paths=view.paths(),
        sets=view.sets(),
        applications=view.applications(),
        changes=view.changes(),
        redundancy=view.redundancy(),
    )


class _Seen:
    def __init__(self, topology: Topology, known: Mapping[int, Known], now: float, wall: float) -> None:
        self.topology = topology
        self.now = now
        self.wall = wall
        self.names = {int(node.number): node.name for node in topology.nodes.values()}
        self.known = {self.names[number]: entry for number, entry in known.items() if number in self.names}
        self.arrivals = {
            (name, item.peer, item.id): item for name, entry in self.known.items() for item in entry.summary.arrivals
        }

    def at(self, name: str, seconds_ago: int | None) -> float | None:
        if seconds_ago is None:
            return None
        return self.wall - (self.now - self.known[name].heard) - seconds_ago

    def node(self, name: str) -> NodeInfo:
        node, entry = self.topology.nodes[name], self.known.get(name)
        place = self.topology.regions[node.region].place
        if entry is None:
            return NodeInfo(name, node.role.value, node.region, place, None, True, None, False, "", "", None, False)
        said = entry.summary
        return NodeInfo(
            name, node.role.value, node.region, place, max(0.0, self.now - entry.heard), entry.stale(self.now),
            said.ready, said.draining, said.problem, said.revision, said.uptime_s, said.truncated,
        )  # fmt: skip

    def links(self) -> tuple[LinkInfo, ...]:
        said: dict[tuple[str, str], dict[str, LinkReport]] = {}
        for name, entry in self.known.items():
            for report in entry.summary.links:
                other = self.names.get(report.neighbour)
                if other is not None and other != name:
                    pair = (min(name, other), max(name, other))
                    said.setdefault(pair, {})[name] = report
        return tuple(self._link(a, b, reports) for (a, b), reports in sorted(said.items()))

    def _link(self, a: str, b: str, reports: dict[str, LinkReport]) -> LinkInfo:
        fresh = {name: item for name, item in reports.items() if not self.known[name].stale(self.now)}
        hears = {name: item.up for name, item in fresh.items()}
        if not hears:
            state, detail = "unknown", "neither end was heard of lately"
        elif all(hears.values()):
            state, detail = "up", ""
        elif any(hears.values()):
            (listener,) = [name for name, up in hears.items() if up]
            deaf = b if listener == a else a
            state, detail = "one_way", f"{listener} hears {deaf}, {deaf} does not hear {listener}"
        else:
            state, detail = "down", " and ".join(f"{name} hears nothing" for name in sorted(hears))
        deciding = [name for name, up in hears.items() if not up] or list(hears)
        since = [moment for name in deciding if (moment := self.at(name, fresh[name].since_s)) is not None]
        best = next((item for item in fresh.values() if item.rtt_us is not None and state == "up"), None)
        return LinkInfo(
            a, b, state, detail, max(since, default=None), _ms(best.rtt_us if best else None),
            _ms(best.jitter_us if best else None), _ratio(best.loss_ppm if best else None),
        )  # fmt: skip

    def paths(self) -> tuple[PathInfo, ...]:
        found = []
        for name, entry in self.known.items():
            found += [self._path(name, report) for report in entry.summary.paths if self._is_known(report)]
        return tuple(found)

    def _is_known(self, report: PathReport) -> bool:
        return report.peer in self.names and all(number in self.names for number in report.route)

    def _path(self, source: str, report: PathReport) -> PathInfo:
        entry, peer = self.known[source], self.names[report.peer]
        arrival = self._arrival(source, peer, report.id)
        route = tuple(self.names[number] for number in report.route)
        state = "avoided" if report.silent and not report.in_use else "silent" if report.silent else "up"
        if not report.up and not report.silent:
            state = "settling"
        if entry.stale(self.now):
            state = "unknown"
        return PathInfo(
            source=source,
            destination=peer,
            id=report.id,
            route=route,
            regions=tuple(self.topology.nodes[name].region for name in route[:-1]),
            state=state,
            detail=report.detail,
            since=self.at(source, report.since_s),
            sent=report.sent,
            kept=arrival.kept if arrival else None,
            eliminated=arrival.eliminated if arrival else None,
            lost=self._lost(source, peer, report, arrival),
            first_share=None if arrival is None or arrival.first_permille is None else arrival.first_permille / 1000,
            rtt_ms=_ms(report.rtt_us),
            one_way_ms=_ms(report.one_way_us),
            jitter_ms=_ms(report.jitter_us),
            loss=_ratio(report.loss_ppm),
            mtu=report.mtu,
        )

    def _arrival(self, source: str, peer: str, path: int) -> ArrivalReport | None:
        return self.arrivals.get((peer, int(self.topology.nodes[source].number), path))

    def _lost(self, source: str, peer: str, report: PathReport, arrival: ArrivalReport | None) -> int | None:
        if report.reported:
            return report.lost
        if arrival is None:
            return None
        ages = self.known[source].summary.uptime_s, self.known[peer].summary.uptime_s
        missing = report.sent - arrival.kept - arrival.eliminated
        return missing if abs(ages[0] - ages[1]) <= SAME_AGE_S and missing >= 0 else None

    def sets(self) -> tuple[SetInfo, ...]:
        return tuple(
            SetInfo(name, self.names[item.peer], item.copies, item.why, item.joint_probes, item.joint_lost,
                    item.passed, item.discarded, item.out_of_order, item.lost)
            for name, entry in self.known.items()
            for item in entry.summary.sets
            if item.peer in self.names
        )  # fmt: skip

    def redundancy(self) -> tuple[RedundancyInfo, ...]:
        found = [
            RedundancyInfo(
                source=name,
                destination=self.names[item.peer],
                application=item.application,
                mode="surge" if item.surging else "steady",
                verdict=item.verdict,
                text=item.text,
                target=item.target_ppb / 1e9,
                estimate=item.estimate_ppb / 1e9,
                bound=item.bound_ppb / 1e9,
                paths=item.using,
                candidates=item.candidates,
                mean_copies=item.mean_copies_permille / 1000,
                budget=item.budget_permille / 1000,
                surges=item.surges,
                longest_surge_s=item.longest_surge_s,
                settled=item.settled,
                repaired=item.repaired,
                lost=item.lost,
                stale=self.known[name].stale(self.now),
            )
            for name, entry in self.known.items()
            for item in entry.summary.redundancy
            if item.peer in self.names and item.application in self.topology.applications
        ]
        found.sort(key=lambda item: (-item.bound / (item.target or 1.0), item.application, item.source))
        return tuple(found)

    def applications(self) -> tuple[ApplicationInfo, ...]:
        return tuple(
            self._application(name, item)
            for name, entry in self.known.items()
            for item in entry.summary.applications
            if item.name in self.topology.applications
        )

    def _application(self, name: str, item: ApplicationSummary) -> ApplicationInfo:
        return ApplicationInfo(
            name, item.name, self.names.get(item.gateway), item.wanted, item.usable, self.at(name, item.since_s),
            item.cause, item.flows, item.targets, item.healthy, self.known[name].stale(self.now),
        )  # fmt: skip

    def changes(self) -> tuple[ChangeInfo, ...]:
        found = [
            ChangeInfo(name, self.at(name, item.age_s) or self.wall, item.kind, item.tone, item.text, item.cause)
            for name, entry in self.known.items()
            for item in entry.summary.changes
        ]
        return tuple(sorted(found, key=lambda change: -change.at))


def _ms(micros: int | None) -> float | None:
    return None if micros is None else micros / 1000


def _ratio(ppm: int | None) -> float | None:
    return None if ppm is None else ppm / 1_000_000
