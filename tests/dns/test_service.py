"""The service on real sockets of the loopback interface."""

from __future__ import annotations

import random
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import trio
from dnslib import DNSRecord

from braid.bind import BindError
from dns import tcp
from dns.health import HealthTable
from dns.node import DnsService, serve
from tests.dns.zone import CONFIG, FRA, NYC, addresses, free_port, query, report
from topology.model import DnsSettings, SocketAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dns.config import DnsConfig

LOOPBACK = ip_address("127.0.0.1")


@dataclass
class Running:
    service: DnsService
    health: HealthTable
    port: int

    async def udp(self, data: bytes, seconds: float = 60.0) -> bytes:
        with trio.socket.socket(type=socket.SOCK_DGRAM) as asker:
            await asker.connect(("127.0.0.1", self.port))
            with trio.fail_after(seconds):
                await asker.send(data)
                return await asker.recv(65535)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@asynccontextmanager
async def running(config: DnsConfig = CONFIG) -> AsyncIterator[Running]:
    health = HealthTable()
    port = free_port()
    config = replace(config, listen=(SocketAddress(LOOPBACK, port),))
    async with trio.open_nursery() as nursery:
        service = await nursery.start(partial(serve, config, health))
        yield Running(service, health, port)
        nursery.cancel_scope.cancel()


async def message(stream: trio.SocketStream) -> bytes:
    async def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = await stream.receive_some(count - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    with trio.fail_after(60):
        return await exactly(int.from_bytes(await exactly(2), "big"))


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


async def test_udp() -> None:
    async with running() as dns:
        assert addresses(await dns.udp(query("shop.apps.example"))) == ["10.91.3.130"]
        assert DNSRecord.parse(await dns.udp(query("x.apps.example"))).header.rcode == 3


async def test_garbage_over_udp_stops_nothing() -> None:
    rng = random.Random(3)
    async with running() as dns:
        with trio.socket.socket(type=socket.SOCK_DGRAM) as asker:
            await asker.connect(("127.0.0.1", dns.port))
            for size in (0, 1, 11, 12, 13, 100, 4096, 4097, 60000):
                await asker.send(rng.randbytes(size))
                await asker.send(b"\x00\x07\x00\x00" + rng.randbytes(size))
        assert addresses(await dns.udp(query("shop.apps.example"))) == ["10.91.3.130"]
        assert dns.service.counters.drops["short"] >= 3


async def test_every_address_answers_on_both_transports_from_where_it_was_asked() -> None:
    hosts = ["127.0.0.1", "127.0.0.2", "::1"]
    listen = tuple(SocketAddress(ip_address(host), free_port(host)) for host in hosts)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, replace(CONFIG, listen=listen), HealthTable()))
        for address in listen:
            peer = (str(address.host), address.port)
            family = socket.AF_INET6 if address.host.version == 6 else socket.AF_INET
            with trio.socket.socket(family, socket.SOCK_DGRAM) as asker, trio.fail_after(60):
                await asker.sendto(query("apps.example", "SOA"), peer)
                raw, source = await asker.recvfrom(2000)
                assert source[:2] == peer
                assert len(addresses(raw)) == 1
            async with await trio.open_tcp_stream(*peer) as stream:
                await stream.send_all(framed(query("apps.example", "SOA")))
                assert len(addresses(await message(stream))) == 1
        nursery.cancel_scope.cancel()


async def test_truncated_over_udp_is_whole_over_tcp() -> None:
    async with running() as dns:
        data = query("wide.apps.example", edns=4096)
        short = DNSRecord.parse(await dns.udp(data))
        assert (short.header.tc, short.rr) == (1, [])
        async with await dns.connect() as stream:
            await stream.send_all(framed(data))
            assert len(addresses(await message(stream))) == 100


async def test_tcp_pipelining_keeps_the_order() -> None:
    async with running() as dns, await dns.connect() as stream:
        await stream.send_all(b"".join(framed(query("shop.apps.example", id=i)) for i in range(500)))
        assert [int.from_bytes((await message(stream))[:2], "big") for _ in range(500)] == list(range(500))


async def test_tcp_messages_may_come_in_pieces() -> None:
    async with running() as dns, await dns.connect() as stream:
        for byte in framed(query("shop.apps.example")):
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.001)
        assert addresses(await message(stream)) == ["10.91.3.130"]
        await stream.send_all(framed(query("shop.apps.example")))
        assert addresses(await message(stream)) == ["10.91.3.130"]


