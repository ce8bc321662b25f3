"""What an edge tells the DNS nodes about itself, so that they name it or another edge to clients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import trio

from braid.messages import ApplicationReport, EdgeReport, encode, split
from edge.applications import gateways_of
from topology.graph import neighbours
from topology.model import Role
from topology.vips import vip_for

if TYPE_CHECKING:
    from braid.role import NodeHandle, Situation

INTERVAL = 0.5
"""Seconds between reports when nothing changes."""
SPACING = 0.02
"""Least time between two reports: many links that change together make one."""


def edge_report(situation: Situation, *, ready: bool, draining: bool) -> EdgeReport:
    """The state of every application this edge has a VIP for. Pure; the sequence number is the sender's."""
    topology, links = situation.topology, situation.links
    applications = []
    for application in topology.applications.values():
        if not vip_for(topology, situation.node, application.name):
            continue
        reachable = [node.name for node in gateways_of(topology, application) if links.peer_up(node.name)]
        usable = links.usable_paths(reachable[0]) if reachable else 0
        applications.append(ApplicationReport(application.name, min(usable, 4), 0))
    return EdgeReport(0, ready, draining, tuple(applications))


async def send_reports(node: NodeHandle, first_sequence: int) -> NoReturn:
    """Send a report to every DNS neighbour each ``INTERVAL`` and at each change. A neighbour without a session is
    left out; nothing is kept for it."""
    sequence = first_sequence
    while True:
        changed = node.changed()
        situation = node.situation()
        report = edge_report(situation, ready=node.ready(), draining=node.draining())
        parts = split(replace(report, sequence=sequence))
        sequence = (sequence + len(parts)) % (1 << 32)
        names = [near.name for near in neighbours(situation.topology, situation.node) if near.role is Role.DNS]
        for message in map(encode, parts):
            for name in names:
                node.send_control(name, message)
        await trio.sleep(SPACING)
        with trio.move_on_after(INTERVAL - SPACING):
            await changed.wait()
