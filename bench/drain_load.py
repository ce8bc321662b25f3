"""Many TCP connections at once, for ``bench.drain``: some download at an even pace, the others ask now and then.

``server PORT``: a connection begins with ``S`` (it gets ``CHUNK`` bytes of a known stream each ``PACE``) or sends ``?``
as often as it likes, each of which is answered by ``!``. ``client HOST PORT CONNECTIONS DOWNLOADS``: opens them, says
``ready``, and reads words from stdin: ``mark NAME`` begins a part of the measurement, ``ask`` asks on every connection
that does not download, ``stop`` ends it. Each is answered by a line of JSON. With ``http`` behind, clients say the same
by requests of HTTP; the server ends its connection behind each ``!``, so that a proxy has none for a client that rests.
"""

from __future__ import annotations

import gc
import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

from braid.process import allow_descriptors

CHUNK = 1000
PACE = 0.02
TURNS = 10
"""Each download has its turn in one of so many parts of ``PACE``: at any time some bytes are due."""
STREAM = Random(7402).randbytes(1 << 16)
ANSWER_WITHIN = 5.0
ASK_EACH = {False: 50, True: 20}
"""Connections that are asked in one go, so that questions and answers are no burst that fills the queues; of HTTP those
that a gateway can take into its stack and connect to servers meanwhile."""
STREAMED = 1_000_000_000
"""Bytes of an answer of HTTP that nobody waits for the end of."""
ASKED = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n!"
HEAD_END = b"\r\n\r\n"


def piece(offset: int, size: int) -> bytes:
    """Bytes of the endless stream."""
    start = offset % len(STREAM)
    return (STREAM[start:] + STREAM[: max(0, start + size - len(STREAM))])[:size]


def serve(port: int) -> None:
    allow_descriptors()
    poll = selectors.DefaultSelector()
    listener = socket.create_server(("", port), backlog=4096)
    listener.setblocking(False)
    poll.register(listener, selectors.EVENT_READ)
    streams: dict[socket.socket, int] = {}
    due, turn, count = time.monotonic(), 0, 0
    turns: dict[socket.socket, int] = {}
    gc.disable()
    print("listening", file=sys.stderr, flush=True)
    while True:
        for key, _ in poll.select(max(0.0, due - time.monotonic()) if streams else None):
            if key.fileobj is listener:
                made, _ = listener.accept()
                made.setblocking(False)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                poll.register(made, selectors.EVENT_READ)
                continue
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            try:
                said = connection.recv(4096)
                if said.startswith(b"GET /stream"):
                    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % STREAMED)
                if said.startswith((b"S", b"GET /stream")):
                    streams[connection] = 0
                    turns[connection] = count % TURNS
                    count += 1
                elif said.startswith(b"GET"):
                    connection.send(ASKED)
                    said = b""
                elif said:
                    connection.send(b"!" * len(said))
            except OSError:
                said = b""
            if not said:
                streams.pop(connection, None)
                poll.unregister(connection)
                connection.close()
        now = time.monotonic()
        if now >= due:
            due, turn = max(due + PACE / TURNS, now), (turn + 1) % TURNS
            for connection, offset in list(streams.items()):
                if turns[connection] != turn:
                    continue
                try:
                    streams[connection] = offset + connection.send(piece(offset, CHUNK))
                except BlockingIOError:
                    pass
                except OSError:
                    del streams[connection]


@dataclass(slots=True)
class Download:
    offset: int = 0
    last: float = 0.0
    worst: float = 0.0
    """Longest pause since the last mark."""
    broken: str = ""


