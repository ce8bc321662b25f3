"""Clients stay where they are: an hour of noise, a better edge, an edge more. From the meters of the edges to answers,
with the time as an argument."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address
from random import Random

import pytest

from braid.messages import ApplicationDelay, ApplicationReport, EdgeMeasures, EdgeReport, decode, encode
from dns.config import Edge
from dns.counters import Counters
from dns.health import HealthTable
from dns.node import DnsService
from dns.view import make_view
from edge.delay import DelayMeter
from tests.dns.zone import CONFIG, addresses, query, responder

GATEWAY = 31
APPLICATIONS = ("shop", "lab")
CLIENTS = [ip_address(f"10.{n}.7.9") for n in range(100)]


class Overlay:
    """Edges that measure with noise and report with loss, and the DNS nodes that hear them."""

    def __init__(self, seed: int, *delays: float, nodes: int = 1) -> None:
        self.rng, self.now = Random(seed), 0.0
        self.true = list(delays)
        self.meters = [DelayMeter() for _ in delays]
        self.sequence = 0
        config = replace(
            CONFIG,
            edges=tuple(Edge(f"edge-{n}", n, ()) for n in range(len(delays))),
            vips={(n, app): (ip_address(f"10.9.0.{n}"),) for n in range(len(delays)) for app in APPLICATIONS},
            hosts={f"{app}.apps.example": app for app in APPLICATIONS},
        )
        self.health = [HealthTable() for _ in range(nodes)]
        self.services = [DnsService(config, health, lambda: self.now) for health in self.health]

    def step(self, noise: float = 0.2, loss: float = 0.01) -> None:
        """Half a second."""
        self.now += 0.5
        self.sequence += 1
        for edge, meter in enumerate(self.meters):
            if self.rng.random() >= loss:
                meter.observe({GATEWAY: self.true[edge] * self.rng.uniform(1 - noise, 1 + noise)}, self.now)
            delay = meter.delay(GATEWAY)
            tenths = None if delay is None else round(delay * 10)
            measures = EdgeMeasures(self.sequence, 0, tuple(ApplicationDelay(app, tenths) for app in APPLICATIONS))
            report = EdgeReport(self.sequence, True, False, tuple(ApplicationReport(app, 2, 0) for app in APPLICATIONS))
            if self.rng.random() < loss:
                continue
            for health in self.health:
                for message in (decode(encode(report)), decode(encode(measures))):
                    if isinstance(message, EdgeReport):
                        health.receive_report(edge, message, self.now)
                    else:
                        health.receive_measures(edge, message, self.now)
        for service in self.services:
            service.refresh()

    def answers(self, node: int = 0) -> dict[str, tuple[int, ...]]:
        """By application: the edge of each client."""
        view = self.services[node].view
        return {app: tuple(view.decide(4, int(client), app).edges[0] for client in CLIENTS) for app in APPLICATIONS}


def switches(overlay: Overlay, seconds: int, noise: float = 0.2, loss: float = 0.01) -> Counter[str]:
    """Times that any client of an application got another edge than half a second before."""
    found: Counter[str] = Counter()
    before = overlay.answers()
    for _ in range(2 * seconds):
        overlay.step(noise, loss)
        if (after := overlay.answers()) != before:
            found.update(app for app in APPLICATIONS if before[app] != after[app])
            before = after
    return found


@pytest.mark.parametrize("delays", [(40.0, 40.0, 42.0), (40.0, 60.0, 80.0), (50.0, 74.0, 76.0)])
def test_an_hour_of_noise_is_at_most_one_switch(delays: tuple[float, ...]) -> None:
    overlay = Overlay(7, *delays)
    for _ in range(60):
        overlay.step()
    assert all(count <= 1 for count in switches(overlay, 3600).values())


@pytest.mark.parametrize("seed", range(5))
def test_an_edge_that_becomes_forty_percent_better_is_taken_within_a_minute(seed: int) -> None:
    overlay = Overlay(seed, 100.0, 100.0, 104.0)
    for _ in range(600):
        overlay.step()
    assert len(set(overlay.answers()["shop"])) == 3, "equals share the clients"
    overlay.true[1] = 60.0
    found = switches(overlay, 60)
    assert overlay.answers() == {app: (1,) * len(CLIENTS) for app in APPLICATIONS}
    assert found == dict.fromkeys(APPLICATIONS, 1)
    assert overlay.services[0].counters.switches["shop", "delay"] >= 1


def test_a_client_has_one_vip_and_a_fourth_equal_edge_takes_a_quarter() -> None:
    overlay = Overlay(1, 40.0, 41.0, 43.0, 42.0)
    for _ in range(60):
        overlay.step()
    view = overlay.services[0].view
    answering = responder(view, Counters())
    asked = [answering.respond(query("shop.apps.example"), CLIENTS[0].packed, "udp", 0.0, 0) for _ in range(10_000)]
    assert len({tuple(addresses(answer)) for answer in set(asked) if answer}) == 1

    config = replace(
        view.config, edges=view.config.edges[:3], vips={k: v for k, v in view.config.vips.items() if k[0] < 3}
    )
    three = make_view(
        config,
        {pair: standing for pair, standing in view.standings.items() if pair[0] < 3},
        {pair: delay for pair, delay in view.delays.items() if pair[0] < 3},
    )
    clients = [number << 8 for number in range(10 << 16, (10 << 16) + 10_000)]
    before = [three.decide(4, client, "shop").edges[0] for client in clients]
    after = [view.decide(4, client, "shop").edges[0] for client in clients]
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {3}
    assert abs(len(moved) / len(clients) - 0.25) < 0.03


def test_dns_nodes_that_hear_the_same_agree_and_one_that_is_cut_off_keeps_its_view() -> None:
    overlay = Overlay(3, 100.0, 100.0, 60.0, nodes=3)
    for _ in range(240):
        overlay.step()
        assert overlay.answers(0) == overlay.answers(1) == overlay.answers(2)
    deaf = overlay.health.pop()
    kept = overlay.answers(2)
    overlay.true = [40.0, 100.0, 100.0]
    for _ in range(240):
        overlay.step()
    assert overlay.answers(0) == overlay.answers(1) != kept
    assert overlay.answers(2) == kept
    assert [service.standings()["stale"] for service in overlay.services] == [0, 0, 1]
    overlay.health.append(deaf)
    for _ in range(60):
        overlay.step()
    assert overlay.answers(2) == overlay.answers(0)
