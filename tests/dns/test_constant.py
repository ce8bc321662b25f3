"""What stays the same: a client's VIP, the answers of the other DNS nodes, the settings of all, one view per answer."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from random import Random

import pytest
import trio
from dnslib import DNSRecord

from bench.dns.mutate import query, question
from dns.counters import Counters
from dns.policy import Standing
from dns.sockets import packed_address
from dns.view import make_view
from tests.dns.served import HOSTS, everything, exchange, served
from tests.dns.test_service import running
from tests.dns.zone import CONFIG, UNIX, addresses, responder
from tests.topology.base import TEXT
from topology.check import TopologyError
from topology.model import DnsSettings
from topology.source import parse

SHOP = question("shop.apps.example")


def test_a_client_keeps_its_vip() -> None:
    """J1: among three equals, whichever address of its prefix asks, whatever else was asked before."""
    rng = Random(1)
    equal = replace(CONFIG, edges=tuple(replace(edge, serves=()) for edge in CONFIG.edges))
    server = responder(make_view(equal, dict.fromkeys(equal.vips, Standing.UP)), Counters())
    given = set()
    for _ in range(10_000):
        server.respond(query(SHOP), rng.randbytes(4), "udp", 0.0, UNIX)
        answer = server.respond(query(SHOP), packed_address(f"192.0.2.{rng.randrange(256)}"), "udp", 0.0, UNIX)
        given.add(answer)
    assert len(given) == 1


def test_a_node_that_dies_leaves_the_other_answering() -> None:
    """J6."""
    with served(everything(), ("127.0.0.1",)) as (second, _):
        with served(everything(), ("127.0.0.2",)) as (first, _):
            before = [
                exchange(host, port, query(SHOP), "udp") for host, port in (("127.0.0.2", first), (HOSTS[0], second))
            ]
            assert before[0] == before[1] is not None, "both give the same answer"
        with pytest.raises(ConnectionRefusedError):
            exchange("127.0.0.2", first, query(SHOP), "udp")
        assert exchange(HOSTS[0], second, query(SHOP), "udp") == before[1]


def test_the_setting_for_client_prefixes_is_no_nodes_own() -> None:
    """C18: it stands once in the file; a resolver that meets two settings fills its cache with the wrong answers."""
    assert parse(TEXT + "dns: {client_subnet: off}\n", "t.yaml").dns != DnsSettings()
    own = TEXT.replace('dns_listen: ["10.1.0.53:53"]', 'dns_listen: ["10.1.0.53:53"], client_subnet: all')
    with pytest.raises(TopologyError, match=r"nodes\.d-1\.client_subnet: unknown key"):
        parse(own, "t.yaml")


async def test_reloads_under_load_lose_and_mix_nothing() -> None:
    """J8: two configurations that differ in all 45 addresses of an answer and in its TTL, put in place in turn."""
    asked = query(question("wide.apps.example"), b"")
    configs, whole = [], []
    for number, ttl in ((92, 30), (93, 20)):
        vips = tuple(ip_address(f"10.{number}.0.{host + 1}") for host in range(45))
        zone = replace(CONFIG.zone, ttl=ttl)
        configs.append(replace(everything(), zone=zone, vips=CONFIG.vips | {(2, "wide"): vips}))
        whole.append(([str(vip) for vip in vips], {ttl}))
    seen = [0, 0]
    async with running(configs[0]) as dns, trio.open_nursery() as nursery:

        async def reload() -> None:
            while min(seen) < 50:
                for config in reversed(configs):
                    dns.service.reload(replace(config, listen=dns.service.view.config.listen))
                    await trio.sleep(0.005)
            nursery.cancel_scope.cancel()

        nursery.start_soon(reload)
        while True:
            answer = await dns.udp(asked)
            found = (addresses(answer), {record.ttl for record in DNSRecord.parse(answer).rr})
            seen[whole.index(found)] += 1
    assert min(seen) >= 50
