"""The service gateway and the client transmit buffer, without sockets; and what is decoded from clients."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from braid.app_numbers import AppNumbers
from braid.errors import BadPacket
from braid.tls.hello import TLS_1_3, ClientHello, decode_client_hello
from gateway.nat import accepted, gateway_policy
from gateway.proxy import stack
from gateway.proxy.buffer import BufferFull, ClientTransmitBuffer
from gateway.proxy.events import (
    Abort,
    ClientClosed,
    ClientConnection,
    ClientPackets,
    CloseClient,
    CloseServer,
    EndClient,
    EndServer,
    SendClient,
    Served,
    ServerClosed,
    ServerData,
    ServerEstablished,
    ServerFailed,
    ServerPackets,
)
from gateway.proxy.gateway import Blame, Connect, Count, Phase, Reset, SendServer, ServiceGateway
from gateway.proxy.http import HttpProxy
from gateway.proxy.tcp import TcpProxy
from gateway.proxy.tls import TlsProxy
from tests.gateway.hellos import client_hello
from tests.gateway.proxy_bench import CLIENT
from topology.model import SocketAddress, Target
from topology.proxy import HTTP, TCP, TLS_SNI, ClientAddress, ProxySettings
from topology.source import parse
from topology.tls import Certificate, Tls

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Sequence

    from gateway.proxy.application import ApplicationProxy
    from gateway.proxy.events import Event, Request
    from gateway.proxy.gateway import Action

SERVERS = [Target(ip_address(f"10.93.0.{10 + index}"), 80, 1) for index in range(3)]


def choose(request: Request, tried: Collection[Target], among: Sequence[Target] | None) -> ServerData | None:
    for target in among or SERVERS:
        if target not in tried:
            return ServerData(target, SocketAddress(target.address, 80), "first")
    return None


def gateway(kind: str = TLS_SNI, **more: object) -> ServiceGateway:
    classes: dict[str, type[ApplicationProxy]] = {TCP: TcpProxy, TLS_SNI: TlsProxy, HTTP: HttpProxy}
    made = ProxySettings(kind, **more)  # type: ignore[arg-type]
    return ServiceGateway(classes[kind](made, SERVERS, choose), 0.0)


def tell(to: ServiceGateway, event: Event, now: float = 0.0) -> list[Action]:
    return at_once(to.receive(event, now))


def at_once(answer: Coroutine[Any, Any, list[Action]]) -> list[Action]:
    """The built-in proxies never wait."""
    try:
        answer.send(None)
    except StopIteration as done:
        return list(done.value)
    raise AssertionError("a built-in proxy waits")


def test_the_server_is_connected_only_when_packets_and_server_data_are_in_the_buffer() -> None:
    tls = gateway()
    hello = client_hello("one.example")
    assert tell(tls, ClientConnection(CLIENT)) == []
    assert tls.proxy.buffer.client_data == CLIENT
    assert tell(tls, ClientPackets(hello[:50])) == []
    assert not tls.proxy.buffer.present
    (connect,) = tell(tls, ClientPackets(hello[50:]))
    assert isinstance(connect, Connect)
    assert tls.phase is Phase.CONNECTING
    assert tell(tls, ClientPackets(b"more")) == []
    assert tell(tls, ServerEstablished(connect.server_data))[-1] == SendServer(hello + b"more")
    assert tell(tls, ClientPackets(b"and more")) == [SendServer(b"and more")]


def test_a_failed_server_is_followed_by_the_next_with_the_same_packets() -> None:
    tls = gateway(retries=2)
    hello = client_hello("one.example")
    tell(tls, ClientConnection(CLIENT))
    (first,) = tell(tls, ClientPackets(hello))
    assert isinstance(first, Connect)
    (second,) = tell(tls, ServerFailed(first.server_data, "connect_etimedout"))
    assert isinstance(second, Connect)
    tell(tls, ServerEstablished(second.server_data))
    (third,) = tell(tls, ServerFailed(second.server_data, "reset"))
    assert isinstance(third, Connect)
    assert [each.server_data.target for each in (first, second, third)] == SERVERS
    assert SendServer(hello) in tell(tls, ServerEstablished(third.server_data))
    assert tell(tls, ServerPackets(b"x")) == [SendClient(b"x")]
    assert tell(tls, ServerFailed(third.server_data, "reset")) == [Count("server_reset"), Reset()]


def test_both_ends_close_in_their_own_time() -> None:
    tcp = gateway(TCP)
    (connect,) = tell(tcp, ClientConnection(CLIENT))
    assert isinstance(connect, Connect)
    tell(tcp, ClientPackets(b"x"))
    assert tell(tcp, ClientClosed()) == []
    assert tell(tcp, ServerEstablished(connect.server_data))[-2:] == [SendServer(b"x"), EndServer()]
    assert tell(tcp, ServerClosed()) == [EndClient(), CloseClient()]
    assert tell(tcp, ClientPackets(b"late")) == []


def test_time_passes_for_clients_and_servers() -> None:
    http = gateway(HTTP, select_timeout=5.0, answer_timeout=30.0, idle_timeout=300.0)
    tell(http, ClientConnection(CLIENT))
    assert http.next_timeout() == 300.0
    tell(http, ClientPackets(b"GET / HT"), 10.0)
    assert http.next_timeout() == 15.0
    (connect,) = tell(http, ClientPackets(b"TP/1.1\r\nHost: x\r\n\r\n"), 12.0)
    assert isinstance(connect, Connect)
    assert http.next_timeout() == 312.0
    tell(http, ServerEstablished(connect.server_data), 13.0)
    assert http.next_timeout() == 43.0
    blame, close, count, logged, answer, end = at_once(http.handle_timeout(43.0))
    assert (blame, close, end) == (Blame(connect.server_data), CloseServer(), CloseClient())
    assert count == Count("server_answer_timeout")
    assert isinstance(logged, Served)
    assert (logged.server_data, logged.status, logged.target) == (connect.server_data, 504, "/")
    assert logged.refused == "server_answer_timeout"
    assert isinstance(answer, SendClient)
    assert answer.data.startswith(b"HTTP/1.1 504 ")
    assert http.next_timeout() is None


class Buffering(RuleBasedStateMachine):
    """Whatever is stored, taken and taken back: a server gets all bytes in order, from the last commit on."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = ClientTransmitBuffer(50, slack=20)
        self.stored = b""
        self.sent = 0
        self.committed = 0

    @rule(data=st.binary(max_size=60))
    def store(self, data: bytes) -> None:
        try:
            self.buffer.store_packets(data)
        except BufferFull:
            assert len(self.stored) - self.committed + len(data) > 120
        else:
            self.stored += data

    @rule()
    def take(self) -> None:
        assert self.buffer.take() == self.stored[self.sent :]
        self.sent = len(self.stored)
        if not self.buffer.repeatable:
            self.committed = self.sent

    @rule()
    def rewind(self) -> None:
        if self.buffer.rewind():
            self.sent = self.committed

    @rule()
    def commit(self) -> None:
        self.buffer.commit()
        self.committed = self.sent

    @precondition(lambda self: self.buffer.repeatable)
    @invariant()
    def what_was_not_committed_is_there(self) -> None:
        assert self.buffer.peek() == self.stored[self.sent :]

    @invariant()
    def bytes_are_counted(self) -> None:
        assert self.buffer.waiting == len(self.stored) - self.sent
        assert self.buffer.full == (self.buffer.waiting >= 50)


