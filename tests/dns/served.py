"""A DNS service in a thread of its own, for clients that block, and such a client."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import trio

from dns.health import HealthTable
from dns.node import DnsService, serve
from tests.dns.zone import FULL, free_port
from topology.model import DnsSettings, SocketAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dns.answer import Transport
    from dns.config import DnsConfig

HOSTS = ("127.0.0.1", "::1")
TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp")


def everything(responses_per_second: int = 0) -> DnsConfig:
    """All that a zone may hold; without a rate limit unless one is given. 1.2.3.0/24 belongs to the second edge."""
    edges = (FULL.edges[0], replace(FULL.edges[1], serves=(*FULL.edges[1].serves, ip_network("1.2.3.0/24"))))
    settings = DnsSettings(responses_per_second=responses_per_second)
    return replace(FULL, edges=(*edges, *FULL.edges[2:]), settings=settings)


@contextmanager
def served(
    config: DnsConfig, hosts: Sequence[str] = HOSTS, drained: Callable[[], frozenset[str]] = frozenset
) -> Iterator[tuple[int, DnsService]]:
    """The port, the same on every host, and the service, whose state belongs to the other thread. ``drained`` is asked
    there."""
    port = free_port(hosts[0])
    config = replace(config, listen=tuple(SocketAddress(ip_address(host), port) for host in hosts))
    ready = threading.Event()
    running: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope, DnsService]] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            service = await nursery.start(partial(serve, config, HealthTable(), drained=drained))
            running.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope, service))
            ready.set()

    thread = threading.Thread(target=trio.run, args=(main,), daemon=True)
    thread.start()
    assert ready.wait(30)
    token, scope, service = running[0]
    try:
        yield port, service
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join(30)
    assert not thread.is_alive()


def exchange(host: str, port: int, data: bytes, transport: Transport, patience: float = 30.0) -> bytes | None:
    """The answer; None when the connection is closed instead, or over UDP nothing comes within ``patience``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind) as asker:
        asker.settimeout(patience)
        asker.connect((host, port))
        if transport == "tcp":
            asker.sendall(len(data).to_bytes(2, "big") + data)
            return read_message(asker)
        asker.send(data)
        try:
            return asker.recv(65535)
        except TimeoutError:
            return None


def read_message(stream: socket.socket) -> bytes | None:
    """None at the end of the stream."""
    data = b""
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        chunk = stream.recv(2 - len(data) if len(data) < 2 else 2 + int.from_bytes(data[:2], "big") - len(data))
        if not chunk:
            return None
        data += chunk
    return data[2:]