@dataclass(slots=True)
class Load:
    host: str
    port: int
    http: bool
    poll: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    downloads: dict[socket.socket, Download] = field(default_factory=dict)
    others: dict[socket.socket, float] = field(default_factory=dict)
    """Since when an answer is waited for; 0: none is."""
    failed: list[str] = field(default_factory=list)
    to_ask: list[socket.socket] = field(default_factory=list)
    heads: dict[socket.socket, bytes] = field(default_factory=dict)
    """What came of an answer's head."""
    slowest: float = 0.0

    def say(self, connection: socket.socket, *, download: bool = False) -> None:
        if self.http:
            path = "stream" if download else "ask"
            connection.send(f"GET /{path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
            self.heads[connection] = b""
        else:
            connection.send(b"S" if download else b"?")

    def open(self, connections: int, downloads: int) -> None:
        for number in range(connections):
            made = socket.create_connection((self.host, self.port), timeout=10)
            made.setblocking(False)
            self.poll.register(made, selectors.EVENT_READ)
            if number < downloads:
                self.say(made, download=True)
                self.downloads[made] = Download(last=time.monotonic())
            else:
                self.say(made)
                self.others[made] = time.monotonic()
            if number % 50 == 0:
                self.turn(0.0)

    def turn(self, wait: float) -> list[str]:
        """What came; the words of stdin, if it is watched."""
        words: list[str] = []
        for key, _ in self.poll.select(wait):
            if isinstance(key.fileobj, socket.socket):
                self.receive(key.fileobj)
            else:
                words.append(sys.stdin.readline().strip())
        return words

    def receive(self, connection: socket.socket) -> None:
        now = time.monotonic()
        try:
            said = connection.recv(1 << 16)
        except OSError as error:
            self.lose(connection, str(error))
            return
        if not said:
            self.lose(connection, "ended")
            return
        if connection in self.heads:
            head, end, said = (self.heads[connection] + said).partition(HEAD_END)
            if not end:
                self.heads[connection] = head
                return
            del self.heads[connection]
            if not head.startswith(b"HTTP/1.1 200 "):
                self.lose(connection, head[:40].decode("latin-1"))
                return
        if not said:
            return
        download = self.downloads.get(connection)
        if download is None:
            self.slowest = max(self.slowest, now - self.others[connection])
            self.others[connection] = 0.0
            return
        if said != piece(download.offset, len(said)):
            self.lose(connection, f"other bytes at {download.offset}")
            return
        download.offset += len(said)
        download.worst = max(download.worst, now - download.last)
        download.last = now

    def lose(self, connection: socket.socket, why: str) -> None:
        self.failed.append(why)
        self.poll.unregister(connection)
        connection.close()
        self.downloads.pop(connection, None)
        self.others.pop(connection, None)

    def ask_some(self) -> None:
        now = time.monotonic()
        for connection in self.to_ask[: ASK_EACH[self.http]]:
            if connection in self.others:
                self.others[connection] = now
                try:
                    self.say(connection)
                except OSError as error:
                    self.lose(connection, str(error))
        del self.to_ask[: ASK_EACH[self.http]]

    def ask_all(self) -> dict[str, Any]:
        """Ask on every connection and wait for the answers."""
        self.to_ask, self.slowest = list(self.others), 0.0
        count = len(self.to_ask)
        deadline = time.monotonic() + ANSWER_WITHIN + count / ASK_EACH[self.http] * PACE
        due = time.monotonic()
        while (self.to_ask or any(self.others.values())) and time.monotonic() < deadline:
            if time.monotonic() >= due:
                due = time.monotonic() + PACE
                self.ask_some()
            self.turn(max(0.0, due - time.monotonic()))
        silent = [connection for connection, since in self.others.items() if since]
        for connection in silent:
            self.lose(connection, "no answer")
        return {"asked": count, "silent": len(silent), "slowest_ms": round(self.slowest * 1000, 1)}

    def mark(self) -> dict[str, Any]:
        """The longest pause of each download since the last mark, in milliseconds, sorted."""
        now = time.monotonic()
        pauses = sorted(round(max(each.worst, now - each.last) * 1000, 1) for each in self.downloads.values())
        for each in self.downloads.values():
            each.worst = 0.0
        sums = sum(each.offset for each in self.downloads.values())
        live = len(self.downloads) + len(self.others)
        return {"pauses_ms": pauses, "live": live, "failed": self.failed, "bytes": sums}


def run(host: str, port: int, connections: int, downloads: int, *, http: bool) -> None:
    allow_descriptors()
    load = Load(host, port, http)
    load.open(connections, downloads)
    while any(load.others.values()):
        load.turn(PACE)
    gc.collect()
    gc.disable()
    load.poll.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for word in load.turn(1.0):
            match word:
                case "mark":
                    print(json.dumps(load.mark()), flush=True)
                case "ask":
                    print(json.dumps(load.ask_all()), flush=True)
                case _:
                    return


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["server", port]:
            serve(int(port))
        case ["client", host, port, connections, downloads, *http]:
            run(host, int(port), int(connections), int(downloads), http=http == ["http"])
        case _:
            sys.exit(__doc__)
