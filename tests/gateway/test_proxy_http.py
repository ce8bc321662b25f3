from __future__ import annotations

import socket

import h11
import pytest
import trio
import trio.testing

from gateway.proxy import connection
from tests.gateway import proxy_bench
from tests.gateway.proxy_bench import (
    LOOPBACK,
    HttpServer,
    exchange,
    free_port,
    http_servers,
    listen,
    proxied,
    read_all,
    read_answer,
)
from topology.model import Target
from topology.proxy import HTTP, ClientAddress, ProxySettings, Rule, ServerPolicy

BY_PATH = "/a/", "/b/", "/c/"


@pytest.fixture(params=[True, False], ids=["rust", "h11"], autouse=True)
def relay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both parsers pass everything here."""
    monkeypatch.setattr(proxy_bench, "RELAY", request.param)
    return bool(request.param)


def get(target: str, *headers: str) -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", "Host: shop.apps.example", *headers, "", "")).encode()


def by_path(servers: list[HttpServer], **more: object) -> ProxySettings:
    rules = tuple(Rule((server.target,), path=path) for server, path in zip(servers, BY_PATH, strict=False))
    return ProxySettings(HTTP, rules=rules, **more)  # type: ignore[arg-type]


async def test_one_connection_three_servers_by_path_rule(nursery: trio.Nursery) -> None:
    servers = await http_servers(nursery, "a", "b", "c")
    async with proxied(by_path(servers), *(each.target for each in servers)) as shop:
        client = await shop.connect()
        answers = [await exchange(client, get(path + "x")) for path in BY_PATH]
        assert [(status, body) for status, _, body in answers] == [
            (200, b"a /a/x 0"),
            (200, b"b /b/x 0"),
            (200, b"c /c/x 0"),
        ]
        assert [each.connections for each in servers] == [1, 1, 1]
        assert shop.application.counters.requests == 3
        verdict = shop.verdict(0)
        assert verdict is not None
        assert verdict.why == "rule 3, round_robin"


async def test_a_server_connection_is_used_again(nursery: trio.Nursery) -> None:
    (server,) = await http_servers(nursery, "a")
    async with proxied(ProxySettings(HTTP), server.target) as shop:
        client = await shop.connect()
        for number in range(5):
            assert (await exchange(client, get(f"/{number}")))[2] == f"a /{number} 0".encode()
        assert server.connections == 1


async def test_server_connections_are_shared_by_clients_and_bounded(nursery: trio.Nursery, relay: bool) -> None:
    if not relay:
        pytest.skip("the connections of a plug-in have server connections of their own")
    (server,) = await http_servers(nursery, "a")
    async with proxied(ProxySettings(HTTP, pool=1, pool_timeout=0.3), server.target) as shop:
        one, two = await shop.connect(), await shop.connect()
        for client in (one, two, one):
            assert (await exchange(client, get("/")))[0] == 200
        assert server.connections == 1
        post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
        assert (await exchange(two, post, b"POST"))[0] == 200
        assert server.connections == 2
        await trio.sleep(0.6)
        assert (await exchange(one, get("/")))[0] == 200
        assert server.connections == 3


async def test_a_kept_connection_that_its_server_closed_is_made_again(nursery: trio.Nursery, relay: bool) -> None:
    """Also when its end is seen only after the request was sent; it is no failure of the server."""
    if not relay:
        pytest.skip("the connections of a plug-in have server connections of their own")
    asked = 0

    async def once(stream: trio.SocketStream) -> None:
        nonlocal asked
        for answers in (True, False):
            if await stream.receive_some(65536) and answers:
                asked += 1
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    port = await listen(nursery, once)
    async with proxied(ProxySettings(HTTP, retries=0), Target(LOOPBACK, port, 1)) as shop:
        client = await shop.connect()
        for _ in range(4):
            assert (await exchange(client, get("/")))[0] == 200
        assert asked == 4
        assert not any(each.failures for each in shop.application.counters.servers.values())


async def test_pipelined_requests_are_answered_in_order(nursery: trio.Nursery) -> None:
    servers = await http_servers(nursery, "a", "b", "c")
    async with proxied(by_path(servers), *(each.target for each in servers)) as shop:
        client = await shop.connect()
        await client.send_all(b"".join(get(path + str(turn)) for turn in range(10) for path in BY_PATH))
        received = b""
        expected = [f"{path[1]} {path}{turn} 0".encode() for turn in range(10) for path in BY_PATH]
        with trio.fail_after(10):
            while received.count(b"HTTP/1.1 200") < 30 or not received.endswith(expected[-1]):
                received += await client.receive_some(65536)
        places = [received.index(text) for text in expected]
        assert places == sorted(places)


async def test_bodies_pass_exactly_chunked_and_with_length(nursery: trio.Nursery) -> None:
    (server,) = await http_servers(nursery, "a")
    async with proxied(ProxySettings(HTTP), server.target) as shop:
        client = await shop.connect()
        body = bytes(range(256)) * 4096
        head = f"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        assert (await exchange(client, head + body, b"POST"))[2] == f"a /up {len(body)}".encode()
        chunks = b"".join(
            b"%x\r\n%s\r\n" % (len(body[at : at + 9999]), body[at : at + 9999]) for at in range(0, len(body), 9999)
        )
        head = b"POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await exchange(client, head + chunks + b"0\r\n\r\n", b"POST"))[2] == f"a /up {len(body)}".encode()
        assert server.bodies == [body, body]


async def test_100_continue_comes_from_the_server(nursery: trio.Nursery) -> None:
    (server,) = await http_servers(nursery, "a")
    async with proxied(ProxySettings(HTTP), server.target) as shop:
        client = await shop.connect()
        await client.send_all(b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        with trio.fail_after(5):
            assert (await client.receive_some(1000)).startswith(b"HTTP/1.1 100 ")
        assert (await exchange(client, b"body", b"POST"))[2] == b"a /up 4"


async def test_an_upgrade_passes_both_ways(nursery: trio.Nursery) -> None:
    async def echo(stream: trio.SocketStream) -> None:
        head = await stream.receive_some(65536)
        assert b"upgrade: websocket" in head.lower()
        await stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nearly"
        )
        while data := await stream.receive_some(65536):
            await stream.send_all(data)

    port = await listen(nursery, echo)
    async with proxied(ProxySettings(HTTP), Target(LOOPBACK, port, 1)) as shop:
        client = await shop.connect()
        await client.send_all(get("/ws", "Connection: Upgrade", "Upgrade: websocket"))
        received = b""
        with trio.fail_after(5):
            while not received.endswith(b"early"):
                received += await client.receive_some(1000)
            assert received.startswith(b"HTTP/1.1 101 ")
            await client.send_all(b"\x00\xff not http")
            assert await client.receive_some(1000) == b"\x00\xff not http"
            await client.send_eof()
            assert await client.receive_some(1000) == b""


async def test_an_upgrade_to_http2_is_not_passed_on(nursery: trio.Nursery) -> None:
    (server,) = await http_servers(nursery, "a")
    async with proxied(ProxySettings(HTTP), server.target) as shop:
        client = await shop.connect()
        asks = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        for _ in range(2):
            assert (await exchange(client, get("/", *asks)))[2] == b"a / 0"
        assert not {b"upgrade", b"connection", b"http2-settings"} & {name for name, _ in server.seen[0].headers}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            "http_length_and_chunked",
        ),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", "http_malformed"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", "http_malformed"),
        ("POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "http_chunked_in_1_0"),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "http_malformed"),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", "http_malformed"),
        ("GET / HTTP/1.1\r\n\r\n", "http_malformed"),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", "http_malformed"),
        ("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", "http_connect"),
        ("\x16\x03\x01\x02\x00\x01\x00", "http_malformed"),
    ],
)
async def test_what_can_be_read_in_two_ways_is_refused(nursery: trio.Nursery, raw: str, reason: str) -> None:
    (server,) = await http_servers(nursery, "a")
    async with proxied(ProxySettings(HTTP), server.target) as shop:
        client = await shop.connect()
        await client.send_all(raw.encode("latin-1"))
        answer = await read_all(client)
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
        assert shop.refused == {reason: 1}
        assert server.seen == []


async def test_the_server_learns_who_the_client_is(nursery: trio.Nursery) -> None:
    (server,) = await http_servers(nursery, "a")
    settings = ProxySettings(HTTP, client_address=ClientAddress.FORWARDED)
    async with proxied(settings, server.target) as shop:
        client = await shop.connect()
        await exchange(client, get("/", "X-Forwarded-For: 192.0.2.1", "Connection: x-secret", "X-Secret: 1"))
        headers = dict(server.seen[0].headers)
        assert headers[b"x-forwarded-for"] == b"192.0.2.1, 198.51.100.7"
        assert headers[b"forwarded"] == b"for=198.51.100.7;proto=http"
        assert b"x-secret" not in headers


async def test_another_server_is_tried_before_the_first_byte(nursery: trio.Nursery) -> None:
    async def slam(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)

    (server,) = await http_servers(nursery, "a")
    dead = Target(LOOPBACK, free_port(), 1)
    rude = Target(LOOPBACK, await listen(nursery, slam), 1)
    async with proxied(ProxySettings(HTTP, retries=2), dead, rude, server.target) as shop:
        client = await shop.connect()
        assert (await exchange(client, get("/again")))[2] == b"a /again 0"
        assert (await exchange(client, get("/more")))[2] == b"a /more 0"
        failures = {name: each.failures for name, each in shop.application.counters.servers.items()}
        assert failures[f"127.0.0.1:{dead.port}"] >= 1


async def test_a_post_is_not_sent_twice(nursery: trio.Nursery) -> None:
    hits = []

    async def slam(stream: trio.SocketStream) -> None:
        hits.append(await stream.receive_some(65536))

    rude = [Target(LOOPBACK, await listen(nursery, slam), 1) for _ in range(2)]
    async with proxied(ProxySettings(HTTP), *rude) as shop:
        client = await shop.connect()
        status, _, _ = await exchange(client, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", b"POST")
        assert (status, len(hits)) == (502, 1)


async def test_a_server_that_never_answers_is_a_504(nursery: trio.Nursery) -> None:
    async def mute(_stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    port = await listen(nursery, mute)
    settings = ProxySettings(HTTP, answer_timeout=0.2)
    async with proxied(settings, Target(LOOPBACK, port, 1)) as shop:
        client = await shop.connect()
        assert (await exchange(client, get("/")))[0] == 504
        assert shop.refused == {"server_answer_timeout": 1}


async def test_a_request_that_does_not_end_is_a_408(nursery: trio.Nursery) -> None:
    (server,) = await http_servers(nursery, "a")
    async with proxied(ProxySettings(HTTP, select_timeout=0.2), server.target) as shop:
        client = await shop.connect()
        await client.send_all(b"GET / HTTP/1.1\r\nHost: ")
        assert (await read_all(client)).startswith(b"HTTP/1.1 408 ")
        assert server.connections == 0


async def test_an_answer_without_length_ends_with_the_connection_but_not_the_clients(nursery: trio.Nursery) -> None:
    async def old(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 100_000)

    port = await listen(nursery, old)
    async with proxied(ProxySettings(HTTP), Target(LOOPBACK, port, 1)) as shop:
        client = await shop.connect()
        for _ in range(2):
            status, headers, body = await exchange(client, get("/"))
            assert (status, body) == (200, b"x" * 100_000)
            assert headers[b"transfer-encoding"] == b"chunked"


async def test_a_connection_is_there_until_a_slow_client_has_it_all(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that stops waits for its connections: without its TUN, what the kernel has still to send is lost."""
    size = 8_000_000
    server_done = trio.Event()

    async def large(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * size)
        server_done.set()

    monkeypatch.setattr(connection, "LINGER", 0.1)
    port = await listen(nursery, large)
    async with proxied(ProxySettings(HTTP), Target(LOOPBACK, port, 1)) as shop:
        client = await shop.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        await client.send_all(get("/"))
        found = 0
        while found < size:
            found += (await client.receive_some(65_536)).count(b"x")
            await trio.sleep(0.01)
            if server_done.is_set():
                shop.finish()
            assert shop.there(0)
        assert found == size