@pytest.mark.parametrize(
    "head", [b"\x00\x00", b"\x00\x0b", b"\x10\x01", b"\xff\xff", b"\x00\x0c" + b"\x00\x00\x80" + bytes(9)]
)
async def test_tcp_nonsense_closes_that_connection_alone(head: bytes) -> None:
    async with running() as dns, await dns.connect() as bystander:
        async with await dns.connect() as stream:
            await stream.send_all(framed(query("shop.apps.example")) + head)
            assert addresses(await message(stream)) == ["10.91.3.130"], "what came before is answered"
            with pytest.raises(EOFError):
                await message(stream)
        await bystander.send_all(framed(query("shop.apps.example")))
        assert addresses(await message(bystander)) == ["10.91.3.130"]


async def drip(stream: trio.SocketStream, data: bytes) -> None:
    """Sends single bytes, which do not count as life; raises when the other side closes."""
    for byte in data:
        await stream.send_all(bytes([byte]))
        with trio.move_on_after(0.05):
            if not await stream.receive_some(1):
                raise EOFError


async def test_idle_tcp_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "IDLE_LIMIT", 0.3)
    async with running() as dns, await dns.connect() as stream:
        began = trio.current_time()
        with pytest.raises((trio.BrokenResourceError, EOFError)):
            await drip(stream, framed(query("shop.apps.example") * 9))
        assert trio.current_time() - began > 0.25
        assert dns.service.counters.connections == 0


async def shout(stream: trio.SocketStream, data: bytes) -> NoReturn:
    while True:
        await stream.send_all(data)


async def test_a_client_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "IDLE_LIMIT", 0.3)
    async with running() as dns, await dns.connect() as deaf:
        with pytest.raises(trio.BrokenResourceError):
            await shout(deaf, framed(query("wide.apps.example")) * 100)
        for _ in range(1200):
            if not dns.service.counters.connections:
                break
            await trio.sleep(0.05)
        assert dns.service.counters.connections == 0
        assert addresses(await dns.udp(query("shop.apps.example"))) == ["10.91.3.130"]


async def test_crowds_of_idle_connections_do_not_lock_anybody_out() -> None:
    async with running() as dns, trio.open_nursery() as nursery:
        idle = [await dns.connect() for _ in range(tcp.MAX_CONNECTIONS + 20)]
        async with await dns.connect() as stream:
            await stream.send_all(framed(query("shop.apps.example")))
            assert addresses(await message(stream)) == ["10.91.3.130"]
        assert dns.service.counters.connections <= tcp.MAX_CONNECTIONS
        assert dns.service.counters.closed["crowded"] >= 20
        for stream in idle:
            nursery.start_soon(trio.aclose_forcefully, stream)


async def test_three_hundred_slow_clients_cost_little_and_a_new_one_is_served() -> None:
    async with running() as dns, trio.open_nursery() as nursery:
        slow = [await dns.connect() for _ in range(300)]
        for stream in slow:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(b"\x00")
        async with await dns.connect() as stream:
            await stream.send_all(framed(query("shop.apps.example")))
            assert addresses(await message(stream)) == ["10.91.3.130"]
        assert addresses(await dns.udp(query("shop.apps.example"))) == ["10.91.3.130"]
        assert dns.service.counters.connections <= tcp.MAX_CONNECTIONS
        assert dns.service.counters.closed["crowded"] >= 300 - tcp.MAX_CONNECTIONS
        for stream in slow:
            nursery.start_soon(trio.aclose_forcefully, stream)


