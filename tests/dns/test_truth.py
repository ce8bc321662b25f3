"""What ten thousand random clients with IPv4 and five thousand with IPv6 are answered, against a brute-force reading of
all the rules and the explanation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from math import acos, cos, log, radians, sin
from random import Random
from typing import TYPE_CHECKING

import pytest
from dnslib import DNSRecord

from dns.config import DnsConfig, Edge
from dns.counters import Counters
from dns.geo import open_database
from dns.policy import Standing
from dns.status import explanation
from dns.view import View, make_view
from tests.dns.mmdb import database
from tests.dns.test_steered import with_subnet
from tests.dns.zone import CONFIG, query, responder
from topology.model import ClientSubnetUse, DnsSettings, Location

if TYPE_CHECKING:
    from pathlib import Path

    from topology.model import IPAddress, IPNetwork

EDGES, CLIENTS = 12, 2500
BITS = {4: 32, 6: 128}
STICKY = {4: 24, 6: 56}
HOST = "shop.apps.example"


@dataclass
class World:
    version: int
    config: DnsConfig
    standings: dict[int, Standing]
    delays: dict[int, float]
    spill: dict[int, float]
    places: dict[IPNetwork, Location | None]

    def __post_init__(self) -> None:
        self.bits = BITS[self.version]
        self.rest = self.bits - STICKY[self.version]
        """Bits of an address behind the prefix that stays together."""
        self.spans = [(int(net[0]), int(net[-1]), place) for net, place in self.places.items()]


def address(version: int, number: int) -> IPAddress:
    return IPv4Address(number) if version == 4 else IPv6Address(number)


def anywhere(rng: Random) -> Location:
    return Location(round(rng.uniform(-60, 70), 2), round(rng.uniform(-180, 180), 2))


def make_world(rng: Random, version: int) -> World:
    bits = BITS[version]

    def net() -> IPNetwork:
        length = rng.choice([4, 8, 12, 16, 20, 24])
        number = rng.getrandbits(bits) >> (bits - length) << (bits - length)
        return ip_network((address(version, number), length))

    edges = tuple(
        Edge(f"edge-{n}", n, tuple({net() for _ in range(rng.choice([0, 0, 3, 30]))}), rng.randint(1, 3), anywhere(rng))
        for n in range(EDGES)
    )
    vips = {(n, "shop"): (ip_address(f"10.9.0.{n + 1}"),) for n in range(EDGES)}
    words = [Standing.UP] * 12 + [Standing.HOLDING, Standing.DEGRADED, Standing.DRAINING, Standing.DOWN]
    places: dict[IPNetwork, Location | None] = {}
    todo: list[IPNetwork] = [ip_network((address(version, 0), 0))]
    while todo:
        prefix = todo.pop()
        if prefix.prefixlen < 6 or (prefix.prefixlen < 28 and rng.random() < 0.52):
            todo += prefix.subnets()
        elif rng.random() < 0.9 and (version == 4 or int(prefix[0])):
            # The reader cannot list what holds all of the IPv4 addresses in an IPv6 tree.
            places[prefix] = anywhere(rng) if rng.random() < 0.9 else None
    return World(
        version,
        replace(
            CONFIG,
            edges=edges,
            vips=vips,
            hosts={HOST: "shop"},
            settings=DnsSettings(client_subnet=ClientSubnetUse.ALL, reverse=False),
        ),
        {n: rng.choice(words) for n in range(EDGES)},
        {n: rng.uniform(5, 120) for n in range(EDGES)},
        {n: rng.uniform(0.1, 1) for n in range(EDGES) if rng.random() < 0.3},
        places,
    )


def kilometres(a: Location, b: Location) -> float:
    """By the spherical law of cosines."""
    p, q, turn = radians(a.latitude), radians(b.latitude), radians(a.longitude - b.longitude)
    return 6371 * acos(max(-1.0, min(1.0, sin(p) * sin(q) + cos(p) * cos(q) * cos(turn))))


def draw(version: int, prefix: int, name: str, person: bytes = b"") -> float:
    key = prefix.to_bytes(8, "big") + bytes([version])
    return int.from_bytes(blake2b(key, key=name.encode(), digest_size=8, person=person).digest(), "big") / 2**64


def oracle(world: World, number: int) -> int:
    """The edge that a client must get."""
    version, prefix, edges = world.version, number >> world.rest, world.config.edges
    client = address(version, number)

    def rank(n: int) -> tuple[int, int, int]:
        standing = world.standings[n]
        if standing < Standing.DRAINING and draw(version, prefix, edges[n].name, b"spill") < world.spill.get(n, 0):
            standing = Standing.FULL
        matching = [each.prefixlen for each in edges[n].serves if client in each]
        others = bool(edges[n].serves) and not matching
        # A prefix of length 0 would still come before an edge that serves everybody.
        length = -max(matching, default=-1)
        if standing < Standing.DRAINING:
            return (others, standing, length)
        return (9 + standing, others, length)

    best = min(map(rank, range(EDGES)))
    equals = [n for n in range(EDGES) if rank(n) == best]
    place = next((place for start, end, place in world.spans if start <= number <= end), None)
    if len(equals) > 1:
        away = {n: 0.0 if place is None else kilometres(place, edges[n].location or place) for n in equals}
        total = {n: world.delays[n] + away[n] / 50 for n in equals}
        least = min(total.values())
        equals = [n for n in equals if total[n] - least < 10 or total[n] - least < total[n] / 3]
        equals = [n for n in equals if away[n] <= min(away[m] for m in equals) + 100]
    return min(equals, key=lambda n: -log(draw(version, prefix, edges[n].name) + 2**-64) / edges[n].weight)


@pytest.fixture(params=[(0, 4), (1, 4), (2, 4), (3, 4), (4, 6), (5, 6)], ids=str)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Random, World, View]:
    seed, version = request.param
    rng = Random(seed)
    world = make_world(rng, version)
    file = tmp_path / "cities.mmdb"
    file.write_bytes(database(world.places))
    view = make_view(
        world.config,
        {(n, "shop"): standing for n, standing in world.standings.items()},
        {(n, "shop"): delay for n, delay in world.delays.items()},
        world.spill,
        open_database(file),
    )
    return rng, world, view


def test_answers_are_those_of_the_oracle_and_the_explanation_and_scopes_never_overlap(
    scene: tuple[Random, World, View],
) -> None:
    rng, world, view = scene
    counters, scopes = Counters(), dict[tuple[int, int], str]()
    answering = responder(view, counters)
    for turn in range(CLIENTS):
        number = rng.getrandbits(world.bits)
        client = address(world.version, number)
        passed_on = turn % 2 == 0
        if passed_on:
            number = number >> world.rest << world.rest
        prefix = f"{address(world.version, number)}/{STICKY[world.version]}"
        data = with_subnet(prefix) if passed_on else query(HOST)
        source = ip_address("192.0.2.1") if passed_on else client
        answer = answering.respond(data, source.packed, "udp", 0.0, 0)
        assert answer is not None
        parsed = DNSRecord.parse(answer)
        found = [str(record.rdata) for record in parsed.rr]
        assert found == [str(world.config.vips[oracle(world, number), "shop"][0])]
        told = explanation(view, HOST, str(address(world.version, number)))
        assert told["answer"][0]["vips"] == found
        scope = told["scope"]
        if passed_on:
            (option,) = [option for record in parsed.ar for option in record.rdata]
            assert option.data[3] == scope
        assert scopes.setdefault((scope, number >> (world.bits - scope)), found[0]) == found[0]
    for length, prefix in scopes:
        assert not any((shorter, prefix >> (length - shorter)) in scopes for shorter in range(length))
    assert {"best", "fastest"} <= set(counters.decisions)


def test_a_scope_has_one_answer_to_its_last_address(scene: tuple[Random, World, View]) -> None:
    rng, world, view = scene
    for _ in range(500):
        number = rng.getrandbits(world.bits)
        decision = view.decide(world.version, number, "shop")
        rest = world.bits - decision.scope
        for other in (number >> rest << rest, number | (1 << rest) - 1):
            assert view.decide(world.version, other, "shop")[:2] == decision[:2]
