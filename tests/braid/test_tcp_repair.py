"""Kernel sockets frozen and built again, on loopback: the other end notices nothing."""

from __future__ import annotations

import errno
import random
import select
import socket
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from braid.tcp import repair
from braid.tcp.record import decode_record, encode_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from braid.tcp.record import TcpRecord

pytestmark = pytest.mark.skipif(repair.unavailable() is not None, reason=f"{repair.unavailable()}")
PATIENCE = 60


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client that knows nothing, and its server's end."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        listener = socket.create_server((request.param, 0), family=family)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1360)
    except OSError as error:
        pytest.skip(f"{request.param}: {error}")
    with closing(listener):
        client = socket.create_connection(listener.getsockname()[:2])
        client.settimeout(PATIENCE)
        server, _ = listener.accept()
    server.setblocking(False)
    with closing(client):
        yield client, server


def moved(server: socket.socket) -> tuple[socket.socket, TcpRecord]:
    record = repair.freeze(server)
    repair.dissolve(server)
    record = decode_record(encode_record(record))
    built = repair.build(record.after(1))
    repair.start(built, record.unsent)
    return built, record


def test_a_connection_that_is_dissolved_may_be_built_again_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    # As the keeper of a worker's connections has one.
    with server.dup():
        built, _ = moved(server)
        with closing(built):
            client.sendall(b"hello")
            assert read(built, 5) == b"hello"
            built.sendall(b"world")
            assert read(client, 5) == b"world"


def read(opened: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        assert select.select([opened], [], [], PATIENCE)[0], f"{len(data)} of {count} bytes"
        data += (more := opened.recv(65536))
        assert more, f"closed after {len(data)} of {count} bytes"
    return data


def test_bytes_go_on_where_they_were_and_both_ends_close(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    for turn in range(5):
        client.sendall(b"unread %d" % turn)
        assert select.select([server], [], [], PATIENCE)[0]
        server, record = moved(server)
        assert record.unread == b"unread %d" % turn
        assert read(server, 8) == b"unread %d" % turn
        server.send(b"answer %d" % turn)
        assert read(client, 8) == b"answer %d" % turn
    server.close()
    assert client.recv(1) == b""


def test_what_was_not_sent_arrives_once(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    body = random.Random(6).randbytes(3_000_000)
    at = 0
    while select.select([], [server], [], 0)[1] and at < len(body):
        at += server.send(body[at : at + 65_536])
    # On loopback nobody keeps packets from a connection that has no socket for a moment: none may be under way.
    while repair.unacknowledged(server):
        time.sleep(0.01)
    server, record = moved(server)
    assert len(record.unsent) > 0
    assert not record.quiet
    got = bytearray()
    while len(got) < len(body):
        readable, writable, _ = select.select([client], [server] if at < len(body) else [], [], PATIENCE)
        assert readable or writable
        if writable:
            at += server.send(body[at : at + 65_536])
        if readable:
            got += client.recv(65_536)
    assert bytes(got) == body
    server.close()


def test_segments_stay_as_large_and_windows_as_scaled(pair: tuple[socket.socket, socket.socket]) -> None:
    _, server = pair

    def size(opened: socket.socket) -> int:
        return opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)

    before = size(server)
    server, first = moved(server)
    assert size(server) == before
    server, second = moved(server)
    assert (second.scales, second.sack, second.mss) == (first.scales, first.sack, first.mss)
    assert (second.send_next, second.receive_next) == (first.send_next, first.receive_next)
    assert first.quiet
    server.close()


def test_windows_without_a_scale_are_said_in_bytes(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    record = repair.freeze(server)
    repair.dissolve(server)
    with closing(repair.build(replace(record.after(1), scales=None))) as built:
        repair.start(built)
        built.sendall(b"window")
        assert read(client, 6) == b"window"
        client.setblocking(False)
        heard = repair.freeze(client)
        repair.start(client)
    # The client goes on to take it for scaled.
    assert heard.scales is not None
    assert heard.window.send >> heard.scales[0] > 20_000


def test_a_connection_that_ends_is_not_frozen(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    client.shutdown(socket.SHUT_WR)
    assert select.select([server], [], [], PATIENCE)[0]
    with pytest.raises(repair.FreezeError, match="half_closed"):
        repair.freeze(server)
    server.send(b"goes on")
    assert read(client, 7) == b"goes on"
    server.close()
    server.close()
    with closing(socket.socket()) as listener:
        listener.listen()
        with pytest.raises(repair.FreezeError, match="not_connected"):
            repair.freeze(listener)


def test_a_connection_that_exists_is_not_built(pair: tuple[socket.socket, socket.socket]) -> None:
    _, server = pair
    record = repair.freeze(server)
    with pytest.raises(OSError, match="assign requested address") as raised:
        repair.build(record)
    assert raised.value.errno == errno.EADDRNOTAVAIL, "a gateway counts why no socket was built"
    repair.start(server)
    server.close()


def test_a_listener_can_be_bound_beside_a_built_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    _, server = pair
    server, record = moved(server)
    family = socket.AF_INET6 if record.local.host.version == 6 else socket.AF_INET
    with closing(socket.socket(family)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(record.local.host), record.local.port))
        listener.listen()
    server.close()
