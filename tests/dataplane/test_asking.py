"""Requests of connections with a plan are offered by the relay itself, or not, by what is known of proxies' stores."""

from __future__ import annotations

import select
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from braid.stored import PAGES
from braid.tcp import repair
from braid.tcp.record import decode_record
from braid.transfer import Numbers, Reason, TransferRefuse, TransferRequest, decode, encode
from dataplane import _native
from gateway.transfer.offer import fields_of
from tests.dataplane.hosts import PATIENCE, Host
from tests.dataplane.relayed import GATEWAY, HEAD, KEY, PROXY, Relayed, heard, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = 64
"""Requests that wait for one proxy."""

pytestmark = pytest.mark.skipif(repair.unavailable() is not None, reason=f"{repair.unavailable()}")


def by_row(*, serves: bool = False, conditional: bool = False) -> _native.Plan:
    proxies = [("c-1", PROXY, ["shop.apps.example"])]
    return _native.Plan(80, ["c-1"], [("/", ["GET"], [], None, conditional, serves, "first", proxies)])


def tell(relayed: Relayed, *, stored: bool) -> None:
    relayed.stored.receive(PROXY, 1, [(page, bytes([255 * stored]) * 32) for page in range(PAGES)], 0.0)


def test_a_request_of_a_planned_connection_is_offered_before_anybody_is_told(hosts: tuple[Host, Host]) -> None:
    gateway, proxy = hosts
    with closing(Relayed(gateway, by_row())) as relayed:
        assert isinstance(relayed.decided, tuple)
        why, wanted, made = relayed.decided
        assert (why, wanted) == ("asked", ("c-1", PROXY, KEY, fields_of(HEAD), HEAD))
        id_, likely, wall, (fd, record, next_, initial, *_) = made
        assert not likely
        assert abs(wall - time.time()) < PATIENCE
        asked = decode(heard(proxy))
        assert asked == TransferRequest(id_, 100, Numbers(*next_), initial, KEY, record)
        assert decode_record(record).unread == HEAD
        relayed.relay.expect(relayed.number, id_, relayed.server, "", 0.0)
        proxy.core.tell([(GATEWAY, encode(TransferRefuse(id_, Reason.VARIANT)))])
        assert select.select([relayed.relay.fd()], [], [], PATIENCE)[0], "it came"
        relayed.turn()
        relayed.serve()
        assert relayed.told == ["request", "connected", "turned_down", "served"]
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fd).close()


def test_nothing_is_decided_while_a_refusal_is_yet_to_be_told(hosts: tuple[Host, Host]) -> None:
    with closing(Relayed(hosts[0], by_row())) as relayed:
        id_, _, _, (fd, *_) = relayed.decided[2]
        relayed.relay.expect(relayed.number, id_, relayed.server, "", 0.0)
        refuse(hosts, id_=id_)
        assert select.select([relayed.relay.fd()], [], [], PATIENCE)[0], "it came"
        relayed.turn()
        assert relayed.relay.is_turned_down(id_)
        other, near = socket.socketpair()
        with other, near:
            near.setblocking(False)
            relayed.relay.plan(relayed.relay.adopt(near.fileno(), 0.0, (0, "http", b"", None), False), by_row())
            other.sendall(HEAD)
            assert relayed.until("request")[-1] is None
        assert relayed.told[-2:] == ["turned_down", "request"], "Python decides, and knows of it"
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fd).close()


