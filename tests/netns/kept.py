"""Kept connections of HTTP, for tests of drains: ``python -m tests.netns.kept HOST IDLE BUSY``.

``IDLE`` of them ask when a line comes on stdin, and only then; ``BUSY`` ask again as soon as they are answered. After
each line the answers since the last one are told, as JSON; a connection that fails is not opened again. Ends with
stdin.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections import Counter

SIZE = 30_000
WITHIN = 10.0


class Kept:
    def __init__(self, host: str) -> None:
        self.path = "/headers"
        self._host = host
        self._socket = socket.create_connection((host, 80), timeout=WITHIN)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)

    def ask(self) -> str:
        """What became of a request, in a word."""
        try:
            self._socket.sendall(f"GET {self.path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
            got = b""
            while b"\r\n\r\n" not in got:
                got += self._more()
            head, _, body = got.partition(b"\r\n\r\n")
            (length,) = (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            while len(body) < length:
                body += self._more()
        except OSError as error:
            return type(error).__name__
        return head.split(b" ")[1].decode() if len(body) == length else "garbled"

    def _more(self) -> bytes:
        found = self._socket.recv(65536)
        if not found:
            raise ConnectionAbortedError
        return found


def main(host: str, idle: int, busy: int) -> None:
    answers: Counter[str] = Counter()
    of_busy: Counter[str] = Counter()
    done = threading.Event()

    def again_and_again(kept: Kept) -> None:
        kept.path = f"/object/{SIZE}"
        while not done.is_set():
            found = kept.ask()
            of_busy[found] += 1
            if found != "200":
                return

    kept = [Kept(host) for _ in range(idle)]
    for each in kept:
        answers[each.ask()] += 1
    threads = [threading.Thread(target=again_and_again, args=(Kept(host),)) for _ in range(busy)]
    for thread in threads:
        thread.start()
    print(json.dumps([answers, of_busy]), flush=True)
    for _ in sys.stdin:
        asked = Counter(each.ask() for each in kept)
        print(json.dumps([asked, of_busy]), flush=True)
        of_busy.clear()
    done.set()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
