"""What an edge tells the DNS nodes about itself, so that they name it or another edge to clients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import trio

from braid.messages import (
    MAX_DELAY,
    ApplicationDelay,
    ApplicationReport,
    EdgeMeasures,
    EdgeReport,
    Message,
    encode,
    split,
    split_measures,
)
from braid.threads import busy_seconds
from edge.applications import gateways_of
from edge.delay import DelayMeter
from edge.load import Carried, LoadMeter, Spill
from topology.graph import neighbours
from topology.model import Role
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from braid.role import NodeHandle, Situation
    from topology.model import Application, Node

INTERVAL = 0.5
"""Seconds between reports when nothing changes."""
SPACING = 0.02
"""Least time between two reports: many links that change together make one."""


class Meters:
    """What the edge measures of itself. Pure."""

    def __init__(self) -> None:
        self.load = LoadMeter()
        self.spill = Spill()
        self.delays = DelayMeter()

    def observe(self, situation: Situation, carried: Carried, now: float) -> None:
        self.load.observe(carried, situation.topology.nodes[situation.node].capacity, now)
        self.spill.follow(self.load.load, now)
        self.delays.observe(situation.links.round_trips(), now)


def carried(io: Mapping[str, int], busy: tuple[float, ...]) -> Carried:
    return Carried(io.get("tun_rx_bytes", 0), io.get("tun_tx_bytes", 0), busy)


def edge_report(situation: Situation, *, ready: bool, draining: bool, load: float = 0.0) -> EdgeReport:
    """The state of every application this edge has a VIP for. ``load``: 1.0 is full. Pure; the sequence number is the
    sender's."""
    links = situation.links
    applications = []
    for application, gateway in _served(situation):
        usable = 0 if gateway is None else links.usable_paths(gateway.name)
        applications.append(ApplicationReport(application.name, min(usable, 4), _octet(load)))
    return EdgeReport(0, ready, draining, tuple(applications))


def edge_measures(situation: Situation, meters: Meters) -> EdgeMeasures:
    """The delay behind the edge for every application of the report. Pure."""
    applications = []
    for application, gateway in _served(situation):
        delay = None if gateway is None else meters.delays.delay(gateway.number)
        tenths = None if delay is None else min(round(delay * 10), MAX_DELAY)
        applications.append(ApplicationDelay(application.name, tenths))
    return EdgeMeasures(0, _octet(meters.spill.share), tuple(applications))


def _served(situation: Situation) -> Iterator[tuple[Application, Node | None]]:
    """Each application with the gateway that new flows of it go to."""
    topology, links = situation.topology, situation.links
    for application in topology.applications.values():
        if vip_for(topology, situation.node, application.name):
            reachable = (node for node in gateways_of(topology, application) if links.peer_up(node.name))
            yield application, next(reachable, None)


def _octet(share: float) -> int:
    return min(255, round(share * 255))


async def send_reports(node: NodeHandle, meters: Meters, first_sequence: int) -> NoReturn:
    """Send a report and measures to every DNS neighbour each ``INTERVAL`` and at each change. A neighbour without a
    session is left out; nothing is kept for it. Where there is no DNS neighbour nothing is measured either."""
    sequence = measures_sequence = first_sequence
    while True:
        changed, reloaded = node.changed(), node.reloaded()
        situation = node.situation()
        names = [near.name for near in neighbours(situation.topology, situation.node) if near.role is Role.DNS]
        if not names:
            await reloaded.wait()
            continue
        meters.observe(situation, carried(node.traffic(), busy_seconds()), trio.current_time())
        report = edge_report(situation, ready=node.ready(), draining=node.draining(), load=meters.load.load)
        parts = split(replace(report, sequence=sequence))
        sequence = (sequence + len(parts)) % (1 << 32)
        measures = split_measures(replace(edge_measures(situation, meters), sequence=measures_sequence))
        measures_sequence = (measures_sequence + len(measures)) % (1 << 32)
        messages: tuple[Message, ...] = (*parts, *measures)
        for data in [encode(message) for message in messages]:
            for name in names:
                node.send_control(name, data)
        await trio.sleep(SPACING)
        with trio.move_on_after(INTERVAL - SPACING):
            await changed.wait()