async def test_a_flood_is_limited_and_a_cookie_lifts_the_limit() -> None:
    slow = replace(CONFIG, settings=DnsSettings(responses_per_second=10))
    plain = query("shop.apps.example", edns=1232)
    async with running(slow) as dns:
        counters = dns.service.counters
        with trio.socket.socket(type=socket.SOCK_DGRAM) as asker, trio.fail_after(60):
            await asker.connect(("127.0.0.1", dns.port))
            while counters.limited["drop"] < 100:
                await asker.send(plain)
            assert abs(counters.limited["slip"] - counters.limited["drop"]) <= 1
            counters.fold()
            assert counters.queries["udp", "ipv4", "A", "NOERROR"] >= 200

        with trio.socket.socket(type=socket.SOCK_DGRAM) as asker, trio.fail_after(60):
            await asker.connect(("127.0.0.1", dns.port))
            answer = b""
            while not answer:
                await asker.send(plain[:-2] + b"\x00\x0c\x00\x0a\x00\x08abcdefgh")
                with trio.move_on_after(0.2):
                    answer = await asker.recv(2000)
            before = counters.limited.copy()
            for _ in range(300):
                await asker.send(plain[:-2] + b"\x00\x1c\x00\x0a\x00\x18" + answer[-24:])
            for _ in range(3000):
                if counters.cookies["valid"] == 300:
                    break
                await trio.sleep(0.01)
            assert counters.cookies["valid"] == 300
            assert counters.limited == before


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_flood_leaves_time_for_others(transport: str) -> None:
    """``python -m bench.dns fairness`` measures it with a flood from outside."""
    async with running() as dns, trio.open_nursery() as nursery:

        async def flood() -> None:
            if transport == "tcp":
                async with await dns.connect() as stream:
                    nursery.start_soon(shout, stream, framed(query_bytes) * 100)
                    while await stream.receive_some(65536):
                        pass
            with trio.socket.socket(type=socket.SOCK_DGRAM) as asker:
                await asker.connect(("127.0.0.1", dns.port))
                while True:
                    for _ in range(64):
                        await asker.send(query_bytes)

        query_bytes = query("shop.apps.example", edns=1232)
        nursery.start_soon(flood)
        late = []
        for _ in range(40):
            due = trio.current_time() + 0.005
            await trio.sleep_until(due)
            late.append(trio.current_time() - due)
        assert sorted(late)[len(late) // 2] < 1
        counters = dns.service.counters
        counters.fold()
        assert counters.queries[transport, "ipv4", "A", "NOERROR"] > 100
        assert counters.durations.total() == counters.sizes[transport].total() > 100
        assert counters.bytes["received", transport] > 100 * len(query_bytes)
        assert counters.busy_ns[transport] > 0
        nursery.cancel_scope.cancel()


async def test_answers_follow_the_health_of_the_edges() -> None:
    async with running() as dns, trio.open_nursery() as nursery:
        state: dict[int, dict[str, Any]] = {FRA: {}, NYC: {"usable": 0}, 13: {"ready": False}}

        async def keep_reporting() -> NoReturn:
            for sequence in count(1):
                for edge, words in state.items():
                    dns.health.receive_report(edge, report(sequence, **words), trio.current_time())
                await trio.sleep(0.1)
            raise AssertionError

        async def until(expected: list[str]) -> None:
            with trio.fail_after(60):
                while True:
                    if addresses(await dns.udp(query("shop.apps.example"))) == expected:
                        return
                    await trio.sleep(0.05)

        nursery.start_soon(keep_reporting)
        await until(["10.91.1.130"])
        state[NYC], state[FRA] = {}, {"draining": True}
        await until(["10.91.2.130"])
        assert dns.service.counters.switches["shop", "draining"] == 1
        assert dns.service.document()["changes"][0]["edge"] in ("edge-fra-1", "edge-nyc-1")
        nursery.cancel_scope.cancel()


async def test_reload_replaces_the_zone_between_two_queries() -> None:
    async with running() as dns:
        config = dns.service.view.config
        assert dns.service.reload(replace(config, hosts={"new.apps.example": "shop"}))
        assert addresses(await dns.udp(query("new.apps.example"))) == ["10.91.3.130"]
        assert DNSRecord.parse(await dns.udp(query("shop.apps.example"))).header.rcode == 3
        assert not dns.service.reload(replace(config, listen=()))


async def test_addresses_that_cannot_be_had_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braid.bind.BIND_PATIENCE", 0.2)
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        for host, text in (
            ("127.0.0.1", r"Address already in use; another program"),
            ("192.0.2.1", "no address of this"),
        ):
            with pytest.raises(BindError, match=f"dns_listen {host}:{port}.*{text}"):
                await serve(replace(CONFIG, listen=(SocketAddress(ip_address(host), port),)), HealthTable())


async def test_cancelling_frees_the_port() -> None:
    async with running() as dns:
        await dns.udp(query("shop.apps.example"))
        port = dns.port
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
