"""Thousands of clients in one process: keep-alive connections that ask, and what became of each."""

from __future__ import annotations

import hashlib
import resource
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab.netns import call_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PART = 65_536
SLOW, EVERY = 8192, 0.05
"""Bytes that a client takes at a time which is not to be done soon, and seconds between two times."""


@dataclass(eq=False, slots=True)
class Client:
    socket: socket.socket
    head: bytes = b""
    left: int = -1
    """Bytes of the answer that are yet to come; -1: its head is."""
    got: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    asked: float = 0.0
    began: float = 0.0
    """When the answer's first byte was there; 0: it has yet to come."""
    busy: bool = False
    problem: str = ""
    """Why its connection is over; it asks nothing any more."""

    @property
    def waited_ms(self) -> float:
        return (self.began - self.asked) * 1000

    def is_from(self, node: str) -> bool:
        return f"cache-status: {node};".encode() in self.head.lower()


class Crowd:
    """Clients in a network namespace, of a server; all requests name ``host``."""

    def __init__(self, namespace: str, server: tuple[str, int], host: str) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.clients: list[Client] = []
        self._namespace, self._server, self._host = namespace, server, host
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Client] = {}
        self._slow: set[Client] = set()
        self._slowly = 0.0

    def close(self) -> None:
        for client in self.clients:
            client.socket.close()
        self._poll.close()

    def open(self, count: int, at_once: int = 64, buffer: int = 0) -> list[Client]:
        """So many more connect; ``buffer``: bytes that each may have unread, as the kernel counts."""

        def sockets() -> list[socket.socket]:
            return [socket.socket() for _ in range(count)]

        made = [Client(each) for each in call_in(self._namespace, sockets)]
        for begin in range(0, count, at_once):
            some = made[begin : begin + at_once]
            for client in some:
                client.socket.setblocking(False)
                if buffer:
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
                with suppress(BlockingIOError):
                    client.socket.connect(self._server)
            for client in some:
                if not _writable(client.socket):
                    client.problem = "cannot connect"
        for client in made:
            self._by_descriptor[client.socket.fileno()] = client
            self._poll.register(client.socket, select.EPOLLIN)
        self.clients += made
        return made

    def ask(self, clients: Iterable[Client], path: str, *, slowly: bool = False) -> list[Client]:
        """Have them ask, at once. Returns those that could. ``slowly``: they take little until ``hurry``."""
        request = f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode()
        asking = [client for client in clients if not client.problem]
        for client in asking:
            client.head, client.left, client.got, client.digest = b"", -1, 0, hashlib.sha256()
            client.busy, client.began, client.asked = True, 0.0, time.perf_counter()
            if slowly:
                self._slow.add(client)
                self._poll.unregister(client.socket)
            try:
                client.socket.sendall(request)
            except OSError as error:
                self._over(client, type(error).__name__)
        return asking

    def hurry(self) -> None:
        for client in self._slow:
            if not client.problem:
                self._poll.register(client.socket, select.EPOLLIN)
        self._slow.clear()

    def follow(self, clients: Sequence[Client], seconds: float) -> None:
        """Until they have their answers, at most for so long."""
        until = time.monotonic() + seconds
        waiting = [client for client in clients if client.busy]
        while waiting and time.monotonic() < until:
            for _ in range(20):
                self.turn(0.05)
            waiting = [client for client in waiting if client.busy]

    def turn(self, seconds: float) -> None:
        for descriptor, _ in self._poll.poll(seconds, 4096):
            self._read(self._by_descriptor[descriptor], PART)
        if self._slow and time.monotonic() >= self._slowly:
            self._slowly = time.monotonic() + EVERY
            for client in list(self._slow):
                self._read(client, SLOW)

    def _read(self, client: Client, most: int) -> None:
        try:
            data = client.socket.recv(most)
        except BlockingIOError:
            return
        except OSError as error:
            self._over(client, type(error).__name__)
            return
        if not data:
            self._over(client, "ended" if client.busy else "ended at rest")
            return
        client.began = client.began or time.perf_counter()
        if client.left < 0:
            client.head += data
            head, end, data = client.head.partition(b"\r\n\r\n")
            if not end:
                return
            client.head = head
            lines = [line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:]]
            client.left = int(dict(line for line in lines if len(line) == 2)[b"content-length"])
            if not head.startswith(b"HTTP/1.1 200"):
                client.problem = head.split(b"\r\n")[0].decode("latin-1")
        client.digest.update(data)
        client.got += len(data)
        client.left -= len(data)
        if client.left <= 0:
            client.busy = False
            if client in self._slow:
                self._slow.discard(client)
                self._poll.register(client.socket, select.EPOLLIN)

    def _over(self, client: Client, problem: str) -> None:
        client.problem = f"{problem} after {client.got}" if client.busy else problem
        client.busy = False
        if client in self._slow:
            self._slow.discard(client)
        else:
            self._poll.unregister(client.socket)


def _writable(opened: socket.socket) -> bool:
    poll = select.poll()
    poll.register(opened, select.POLLOUT)
    return bool(poll.poll(20_000))
