"""Clients that ask once and then only receive."""

from __future__ import annotations

import errno
import threading
import time
from typing import TYPE_CHECKING

from tests.netns import labs

if TYPE_CHECKING:
    import socket

    from lab.running import RunningLab

ASK = b"GET /object/10GB HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n"


class Receiver:
    """A client that says this and then only receives, as fast as it can, until its connection ends."""

    def __init__(self, connection: socket.socket, says: bytes) -> None:
        self.received, self.ended, self.how = 0, 0.0, "silent"
        self._connection = connection
        connection.settimeout(20)
        connection.sendall(says)
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        try:
            while data := self._connection.recv(1 << 20):
                self.received += len(data)
            self.how = "closed"
        except OSError as error:
            self.how = errno.errorcode[error.errno] if error.errno else "silent"
        self.ended = time.monotonic()

    def wait(self) -> None:
        self._thread.join()
        self._connection.close()


def connected(lab: RunningLab, application: str) -> socket.socket:
    connection = lab.socket("client")
    connection.settimeout(5)
    connection.connect((labs.vip(lab, application), 80))
    return connection
