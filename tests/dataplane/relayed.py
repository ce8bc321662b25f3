"""A request that waits in a relay, and the proxy that is asked about it."""

from __future__ import annotations

import select
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

from braid.tcp.offering import Offer, make_offer
from braid.transfer import Reason, TransferRefuse, TransferRequest, decode, encode
from dataplane import _native
from tests.dataplane.hosts import PATIENCE, Host

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.tcp.offering import Offered
    from dataplane._native import RelayEvent

GATEWAY, PROXY = 31, 51
ID, KEY, HEAD = bytes(range(16)), b"http://shop.apps.example/a", b"GET /a HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n"


def heard(host: Host) -> bytes:
    event = host.wait("control")[-1]
    assert event[0] == "control"
    assert event[2], "of a neighbour"
    return event[3]


class Relayed:
    """A client whose request the relay has, and the server that it would go to."""

    def __init__(
        self,
        gateway: Host,
        plan: _native.Plan | None = None,
        head: bytes = HEAD,
        learn: Callable[[Relayed], None] = lambda _: None,
    ) -> None:
        """``learn`` is called before the request comes."""
        self.relay = _native.Relay("")
        self.stored = _native.Stored(good_for=300.0, cold=2.0, most_cold=10)
        gateway.core.offers_of(self.relay, self.stored, 100)
        self.relay.configure(
            0, select_timeout=9, connect_timeout=9, answer_timeout=9, idle_timeout=9, buffer=65_536, pool=4,
            pool_timeout=9,
        )  # fmt: skip
        self.origin = socket.create_server(("127.0.0.1", 0))
        self.origin.settimeout(PATIENCE)
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self.client.settimeout(PATIENCE)
            near, _ = listener.accept()
        near.setblocking(False)
        with near:
            self.number = self.relay.adopt(near.fileno(), 0.0, (0, "http", b"", None), False)
        self.server = self.relay.server(*self.origin.getsockname())
        self.told: list[str] = []
        if plan is not None:
            self.relay.plan(self.number, plan)
        learn(self)
        self.client.sendall(head)
        self.decided: Any = self.until("request")[-1]

    def until(self, kind: str) -> RelayEvent:
        """Nothing but what makes its descriptor readable leads to a turn."""
        while True:
            assert select.select([self.relay.fd()], [], [], PATIENCE)[0], f"no {kind}"
            for event in self.turn():
                if event[0] == kind:
                    return event

    def turn(self, now: float = 0.0) -> list[RelayEvent]:
        events, _ = self.relay.turn(now)
        self.told += [event[0] for event in events]
        return events

    def serve(self) -> None:
        """As its server, which has the request already, or gets it in one of the next turns."""
        server, _ = self.origin.accept()
        with server:
            ends = self.relay.fd(), server.fileno()
            while select.select(ends, [], [], PATIENCE)[0] == [ends[0]]:
                self.turn()
            assert server.recv(100).startswith(b"GET /a HTTP/1.1\r\n")
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            self.until("served")
        assert self.client.recv(100).endswith(b"hi")

    def offer(self, gateway: Host) -> Offered:
        found = self.relay.movable(self.number)
        assert found is not None
        descriptor, head = found
        assert head == HEAD
        return make_offer(gateway.core, descriptor, Offer(ID, 100, KEY, PROXY, head), v6=False)

    def close(self) -> None:
        self.client.close()
        self.origin.close()


def refuse(hosts: tuple[Host, Host], reason: Reason = Reason.CONTENT, id_: bytes = ID) -> None:
    """By the proxy's control side, when it has been asked."""
    assert isinstance(decode(heard(hosts[1])), TransferRequest)
    hosts[1].core.tell([(GATEWAY, encode(TransferRefuse(id_, reason)))])
