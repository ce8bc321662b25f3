"""TCP and TLS proxies on loopback."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import trio

from braid.tls.hello import decode_client_hello
from tests.gateway import proxy_bench
from tests.gateway.hellos import client_hello
from tests.gateway.proxy_bench import CLIENT, LOOPBACK, free_port, listen, proxied, read_all
from topology.model import Target
from topology.proxy import TCP, TLS_SNI, ClientAddress, ProxySettings, Rule


@pytest.fixture(params=[True, False], ids=["rust", "python"], autouse=True)
def relay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whoever carries the bytes passes everything here."""
    monkeypatch.setattr(proxy_bench, "RELAY", request.param)
    return bool(request.param)


async def echo(stream: trio.SocketStream) -> None:
    while data := await stream.receive_some(65536):
        await stream.send_all(data)


async def test_bytes_pass_both_ways_and_half_closes_too(nursery: trio.Nursery) -> None:
    port = await listen(nursery, echo)
    async with proxied(ProxySettings(TCP), Target(LOOPBACK, port, 1)) as shop:
        client = await shop.connect()
        sent = bytes(range(256)) * 40_000
        received = bytearray()

        async def send() -> None:
            await client.send_all(sent)
            await client.send_eof()

        async with trio.open_nursery() as both:
            both.start_soon(send)
            received += await read_all(client)
        assert received == sent


async def test_a_server_may_speak_first(nursery: trio.Nursery) -> None:
    port = await listen(nursery, lambda stream: stream.send_all(b"220 ready\r\n"))
    async with proxied(ProxySettings(TCP), Target(LOOPBACK, port, 1)) as shop:
        assert await read_all(await shop.connect()) == b"220 ready\r\n"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ClientAddress.PROXY_V1, b"PROXY TCP4 198.51.100.7 127.0.0.1 40000 80\r\n"),
        (
            ClientAddress.PROXY_V2,
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes((198, 51, 100, 7, 127, 0, 0, 1)) + b"\x9c\x40\x00\x50",
        ),
    ],
)
async def test_the_server_is_told_the_client_first(nursery: trio.Nursery, kind: ClientAddress, expected: bytes) -> None:
    port = await listen(nursery, echo)
    async with proxied(ProxySettings(TCP, client_address=kind), Target(LOOPBACK, port, 1)) as shop:
        client = await shop.connect()
        await client.send_all(b"hello")
        await client.send_eof()
        assert await read_all(client) == expected + b"hello"


async def test_where_the_clients_address_cannot_be_kept_no_server_gets_another(nursery: trio.Nursery) -> None:
    """As for a connection that a listener accepted."""
    asked: list[trio.SocketStream] = []

    async def server(stream: trio.SocketStream) -> None:
        asked.append(stream)

    settings = ProxySettings(TCP, client_address=ClientAddress.TRANSPARENT)
    async with proxied(settings, Target(LOOPBACK, await listen(nursery, server), 1)) as shop:
        with pytest.raises(trio.BrokenResourceError):
            await read_all(await shop.connect())
        assert sum(shop.application.counters.refused.values()) == 1
    assert asked == []


async def test_rules_by_client_and_region_choose_subsets(nursery: trio.Nursery) -> None:
    ports = [await listen(nursery, lambda stream, name=name: stream.send_all(name)) for name in (b"a", b"b")]
    one, two = (Target(LOOPBACK, port, 1) for port in ports)
    settings = ProxySettings(TCP, rules=(Rule((two,), regions=("edge-nyc",)), Rule((one,))))
    async with proxied(settings, one, two) as shop:
        assert await read_all(await shop.connect()) == b"a"
    async with proxied(settings, one, two, data=replace(CLIENT, region="edge-nyc")) as shop:
        assert await read_all(await shop.connect()) == b"b"


async def test_servers_that_refuse_are_passed_over_and_then_the_client_is_reset(nursery: trio.Nursery) -> None:
    port = await listen(nursery, lambda stream: stream.send_all(b"alive"))
    dead, alive = Target(LOOPBACK, free_port(), 1), Target(LOOPBACK, port, 1)
    async with proxied(ProxySettings(TCP), dead, alive) as shop:
        for _ in range(4):
            assert await read_all(await shop.connect()) == b"alive"
    async with proxied(ProxySettings(TCP), dead) as shop:
        with pytest.raises(trio.BrokenResourceError):
            await read_all(await shop.connect())
        assert shop.refused == {"server_connect_econnrefused": 1}


