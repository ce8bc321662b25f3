"""A large zone: many names, edges with many prefixes. Equal seeds make equal worlds."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from random import Random
from typing import TYPE_CHECKING

from dns.answer import Responder
from dns.config import DnsConfig, Edge, NameServer
from dns.cookies import Cookies
from dns.counters import Counters
from dns.limit import RateLimiter
from dns.policy import Standing
from dns.view import make_view
from topology.model import ClientSubnetUse, DnsSettings, DnsZone, SocketAddress
from topology.zonefile import parse_record

if TYPE_CHECKING:
    from topology.model import IPNetwork

ZONE = "apps.example"


@dataclass(frozen=True, slots=True)
class World:
    names: int = 1000
    edges: int = 20
    prefixes: int = 10_000
    seed: int = 1

    @property
    def hostnames(self) -> list[str]:
        return [f"app{number}.{ZONE}" for number in range(self.names)]

    @property
    def serves(self) -> list[set[IPNetwork]]:
        """Per edge the prefixes of its clients."""
        rng = Random(self.seed)
        serves: list[set[IPNetwork]] = [set() for _ in range(self.edges)]
        for _ in range(self.prefixes):
            length = rng.choice((16, 18, 20, 22, 24))
            network = ip_network((rng.getrandbits(32) >> (32 - length) << (32 - length), length))
            rng.choice(serves).add(network)
        return serves

    @property
    def client_prefixes(self) -> list[bytes]:
        """The first 24 bits of an address in each of them."""
        return sorted({prefix.network_address.packed[:3] for own in self.serves for prefix in own})


def config_of(world: World, port: int, limit: int = 0) -> DnsConfig:
    """Without a rate limit unless one is given: the load comes from one address."""
    serves = enumerate(world.serves)
    edges = tuple(Edge(f"edge-{n}", n + 1, tuple(sorted(own, key=str))) for n, own in serves)
    vips = {
        (edge, f"app{number}"): (ip_address((10 << 24) + (edge << 16) + number),)
        for edge in range(world.edges)
        for number in range(world.names)
    }
    records = tuple(parse_record(f"big TXT {'x' * 200}{number}", ZONE, 30) for number in range(5))
    return DnsConfig(
        node="dns-1",
        listen=(SocketAddress(ip_address("127.0.0.1"), port),),
        zone=DnsZone(ZONE, 30, f"hostmaster.{ZONE}", records),
        servers=(NameServer(f"ns1.{ZONE}", (ip_address("192.0.2.53"),)),),
        edges=edges,
        hosts={name: name.partition(".")[0] for name in world.hostnames},
        vips=vips,
        settings=DnsSettings(client_subnet=ClientSubnetUse.ALL, responses_per_second=limit),
    )


def responder_of(config: DnsConfig) -> Responder:
    view = make_view(config, dict.fromkeys(config.vips, Standing.UP))
    return Responder(view, Cookies([bytes(16)]), RateLimiter(0, 2), Counters(), tcp_idle=10.0)
