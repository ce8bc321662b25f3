"""HTTP/2 of clients: requests to servers of HTTP/1.1 by the same rules, and what is bounded."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
import trio
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, SettingsFrame, WindowUpdateFrame

from braid.tls.certificates import Certificates
from braid.tls.http2 import STREAMS, Budget
from tests.gateway import proxy_bench
from tests.gateway.certificates import write_certificate
from tests.gateway.proxy_bench import LOOPBACK, TLS, HttpServer, http_servers, listen, proxied
from topology.model import Target
from topology.proxy import HTTP, ProxySettings, Rule
from topology.tls import Tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.gateway.proxy_bench import Proxied


@pytest.fixture(params=[True, False], ids=["rust", "h11"], autouse=True)
def relay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(proxy_bench, "RELAY", request.param)
    return bool(request.param)


@dataclass
class Answer:
    status: int = 0
    body: bytes = b""
    reset: int | None = None
    ended: bool = False


@dataclass
class Client:
    stream: trio.SSLStream[trio.SocketStream]
    h2: h2.connection.H2Connection = field(
        default_factory=lambda: h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    )
    answers: dict[int, Answer] = field(default_factory=dict)
    goodbye: int | None = None
    acknowledges: bool = True

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    def ask(self, path: str, *fields: tuple[str, str], method: str = "GET", body: bytes | None = None) -> int:
        number = self.h2.get_next_available_stream_id()
        words = [(":method", method), (":scheme", "https"), (":authority", "shop.apps.example"), (":path", path)]
        self.h2.send_headers(number, [*words, *fields], end_stream=body is None)
        if body is not None:
            self.h2.send_data(number, body, end_stream=True)
        self.answers[number] = Answer()
        return number

    async def read(self) -> bool:
        """One piece; false at the end."""
        with trio.fail_after(10):
            received = await self.stream.receive_some(65536)
        for event in self.h2.receive_data(received):
            match event:
                case h2.events.ResponseReceived():
                    assert event.headers is not None
                    self.answers[event.stream_id].status = int(dict(event.headers)[b":status"])
                case h2.events.DataReceived():
                    self.answers[event.stream_id].body += event.data
                    if self.acknowledges:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    self.answers[event.stream_id].ended = True
                case h2.events.StreamReset():
                    self.answers[event.stream_id].reset = event.error_code
                case h2.events.ConnectionTerminated():
                    self.goodbye = event.error_code
        if received:
            await self.flush()
        return bool(received)

    async def answer(self, number: int) -> Answer:
        await self.flush()
        answer = self.answers[number]
        while not answer.ended and answer.reset is None:
            assert await self.read()
        return answer


@asynccontextmanager
async def shop(
    tmp_path: Path, *targets: Target, rules: tuple[Rule, ...] = (), **settings: float
) -> AsyncIterator[tuple[Proxied, Client]]:
    tls = Tls((write_certificate(tmp_path, "one", "one.example"),), alpn=("h2", "http/1.1"))
    certificates = Certificates()
    certificates.look({TLS: tls}, tmp_path)
    made = ProxySettings(HTTP, rules=rules, tls=tls, **settings)  # type: ignore[arg-type]
    async with proxied(made, *targets, certificates=certificates) as running:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        stream = trio.SSLStream(await running.connect(), context, server_hostname="one.example", https_compatible=True)
        await stream.do_handshake()
        assert stream.selected_alpn_protocol() == "h2"
        client = Client(stream)
        client.h2.initiate_connection()
        await client.flush()
        yield running, client


def rule(server: HttpServer, path: str) -> Rule:
    return Rule((server.target,), path=path)


async def test_streams_go_to_servers_by_rule(nursery: trio.Nursery, tmp_path: Path) -> None:
    servers = await http_servers(nursery, "a", "b")
    rules = rule(servers[0], "/a/"), rule(servers[1], "/b/")
    async with shop(tmp_path, *(each.target for each in servers), rules=rules) as (running, client):
        numbers = [client.ask(path + "x", ("cookie", "k=1"), ("cookie", "l=2")) for path in ("/a/", "/b/") * 10]
        for number, name in zip(numbers, "ab" * 10, strict=True):
            answer = await client.answer(number)
            assert (answer.status, answer.body) == (200, f"{name} /{name}/x 0".encode())
        assert running.application.counters.requests == 20
        assert running.refused == {}
        headers = dict(servers[0].seen[0].headers)
        assert headers[b"cookie"] == b"k=1; l=2"
        assert headers[b"host"] == b"shop.apps.example"


async def test_bodies_pass_exactly_both_ways(nursery: trio.Nursery, tmp_path: Path) -> None:
    (server,) = await http_servers(nursery, "a")
    body = bytes(range(256)) * 200
    async with shop(tmp_path, server.target) as (_, client):
        for fields in ((), (("content-length", str(len(body))),)):
            number = client.h2.get_next_available_stream_id()
            words = [(":method", "POST"), (":scheme", "https"), (":authority", "x"), (":path", "/up")]
            client.h2.send_headers(number, [*words, *fields])
            client.answers[number] = Answer()
            rest = body
            while rest:
                while not (room := min(client.h2.local_flow_control_window(number), 16_384)):
                    assert await client.read()
                client.h2.send_data(number, rest[:room], end_stream=len(rest) <= room)
                rest = rest[room:]
                await client.flush()
            assert (await client.answer(number)).body == f"a /up {len(body)}".encode()
        assert server.bodies == [body, body]


async def test_a_client_that_takes_nothing_holds_up_its_server(nursery: trio.Nursery, tmp_path: Path) -> None:
    size, sent = 3_000_000, 0

    async def large(stream: trio.SocketStream) -> None:
        nonlocal sent
        await stream.receive_some(65536)
        await stream.send_all(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size // 100_000):
            await stream.send_all(b"x" * 100_000)
            sent += 100_000

    port = await listen(nursery, large)
    async with shop(tmp_path, Target(LOOPBACK, port, 1)) as (_, client):
        client.acknowledges = False
        number = client.ask("/")
        await client.flush()
        while len(client.answers[number].body) < 65_535:
            await client.read()
        await trio.sleep(0.3)
        before = sent
        await trio.sleep(0.3)
        assert sent == before < size
        client.acknowledges = True
        client.h2.acknowledge_received_data(65_535, number)
        assert len((await client.answer(number)).body) == size


async def test_half_an_answer_resets_its_stream_alone(nursery: trio.Nursery, tmp_path: Path) -> None:
    async def cut(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    (server,) = await http_servers(nursery, "a")
    target = Target(LOOPBACK, await listen(nursery, cut), 1)
    rules = Rule((target,), path="/cut"), Rule((server.target,))
    async with shop(tmp_path, target, server.target, rules=rules) as (_, client):
        assert (await client.answer(client.ask("/cut"))).reset is not None
        assert (await client.answer(client.ask("/whole"))).status == 200


async def end_of(client: Client) -> int | None:
    """The error code that the connection ends with."""
    with trio.move_on_after(10):
        try:
            await client.flush()
            while await client.read():
                pass
        except (trio.BrokenResourceError, h2.exceptions.ProtocolError):
            pass
    return client.goodbye


async def test_rapid_resets_end_the_connection(nursery: trio.Nursery, tmp_path: Path) -> None:
    (server,) = await http_servers(nursery, "a")
    async with shop(tmp_path, server.target) as (running, client):
        for _ in range(5 * STREAMS):
            client.h2.reset_stream(client.ask("/"))
        assert await end_of(client) == 11
        assert running.refused["http2_rapid_reset"] == 1


async def test_a_flood_of_pings_ends_the_connection(nursery: trio.Nursery, tmp_path: Path) -> None:
    (server,) = await http_servers(nursery, "a")
    async with shop(tmp_path, server.target) as (running, client):
        for number in range(1000):
            client.h2.ping(number.to_bytes(8, "big"))
        assert await end_of(client) == 11
        assert running.refused == {"http2_flood": 1}


async def test_headers_that_unpack_to_too_much_end_the_connection(nursery: trio.Nursery, tmp_path: Path) -> None:
    (server,) = await http_servers(nursery, "a")
    async with shop(tmp_path, server.target) as (running, client):
        client.ask("/", *((f"x-{number}", "y" * 3000) for number in range(40)))
        assert await end_of(client) == 11
        assert running.refused == {"http2_headers": 1}


async def test_what_is_no_http2_ends_the_connection(nursery: trio.Nursery, tmp_path: Path) -> None:
    (server,) = await http_servers(nursery, "a")
    async with shop(tmp_path, server.target) as (running, client):
        await client.stream.send_all(b"\x00\x00\x04\x00\x00\x00\x00\x00\x00junk")
        assert await end_of(client) == 1
        assert running.refused == {"http2_malformed": 1}


async def test_no_more_streams_than_allowed(nursery: trio.Nursery, tmp_path: Path) -> None:
    async def mute(_stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    target = Target(LOOPBACK, await listen(nursery, mute), 1)
    async with shop(tmp_path, target) as (running, client):
        await client.read()
        limit = client.h2.remote_settings.max_concurrent_streams
        assert limit == STREAMS
        client.h2.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        client.h2.remote_settings.acknowledge()
        for _ in range(STREAMS + 1):
            client.ask("/")
        assert await end_of(client) is not None
        assert sum(running.refused.values()) >= 1


async def frames_until(stream: trio.SSLStream[trio.SocketStream], last: type[Frame]) -> list[type[Frame]]:
    """Kinds of what comes, without empty data, settings and windows."""
    kinds: list[type[Frame]] = []
    buffer = b""
    with trio.fail_after(10):
        while last not in kinds:
            while len(buffer) < 9 or len(buffer) < 9 + int.from_bytes(buffer[:3], "big"):
                buffer += await stream.receive_some(65536)
            frame, size = Frame.parse_frame_header(memoryview(buffer)[:9])
            buffer = buffer[9 + size :]
            if not isinstance(frame, SettingsFrame | WindowUpdateFrame) and (size or not isinstance(frame, DataFrame)):
                kinds.append(type(frame))
    return kinds


async def test_a_gateway_that_stops_asks_for_no_more_and_answers_the_rest(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    asked, go_on = trio.Event(), trio.Event()

    async def slow(stream: trio.SocketStream) -> None:
        await stream.receive_some(65536)
        asked.set()
        await go_on.wait()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    target = Target(LOOPBACK, await listen(nursery, slow), 1)
    async with shop(tmp_path, target) as (running, client):
        client.ask("/")
        await client.flush()
        with trio.fail_after(10):
            await asked.wait()
        running.finish()
        # h2 as a client takes nothing behind a GOAWAY.
        assert await frames_until(client.stream, GoAwayFrame) == [GoAwayFrame]
        go_on.set()
        assert await frames_until(client.stream, GoAwayFrame) == [HeadersFrame, DataFrame, GoAwayFrame]


async def test_a_gateway_that_stops_ends_a_connection_without_requests(nursery: trio.Nursery, tmp_path: Path) -> None:
    (server,) = await http_servers(nursery, "a")
    async with shop(tmp_path, server.target) as (running, client):
        assert (await client.answer(client.ask("/"))).status == 200
        running.finish()
        assert await end_of(client) == 0
        assert running.refused == {}


def test_a_budget_comes_back_with_time() -> None:
    budget = Budget(burst=2, rate=1)
    assert [budget.spend(100.0) for _ in range(3)] == [True, True, False]
    assert budget.spend(103.0)
