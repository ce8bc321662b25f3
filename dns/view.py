"""All that answers are made of at one moment: immutable, replaced as a whole by one assignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dns.policy import Order, Standing, Steering, choose
from dns.records import make_zone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dns.config import DnsConfig
    from dns.health import HealthTable
    from dns.records import Zone
    from topology.model import IPAddress

Standings = dict[tuple[int, str], Standing]
"""(edge, application) -> standing, for every pair that has a VIP."""


@dataclass(frozen=True, slots=True)
class View:
    config: DnsConfig
    zone: Zone
    steering: Steering
    standings: Mapping[tuple[int, str], Standing]

    def edges_for(self, client: IPAddress, application: str) -> Order:
        """Returns the edge whose VIP is the answer; several when none is in working order; none without any VIP."""
        order = tuple(edge for edge in self.steering.order(client) if (edge, application) in self.standings)
        return choose(order, lambda edge: self.standings[edge, application])


def make_view(config: DnsConfig, health: HealthTable, now: float) -> View:
    steering = Steering([edge.serves for edge in config.edges])
    return View(config, make_zone(config), steering, standings(config, health, now))


def with_standings(view: View, current: Standings) -> View:
    return View(view.config, view.zone, view.steering, current)


def standings(config: DnsConfig, health: HealthTable, now: float) -> Standings:
    return {
        (edge, application): health.standing(config.edges[edge].number, application, now)
        for edge, application in config.vips
    }