@pytest.mark.parametrize(
    ("told", "cold", "outdated", "fields", "plan", "why"),
    [
        (True, False, False, "", by_row(), "asked"),
        (False, False, False, "", by_row(), "absent"),
        (True, True, False, "", by_row(), "cold"),
        (False, True, False, "", by_row(serves=True), "cold"),
        (False, False, False, "", by_row(serves=True), "asked"),
        (True, False, True, "", by_row(serves=True), "outdated"),
        (True, False, True, "", by_row(), "outdated"),
        (True, False, False, "Cache-Control: no-cache\r\n", by_row(), "unfit"),
        (True, False, False, "Cache-Control: no-cache\r\n", by_row(serves=True), "asked"),
        (True, False, False, "Content-Length: 1\r\n", by_row(), "not_quiescent"),
        (True, False, False, "", by_row(conditional=True), None),
        (True, False, False, "", None, None),
        (True, False, False, "", _native.Plan(80, [], []), ""),
    ],
)
def test_what_is_known_decides_whether_it_is_offered(
    hosts: tuple[Host, Host], told: bool, cold: bool, outdated: bool, fields: str, plan: _native.Plan | None, why: str
) -> None:
    gateway, proxy = hosts

    def learn(relayed: Relayed) -> None:
        tell(relayed, stored=told)
        if cold:
            relayed.stored.remember_cold(PROXY, KEY, 0.0, b"")
        relayed.stored.mark_outdated(PROXY, KEY, outdated)

    head = HEAD[:-2] + fields.encode() + b"\r\n"
    with closing(Relayed(gateway, plan, head, learn)) as relayed:
        decided = relayed.decided
        assert (None if decided is None else decided[0]) == why
        assert decided is None or (decided[2] is not None) == (why == "asked")
        if why == "asked":
            assert decided[2][1], "most likely it is there"
            asked = decode(heard(proxy))
            assert isinstance(asked, TransferRequest)
            assert asked.content == KEY
            socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, decided[2][3][0]).close()
        elif why in ("cold", "absent", "outdated", "unfit"):
            assert decided[1] == ("c-1", PROXY, KEY, fields_of(head), head)


def test_beyond_some_that_wait_for_a_proxy_requests_are_not_offered(hosts: tuple[Host, Host]) -> None:
    gateway, proxy = hosts

    def learn(waiting: int) -> Callable[[Relayed], None]:
        def ask(relayed: Relayed) -> None:
            assert all(relayed.relay.asked(PROXY) for _ in range(AT_ONCE))
            assert not relayed.relay.asked(PROXY)
            for _ in range(AT_ONCE - waiting):
                relayed.relay.answered(PROXY)

        return ask

    with closing(Relayed(gateway, by_row(), learn=learn(AT_ONCE))) as relayed:
        assert relayed.decided == ("busy", None, None)
        assert relayed.relay.asked(PROXY + 1), "of another one"
    with closing(Relayed(gateway, by_row(), learn=learn(AT_ONCE - 1))) as relayed:
        assert relayed.decided[0] == "asked"
        assert isinstance(decode(heard(proxy)), TransferRequest)
        assert not relayed.relay.asked(PROXY), "it waits as well"
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, relayed.decided[2][3][0]).close()


def test_plans_that_are_forgotten_decide_nothing(hosts: tuple[Host, Host]) -> None:
    with closing(Relayed(hosts[0], by_row(), learn=lambda relayed: relayed.relay.forget_plans())) as relayed:
        assert relayed.decided is None


def test_what_comes_behind_a_change_is_not_decided_before_that_is_known(hosts: tuple[Host, Host]) -> None:
    gateway, _ = hosts
    with closing(Relayed(gateway, None, b"POST" + HEAD[3:])) as first:
        relay = first.relay
        relay.serve(first.number, first.server, "", 0.0)
        server, _ = first.origin.accept()
        other, near = socket.socketpair()
        with server, other, near:
            near.setblocking(False)
            number = relay.adopt(near.fileno(), 0.0, (0, "http", b"", None), False)
            relay.plan(number, by_row())
            while select.select([relay.fd(), server.fileno()], [], [], PATIENCE)[0] == [relay.fd()]:
                relay.turn(0.0)
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            other.sendall(HEAD)
            events, _ = relay.turn(0.0)
            assert [event[0] for event in events if event[0] != "served"] == ["changed", "request"]
            assert events[-1][-1] is None
