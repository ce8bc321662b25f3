"""What the fast path asks of the stack, and what it hears where that cannot be."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from braid.errors import BadPacket
from braid.events import ConnectionEnded, ConnectionHeld, ServiceRequest
from braid.tcp import repair
from braid.tcp.record import encode_record
from gateway.proxy import show
from gateway.proxy.events import ServerData
from gateway.proxy.intake import Arrival, Intake
from gateway.proxy.pool import ProxiedApplication
from gateway.proxy.service import ProxyService
from gateway.transfer.moving import Moving
from tests.gateway.proxy_bench import CLIENT, LOOPBACK, application, http_servers
from tests.gateway.test_proxy_service import Node
from tests.gateway.test_proxy_splicing import RECORD, FakeCore
from topology.model import SocketAddress, Target
from topology.proxy import HTTP, ProxySettings

if TYPE_CHECKING:
    from braid.tcp.record import TcpRecord
    from gateway.normalpath.promotion import Promoted

REQUEST = ServiceRequest(7, encode_record(RECORD), None, 0.0)
TARGET = Target(LOOPBACK, 80, 1)


@dataclass
class Core(FakeCore):
    reset: list[int] = field(default_factory=list)

    adopted: list[tuple[bytes, bool]] = field(default_factory=list)
    room: int = 1

    def reset_connection(self, connection: int) -> None:
        self.reset.append(connection)

    def adopt(self, record: bytes, guest: bool = False) -> int | None:
        self.adopted.append((record, guest))
        return 9 if len(self.adopted) <= self.room else None


class Desk:
    """An intake with one application behind the VIP of ``RECORD``."""

    def __init__(self, **settings: object) -> None:
        made = ProxySettings(HTTP, **settings)  # type: ignore[arg-type]
        self.application = ProxiedApplication(application((TARGET,), made), made, lambda _key: True, Random(1))
        self.core = Core()
        self.arrived: list[Arrival] = []
        self.fails: Exception | None = None
        self.ended: list[int] = []
        self.held: list[tuple[int, float]] = []
        self.intake = Intake(self.core, self._find, self._serve, self._hold, self.ended.append)

    def _serve(self, arrival: Arrival) -> None:
        if self.fails is not None:
            raise self.fails
        self.arrived.append(arrival)

    def _hold(self, promoted: Promoted, at: float) -> None:
        self.held.append((promoted.number, at))

    def _find(self, vip: object) -> ProxiedApplication | None:
        return self.application if vip == LOOPBACK else None

    @property
    def refused(self) -> dict[str, int]:
        return dict(self.application.counters.refused)


@pytest.mark.parametrize(
    "request_",
    [
        replace(REQUEST, client=b"no record"),
        replace(REQUEST, client=encode_record(replace(RECORD, local=SocketAddress(ip_address("192.0.2.1"), 80)))),
        replace(REQUEST, server=b"no record"),
    ],
)
def test_what_is_for_nobody_is_reset(request_: ServiceRequest) -> None:
    desk = Desk()
    desk.intake.receive(request_)
    assert (desk.core.reset, desk.arrived) == ([7], [])
    assert desk.application.counters.connections == 0


def test_limits_and_a_stop_refuse_and_a_socket_that_cannot_be_built_is_counted() -> None:
    desk = Desk(connections=1)
    desk.application.open = 1
    desk.intake.receive(REQUEST)
    assert desk.refused == {"too_many_connections": 1}
    desk.application.open = 0
    desk.fails = OSError(99, "Cannot assign requested address")
    desk.intake.receive(REQUEST)
    assert desk.refused == {"too_many_connections": 1, "build_eaddrnotavail": 1}
    desk.intake.draining = True
    desk.intake.receive(REQUEST)
    assert desk.core.reset == [7, 7, 7]
    assert desk.application.counters.promoted == 0


def test_what_is_no_record_behind_its_beginning_is_reset() -> None:
    desk = Desk()
    desk.fails = BadPacket("record_length")
    desk.intake.receive(REQUEST)
    assert (desk.core.reset, desk.refused, desk.application.counters.promoted) == ([7], {}, 0)


def test_a_hold_is_of_a_connection_that_was_taken_and_has_not_ended() -> None:
    desk = Desk()
    held = ConnectionHeld(7, 1.5)
    desk.intake.receive(held)
    assert desk.held == []
    desk.intake.receive(REQUEST)
    desk.intake.receive(REQUEST)
    desk.intake.receive(held)
    assert (len(desk.arrived), desk.held) == (1, [(7, 1.5)])
    desk.intake.receive(ConnectionEnded(7, "closed", 1, 1))
    desk.intake.receive(held)
    assert len(desk.held) == 1


def test_a_connection_of_the_same_ends_makes_way_though_its_end_was_not_told() -> None:
    desk = Desk()
    other = encode_record(replace(RECORD, remote=SocketAddress(RECORD.remote.host, RECORD.remote.port + 1)))
    for number, client in ((7, REQUEST.client), (8, other), (9, REQUEST.client), (9, REQUEST.client)):
        desk.intake.receive(replace(REQUEST, connection=number, client=client))
    assert (desk.ended, len(desk.arrived)) == ([7], 3)
    # What the data plane carries has no socket in the way.
    desk.arrived[-1].promoted.away = True
    desk.intake.receive(replace(REQUEST, connection=10))
    desk.intake.receive(ConnectionEnded(10, "closed", 1, 1))
    desk.intake.receive(replace(REQUEST, connection=11))
    assert desk.ended == [7, 10]


def test_one_that_another_node_has_is_taken_when_it_is_asked_for_again() -> None:
    """It came back by another gateway, and the data plane knows it by its old number."""
    desk = Desk()
    desk.intake.receive(REQUEST)
    (first,) = desk.arrived
    client = SocketAddress(ip_address("192.0.2.1"), 40_000)
    moving = Moving(b"", "shop", client, client, "edge-1", "cache-1", 1, "", 0.0, 0.0, None, was=first.promoted)
    desk.intake.receive(REQUEST)
    assert len(desk.arrived) == 1, "it is here"
    moving.give_up()
    desk.intake.receive(REQUEST)
    assert len(desk.arrived) == 2
    assert desk.application.counters.connections == 1


def test_what_another_node_had_is_known_as_if_it_had_been_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[socket.socket] = []

    def build(_encoded: bytes, record: TcpRecord, _device: str) -> socket.socket:
        assert record is RECORD
        built.append(socket.socket())
        return built[-1]

    monkeypatch.setattr(repair, "build_encoded", build)
    monkeypatch.setattr(repair, "dissolve", socket.socket.close)
    desk = Desk()
    opened, promoted = desk.intake.adopt(RECORD, guest=True)
    assert (promoted.number, promoted.guest, opened) == (9, True, built[0])
    assert desk.core.adopted == [(encode_record(RECORD), True)]
    desk.intake.receive(ConnectionHeld(9, 1.5))
    assert desk.held == [(9, 1.5)]
    desk.intake.receive(ConnectionEnded(9, "closed", 1, 1))
    assert desk.ended == [9]
    with pytest.raises(OSError, match="data plane"):
        desk.intake.adopt(RECORD, guest=False)
    assert [each.fileno() >= 0 for each in built] == [True, False]
    opened.close()


def test_what_asks_with_nothing_that_waits_has_been_idle_for_too_long() -> None:
    for accept, held_at, idle in (("first-byte", 0.0, True), ("first-byte", 1.5, False), ("at-once", 0.0, False)):
        desk = Desk()
        desk.application.accept = accept
        desk.intake.receive(replace(REQUEST, held_at=held_at))
        assert [arrival.idle for arrival in desk.arrived] == [idle], (accept, held_at)


def test_a_spliced_connection_counts_until_it_ends() -> None:
    desk = Desk(connections=1)
    desk.application.went(7, CLIENT, ServerData(TARGET, SocketAddress(LOOPBACK, 80), "round_robin"))
    assert desk.application.full
    desk.intake.receive(ConnectionEnded(7, "closed", 1, 1))
    assert desk.ended == [7]


@pytest.mark.parametrize(("no_repair", "by"), [("TCP_REPAIR: not permitted", "listener"), (None, "fast-path")])
async def test_listeners_accept_where_no_sockets_can_be_built(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, no_repair: str | None, by: str
) -> None:
    (server,) = await http_servers(nursery, "one")
    node, service = Node(monkeypatch), ProxyService(lambda _key: True, Random(1), no_repair)
    node.use(server)
    await nursery.start(service.run, replace(node.handle(), connections=Core()))
    assert bool(node.ports) == (by == "listener")
    (shop,) = show.proxies(service, trio.current_time())
    assert shop.accepted_by == by