async def test_a_server_that_fails_in_a_row_is_ejected_until_all_would_be(nursery: trio.Nursery) -> None:
    port = await listen(nursery, lambda stream: stream.send_all(b"alive"))
    dead, alive = Target(LOOPBACK, free_port(), 1), Target(LOOPBACK, port, 1)
    async with proxied(ProxySettings(TCP, eject_after=2, panic=0.4), dead, alive) as shop:
        for _ in range(20):
            assert await read_all(await shop.connect()) == b"alive"
        assert shop.application.counters.servers[f"127.0.0.1:{dead.port}"].failures == 2
        assert shop.application.counters.servers[f"127.0.0.1:{dead.port}"].ejections == 1


async def test_unhealthy_targets_get_nothing_until_too_few_are_good(nursery: trio.Nursery) -> None:
    ports = [await listen(nursery, lambda stream, name=name: stream.send_all(name)) for name in (b"a", b"b")]
    targets = [Target(LOOPBACK, port, 1) for port in ports]
    async with proxied(ProxySettings(TCP), *targets, healthy=lambda _key: False) as shop:
        assert {await read_all(await shop.connect()) for _ in range(4)} == {b"a", b"b"}
        verdict = shop.verdict(0)
        assert verdict is not None
        assert "panic" in verdict.why


async def test_a_client_that_resets_takes_its_server_along(nursery: trio.Nursery) -> None:
    gone = trio.Event()

    async def watch(stream: trio.SocketStream) -> None:
        await stream.send_all(b"hi")
        try:
            while await stream.receive_some(1000):
                pass
        except trio.BrokenResourceError:
            pass
        gone.set()

    port = await listen(nursery, watch)
    async with proxied(ProxySettings(TCP), Target(LOOPBACK, port, 1)) as shop:
        client = await shop.connect()
        assert await client.receive_some(10) == b"hi"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        await trio.aclose_forcefully(client)
        with trio.fail_after(5):
            await gone.wait()


async def test_an_idle_connection_ends(nursery: trio.Nursery) -> None:
    port = await listen(nursery, echo)
    async with proxied(ProxySettings(TCP, idle_timeout=0.2), Target(LOOPBACK, port, 1)) as shop:
        assert await read_all(await shop.connect()) == b""
        assert shop.refused == {"idle_timeout": 1}


async def test_tls_goes_by_name_and_reaches_the_server_untouched(nursery: trio.Nursery) -> None:
    ports = [await listen(nursery, echo) for _ in range(2)]
    one, two = (Target(LOOPBACK, port, 1) for port in ports)
    rules = (Rule((one,), sni=("one.example",)), Rule((two,), sni=("*.two.example",)))
    async with proxied(ProxySettings(TLS_SNI, rules=rules), one, two) as shop:
        for name, port in (("one.example", ports[0]), ("a.two.example", ports[1])):
            hello = client_hello(name)
            client = await shop.connect()
            for byte in hello[:20]:
                await client.send_all(bytes((byte,)))
            await client.send_all(hello[20:])
            received = b""
            with trio.fail_after(5):
                while len(received) < len(hello):
                    received += await client.receive_some(65536)
            assert received == hello
            verdict = shop.verdict(-1)
            assert verdict is not None
            assert verdict.address.port == port
        found = decode_client_hello(client_hello("one.example"))
        assert found is not None
        assert found.alpn == ("h2", "http/1.1")


async def test_what_is_no_tls_is_told_so(nursery: trio.Nursery) -> None:
    port = await listen(nursery, echo)
    async with proxied(ProxySettings(TLS_SNI, select_timeout=0.2), Target(LOOPBACK, port, 1)) as shop:
        client = await shop.connect()
        await client.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert await read_all(client) == bytes((21, 3, 3, 0, 2, 2, 50))
        silent = await shop.connect()
        with pytest.raises(trio.BrokenResourceError):
            await read_all(silent)
        assert shop.refused == {"tls_record": 1, "select_timeout": 1}