async def test_half_an_answer_is_a_reset(nursery: trio.Nursery) -> None:
    async def cut(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    port = await listen(nursery, cut)
    async with proxied(ProxySettings(HTTP), Target(LOOPBACK, port, 1)) as shop:
        client = await shop.connect()
        await client.send_all(get("/"))
        with pytest.raises(trio.BrokenResourceError):
            await read_all(client)
        assert shop.refused == {"http_bad_answer": 1}


async def test_a_cookie_keeps_the_client_at_its_server(nursery: trio.Nursery) -> None:
    servers = await http_servers(nursery, "a", "b")
    settings = ProxySettings(HTTP, policy=ServerPolicy.ROUND_ROBIN, sticky="cookie:at")
    async with proxied(settings, *(each.target for each in servers)) as shop:
        client = await shop.connect()
        _, headers, body = await exchange(client, get("/"))
        cookie = headers[b"set-cookie"].split(b";")[0].decode()
        for _ in range(4):
            _, headers, again = await exchange(client, get("/", f"Cookie: other=1; {cookie}"))
            assert again == body
            assert b"set-cookie" not in headers


async def test_draining_ends_connections_between_requests(nursery: trio.Nursery) -> None:
    (server,) = await http_servers(nursery, "a")
    async with proxied(ProxySettings(HTTP), server.target) as shop:
        idle, busy = await shop.connect(), await shop.connect()
        await exchange(idle, get("/"))
        await busy.send_all(get("/")[:-4])
        await trio.testing.wait_all_tasks_blocked(0.05)
        shop.finish()
        assert await read_all(idle) == b""
        parser = h11.Connection(h11.CLIENT)
        await busy.send_all(b"\r\n\r\n")
        status, headers, _ = await read_answer(busy, parser)
        assert (status, headers[b"connection"]) == (200, b"close")
