"""A connection is offered by one core to another: what is frozen, held and said, and what becomes of a refusal."""

from __future__ import annotations

import select
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from braid.tcp import repair
from braid.tcp.offering import Offer, make_offer
from braid.tcp.progress import is_still
from braid.tcp.record import decode_record
from braid.transfer import Numbers, Reason, TransferRefuse, TransferRequest, decode
from tests.dataplane.hosts import PATIENCE, Host
from tests.dataplane.relayed import HEAD, ID, KEY, PROXY, Relayed, heard, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from braid.tcp.offering import Offered

pytestmark = pytest.mark.skipif(repair.unavailable() is not None, reason=f"{repair.unavailable()}")


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client that knows nothing, and its server's end."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with closing(socket.create_server((request.param, 0), family=family)) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        client.settimeout(PATIENCE)
        server, _ = listener.accept()
    server.setblocking(False)
    with closing(client), closing(server):
        yield client, server


def offered(gateway: Host, opened: socket.socket, head: bytes | None) -> Offered:
    offer = Offer(ID, 100, KEY, PROXY, head)
    return make_offer(gateway.core, opened.fileno(), offer, v6=opened.family == socket.AF_INET6)


def read(opened: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        assert select.select([opened], [], [], PATIENCE)[0]
        data += (more := opened.recv(65_536))
        assert more
    return data


@pytest.mark.parametrize("head", [HEAD, None])
def test_the_proxy_is_asked_and_can_go_on_with_what_came(
    hosts: tuple[Host, Host], pair: tuple[socket.socket, socket.socket], head: bytes | None
) -> None:
    (gateway, proxy), (client, server) = hosts, pair
    server.send(b"before")
    assert read(client, 6) == b"before"
    client.sendall(HEAD)
    assert select.select([server], [], [], PATIENCE)[0]
    if head is not None:
        assert server.recv(100) == HEAD
    made = offered(gateway, server, head)
    assert made.asked
    assert made.held.wait()
    assert not made.held.wait(), "there is one answer"
    request = decode(heard(proxy))
    assert request == TransferRequest(ID, 100, Numbers(*made.next), made.initial, KEY, made.record)
    record = decode_record(made.record)
    assert record.unread == HEAD
    assert made.next == (record.send_next, (record.receive_next - len(HEAD)) % (1 << 32))
    assert made.initial == ((made.next[1] - 1) % (1 << 32), (made.next[0] - 7) % (1 << 32))
    repair.dissolve(made.socket)
    server.close()
    with repair.build_encoded(made.record, record, later=1) as built:
        repair.start(built)
        assert read(built, len(HEAD)) == HEAD
        built.send(b"answer")
        assert read(client, 6) == b"answer"


@pytest.mark.parametrize("late", [b"more", b""])
def test_whether_more_came_than_what_was_offered(
    hosts: tuple[Host, Host], pair: tuple[socket.socket, socket.socket], late: bytes
) -> None:
    client, server = pair
    client.sendall(HEAD)
    assert read(server, len(HEAD)) == HEAD
    made = offered(hosts[0], server, HEAD)
    assert is_still(made.socket, made.received)
    if late:
        client.sendall(late)
    else:
        client.close()
    deadline = time.monotonic() + PATIENCE
    while is_still(made.socket, made.received):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    repair.start(made.socket)
    assert server.recv(100) == late
    made.socket.close()


def test_what_is_not_quiet_or_too_large_is_not_offered(
    hosts: tuple[Host, Host], pair: tuple[socket.socket, socket.socket]
) -> None:
    (gateway, proxy), (client, server) = hosts, pair
    with pytest.raises(repair.FreezeError, match="too_large"):
        offered(gateway, server, bytes(17_000))
    client.sendall(b"more")
    assert select.select([server], [], [], PATIENCE)[0]
    with pytest.raises(repair.FreezeError, match="not_quiescent"):
        offered(gateway, server, HEAD)
    gateway.core.tell([(PROXY, b"nothing was said before")])
    assert heard(proxy) == b"nothing was said before"
    assert server.recv(100) == b"more"
    server.send(b"goes on")
    assert read(client, 7) == b"goes on"


def test_what_does_not_fit_into_one_message_is_left_to_be_sent_in_parts(
    hosts: tuple[Host, Host], pair: tuple[socket.socket, socket.socket]
) -> None:
    gateway, proxy = hosts
    made = offered(gateway, pair[1], bytes(2000))
    assert not made.asked
    assert made.held.wait()
    gateway.core.tell([(PROXY, b"nothing was said before")])
    assert heard(proxy) == b"nothing was said before"
    repair.dissolve(made.socket)


def test_a_refused_request_goes_to_its_server_before_anybody_is_told(hosts: tuple[Host, Host]) -> None:
    gateway, _ = hosts
    with closing(Relayed(gateway)) as relayed:
        made = relayed.offer(gateway)
        relayed.relay.expect(relayed.number, ID, relayed.server, "", 0.0)
        assert gateway.snapshot()["owners"]["held"] == 1
        assert not relayed.relay.is_turned_down(ID)
        refuse(hosts)
        assert select.select([relayed.relay.fd()], [], [], PATIENCE)[0], "it came"
        assert relayed.relay.is_turned_down(ID)
        relayed.turn()
        assert relayed.relay.is_turned_down(ID)
        assert "owners" not in gateway.snapshot(), "what the client sends meanwhile is let through"
        relayed.serve()
        assert relayed.told == ["request", "connected", "turned_down", "served"]
        assert not relayed.relay.is_turned_down(ID)
        made.socket.close()


def test_that_it_was_refused_is_told_while_its_server_takes_its_time(hosts: tuple[Host, Host]) -> None:
    gateway, _ = hosts
    with closing(Relayed(gateway)) as relayed:
        made = relayed.offer(gateway)
        relayed.relay.expect(relayed.number, ID, relayed.server, "", 1.0)
        refuse(hosts)
        assert select.select([relayed.relay.fd()], [], [], PATIENCE)[0], "it came"
        assert relayed.relay.said(1.0) == []
        due = relayed.relay.next_timeout()
        assert 1.001 < due < 1.01
        relayed.turn(due - 0.001)
        assert "turned_down" not in relayed.told
        assert ("turned_down", ID, Reason.CONTENT, True) in relayed.turn(due)
        assert relayed.relay.next_timeout() > due
        relayed.serve()
        assert relayed.told.count("turned_down") == 1
        made.socket.close()


def test_a_refusal_that_nobody_waits_for_in_the_relay_is_told_and_one_of_no_use_is_an_event(
    hosts: tuple[Host, Host],
) -> None:
    gateway, _ = hosts
    with closing(Relayed(gateway)) as relayed:
        made = relayed.offer(gateway)
        refuse(hosts, Reason.BUSY)
        assert relayed.until("turned_down") == ("turned_down", ID, Reason.BUSY, False)
        repair.start(made.socket)
        made.socket.close()
        made = relayed.offer(gateway)
        relayed.relay.expect(relayed.number, ID, relayed.server, "", 0.0)
        relayed.relay.unexpect(ID)
        refuse(hosts)
        assert decode(heard(gateway)) == TransferRefuse(ID, Reason.CONTENT)
        repair.dissolve(made.socket)
        relayed.relay.give_up(relayed.number, 0.0)


def test_a_proxy_may_refuse_before_it_is_said_what_then(hosts: tuple[Host, Host]) -> None:
    gateway, _ = hosts
    with closing(Relayed(gateway)) as relayed:
        made = relayed.offer(gateway)
        refuse(hosts)
        assert select.select([relayed.relay.fd()], [], [], PATIENCE)[0], "it came"
        relayed.relay.expect(relayed.number, ID, relayed.server, "", 0.0)
        server, _ = relayed.origin.accept()
        server.close()
        assert relayed.relay.said(0.0) == []
        assert relayed.relay.all_turned_down() == [(ID, Reason.CONTENT, True)]
        assert relayed.relay.all_turned_down() == []
        made.socket.close()


def test_what_is_refused_meanwhile_is_served_without_another_turn(hosts: tuple[Host, Host]) -> None:
    gateway, _ = hosts
    with closing(Relayed(gateway)) as relayed:
        made = relayed.offer(gateway)
        relayed.relay.expect(relayed.number, ID, relayed.server, "", 0.0)
        refuse(hosts)
        assert select.select([relayed.relay.fd()], [], [], PATIENCE)[0], "it came"
        assert relayed.relay.said(0.0) == []
        relayed.origin.accept()[0].close()
        assert relayed.relay.all_turned_down() == [(ID, Reason.CONTENT, True)]
        made.socket.close()


def test_a_client_that_has_gone_is_not_served(hosts: tuple[Host, Host]) -> None:
    gateway, _ = hosts
    with closing(Relayed(gateway)) as relayed:
        made = relayed.offer(gateway)
        relayed.relay.expect(relayed.number, ID, relayed.server, "", 0.0)
        relayed.relay.reset(relayed.number)
        refuse(hosts)
        assert relayed.until("turned_down") == ("turned_down", ID, Reason.CONTENT, False)
        repair.dissolve(made.socket)
