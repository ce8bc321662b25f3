"""All that answers are made of at one moment: immutable, replaced as a whole by one assignment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dns.cells import ClientMap
from dns.chaos import chaos_replies, nsid
from dns.policy import Order, Standing, choose
from dns.publish import make_zones

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dns.config import DnsConfig
    from dns.health import HealthTable
    from dns.zone import Reply, Zones

Standings = dict[tuple[int, str], Standing]
"""(edge, application) -> standing, for every pair that has a VIP."""


@dataclass(frozen=True, slots=True)
class View:
    config: DnsConfig
    zones: Zones
    clients: ClientMap
    chaos: Mapping[bytes, Reply]
    nsid: bytes | None
    standings: Mapping[tuple[int, str], Standing]

    def edges_for(self, version: int, client: int, application: str) -> tuple[Order, int]:
        """The edge whose VIP is the answer (several when none is in working order; none without any VIP), and the
        length of the prefix around the client for which this is right."""
        cell, scope = self.clients.find(version, client)
        order = tuple(edge for edge in cell.order if (edge, application) in self.standings)
        return choose(order, lambda edge: self.standings[edge, application]), scope


def make_view(config: DnsConfig, health: HealthTable, now: float) -> View:
    clients = ClientMap([edge.serves for edge in config.edges])
    current = standings(config, health, now)
    return View(config, make_zones(config), clients, chaos_replies(config), nsid(config), current)


def with_standings(view: View, current: Standings) -> View:
    return replace(view, standings=current)


def standings(config: DnsConfig, health: HealthTable, now: float) -> Standings:
    return {
        (edge, application): health.standing(config.edges[edge].number, application, now)
        for edge, application in config.vips
    }
