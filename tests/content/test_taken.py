"""Sockets of connections that were transferred here before, and what their gateway may have done meanwhile."""

from __future__ import annotations

import errno
import socket
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address

import pytest

from braid.tcp import repair
from braid.tcp.record import decode_record, encode_record
from braid.transfer import Numbers, Returned, TransferCommit, TransferRequest, numbers_of
from content.agent import RETURN_FOR, KeepOn, ProxyAgent
from content.message import Request
from content.taken import Taken, build_for
from content.wire import Gone
from topology.model import SocketAddress

needs_repair = pytest.mark.skipif(repair.unavailable() is not None, reason=f"{repair.unavailable()}")
GATEWAY = 31


def taken(opened: socket.socket, request: TransferRequest) -> Taken:
    record = decode_record(request.record)
    return Taken(request.id, "shop", record.remote, record.local, "e-1", "e", "g-1", False, opened, 0.0, 0.0)


@needs_repair
def test_a_socket_of_a_connection_that_its_gateway_offers_again_makes_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    server.setblocking(False)
    record = repair.freeze(server)
    repair.dissolve(server)
    request = TransferRequest(bytes(16), 100, numbers_of(record), (1, 2), b"http://a/", encode_record(record))
    with closing(client), closing(build_for(request, record, "g-1", [], "lo")) as old:
        repair.start(old)
        served = taken(old, request)
        with pytest.raises(OSError, match="assign"):
            build_for(replace(request, id=b"2" * 16), record, "g-2", [served], "lo")
        with closing(build_for(replace(request, id=b"2" * 16), record, "g-1", [served], "lo")) as new:
            repair.start(new)
            with pytest.raises(OSError, match=r".") as heard:
                old.send(b"old")
            assert heard.value.errno in (errno.ECONNABORTED, errno.EPIPE, errno.ENOTCONN)
            new.send(b"new")
            client.settimeout(5)
            assert client.recv(10) == b"new"


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_what_a_silent_gateway_may_have_passed_on_is_not_done_twice(heard: bool, method: bytes) -> None:
    agent, request = ProxyAgent(), TransferRequest(bytes(16), 100, Numbers(1, 2), (1, 2), b"http://a/", b"record")
    agent.receive(GATEWAY, request, 0.0)
    agent.accept(request.id, request.numbers, 0.0)
    agent.receive(GATEWAY, TransferCommit(request.id), 0.0)
    agent.give_back(request.id, request.numbers, b"record", 1.0)
    if heard:
        commands = agent.receive(GATEWAY, Returned(request.id, False), 1.1)
    else:
        commands = agent.handle_timeout(1.1 + RETURN_FOR)
    (keep,) = [command for command in commands if isinstance(command, KeepOn)]
    with socket.socket() as opened:
        ends = SocketAddress(ip_address("192.0.2.1"), 1), SocketAddress(ip_address("192.0.2.2"), 80)
        connection = Taken(bytes(16), "shop", *ends, "e-1", "e", "g-1", False, opened, 0.0, 0.0, heard=keep.heard)
        if heard or method == b"GET":
            connection.may_answer(Request(method, "a", 80, b"/"))
        else:
            with pytest.raises(Gone):
                connection.may_answer(Request(method, "a", 80, b"/"))
            assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)[0] == 1, "it is reset"