TestBuffering = Buffering.TestCase


class Gatewaying(RuleBasedStateMachine):
    """Any order of events: a server is connected only with both in the buffer, and after an end nothing comes."""

    def __init__(self) -> None:
        super().__init__()
        self.gateway = gateway(HTTP, retries=1)
        self.connected: ServerData | None = None
        self.ended = False
        self.now = 0.0
        self.tell(ClientConnection(CLIENT))

    def tell(self, event: Event) -> None:
        self.now += 1.0
        actions = tell(self.gateway, event, self.now)
        assert not (self.ended and actions)
        for action in actions:
            if isinstance(action, Connect):
                assert self.gateway.proxy.buffer.present
                assert self.gateway.server is action.server_data
                self.connected = None
            elif isinstance(action, SendServer):
                assert self.connected is not None
                assert action.data
            elif isinstance(action, CloseServer):
                self.connected = None
            elif isinstance(action, CloseClient | Reset):
                assert action is actions[-1]
                self.ended = True
        self.ended |= isinstance(event, Abort)

    @rule(
        data=st.sampled_from(
            [
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET /",
                b"x HTTP/1.1\r\nHost: y\r\n\r\n",
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
                b"abc",
            ]
        )
    )
    def client_sends(self, data: bytes) -> None:
        self.tell(ClientPackets(data))

    @rule()
    def established(self) -> None:
        if self.gateway.phase is Phase.CONNECTING and self.gateway.server is not None:
            self.connected = self.gateway.server
            self.tell(ServerEstablished(self.connected))

    @rule(
        data=st.sampled_from([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok", b"HTTP/1.1 204 N\r\n\r\n", b"?"])
    )
    def server_sends(self, data: bytes) -> None:
        if self.connected is not None:
            self.tell(ServerPackets(data))

    @rule()
    def server_closes(self) -> None:
        if self.connected is not None:
            self.tell(ServerClosed())

    @rule()
    def server_fails(self) -> None:
        if self.gateway.server is not None:
            failed, self.connected = self.gateway.server, None
            self.tell(ServerFailed(failed, "reset" if self.gateway.phase is Phase.ESTABLISHED else "connect_refused"))

    @rule()
    def client_closes(self) -> None:
        self.tell(ClientClosed())

    @rule()
    def client_resets(self) -> None:
        self.tell(Abort("client_reset"))


Gatewaying.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestGatewaying = Gatewaying.TestCase


def test_a_client_hello_says_its_name_and_protocols() -> None:
    assert decode_client_hello(client_hello("Shop.Apps.Example", "h2")) == ClientHello(
        "shop.apps.example", ("h2",), TLS_1_3
    )
    assert decode_client_hello(client_hello(None, "http/1.1")) == ClientHello("", ("http/1.1",), TLS_1_3)


def test_a_client_hello_may_span_records() -> None:
    hello = client_hello("one.example")
    message = hello[5:]
    split = b"".join(
        b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
        for part in (message[at : at + 7] for at in range(0, len(message), 7))
    )
    assert decode_client_hello(split) == decode_client_hello(hello)
    assert all(decode_client_hello(split[:length]) is None for length in range(len(split)))


@given(st.data())
def test_only_bad_packet_escapes_whatever_the_bytes(data: st.DataObject) -> None:
    hello = bytearray(client_hello("one.example"))
    for _ in range(data.draw(st.integers(0, 4))):
        hello[data.draw(st.integers(0, len(hello) - 1))] = data.draw(st.integers(0, 255))
    raw = data.draw(
        st.one_of(
            st.just(bytes(hello)), st.binary(max_size=300), st.binary(max_size=80).map(lambda b: b"\x16\x03\x01" + b)
        )
    )
    try:
        found = decode_client_hello(raw)
    except BadPacket:
        return
    assert found is None or all(character.isascii() for character in found.sni)


TEXT = """\
braid: 1
name: small
zone: {name: apps.example}
regions: {e: {role: edge}, m: {role: intermediate}, n: {role: intermediate}, g: {role: gateway}}
nodes:
  e-1: {region: e, underlay: [192.0.2.1], vip_pools: [10.1.0.128/28, "2001:db8:1::/112"]}
  m-1: {region: m, underlay: [192.0.2.2]}
  n-1: {region: n, underlay: [192.0.2.3]}
  g-1: {region: g, underlay: [192.0.2.4], snat_pools: [10.2.0.128/30, "2001:db8:2::/126"]}
applications:
  shop:
    hostnames: [shop.apps.example]
    ports: [tcp/80, tcp/8000-8001, icmp]
    targets: [{address: 10.2.0.10}, {address: "2001:db8:3::10"}]
    mode: proxy
    proxy: {kind: http}
  plain: {hostnames: [plain.apps.example], ports: [any], targets: [{address: 10.2.0.10}]}
"""


def test_the_fast_path_accepts_where_sockets_can_be_built_and_at_once_where_servers_may_speak_first() -> None:
    topology = parse(TEXT, "test")
    shop = topology.applications["shop"]
    tls = Tls((Certificate("a.pem", "a.key"),))

    def accept(kind: str, **more: Any) -> str:
        return accepted(replace(shop, proxy=ProxySettings(kind, **more)), promotes=True)

    assert accepted(shop, promotes=False) == "listener"
    assert (accept(HTTP), accept(TLS_SNI), accept(TCP, tls=tls)) == ("first-byte",) * 3
    assert (accept(TCP), accept("module:Class")) == ("at-once", "at-once")


def test_proxied_vips_are_local_and_not_the_nats() -> None:
    topology = parse(TEXT, "test")
    policy = gateway_policy(topology, "g-1", AppNumbers(), lambda _key: True)
    assert [len(each.vips) for each in policy.applications] == [1]
    (proxied,) = policy.proxied
    vips = {each.address for each in topology.vips if each.application == "shop"}
    assert {each.address for each in proxied.vips} == {str(vip) for vip in vips}
    shop = topology.applications["shop"]
    local = stack.local(topology, "g-1", topology.applications.values())
    pools = frozenset((ip_network("10.1.0.128/28"), ip_network("2001:db8:1::/112")))
    assert local == stack.Local(vips, pools, frozenset(topology.nodes["g-1"].snat_pools))
    assert stack.local(topology, "g-1", ()) == stack.Local()
    guests = (ip_network("10.3.0.132/30"),)
    lodged = stack.local(topology, "g-1", topology.applications.values(), guests)
    assert lodged == replace(local, snat=local.snat | set(guests)), "the pools of another gateway, too"
    assert stack.local(topology, "g-1", (), guests) == stack.Local()
    assert set(stack.listeners(topology, shop)) == {
        SocketAddress(vip, port) for vip in vips for port in (80, 8000, 8001)
    }
    ours = replace(shop, proxy=ProxySettings(HTTP, client_address=ClientAddress.TRANSPARENT))
    kept = stack.local(topology, "g-1", [ours])
    assert kept == replace(local, servers=frozenset(target.address for target in shop.targets))
    assert stack.changes(local, kept, 4) == [
        ("rule", "add", *words.split(), "priority", "7400")
        for words in (
            "iif braid0 from 10.2.0.10 lookup 7401",
            "from 10.2.0.10 lookup 7400",
            "oif braid0 to 10.2.0.10 lookup 7400",
        )
    ]
    assert [words[1] for words in stack.changes(kept, local, 6)] == ["delete"] * 3
    for version in (4, 6):
        there, back = (stack.changes(*pair, version) for pair in ((stack.Local(), local), (local, stack.Local())))
        added = ["route"] * 2 + ["rule"] * 3 + ["route"]
        assert [words[:2] for words in there] == [(what, "replace" if what == "route" else "add") for what in added]
        removed = ["route"] + ["rule"] * 3 + ["route"] * 2
        assert [words[:2] for words in back] == [(what, "delete") for what in removed]
        assert sum("to" in words for words in there) == 1
        assert stack.changes(local, local, version) == []
