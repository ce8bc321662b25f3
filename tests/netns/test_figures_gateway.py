"""A whole gateway region dies: what had its state there ends, and says so."""

from __future__ import annotations

import errno
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.netns import labs

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

REGION = "gw-sto"
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


def connected(lab: RunningLab) -> socket.socket:
    connection = lab.socket("client")
    connection.settimeout(5)
    connection.connect((labs.vip(lab, "shop"), 80))
    return connection


def test_connections_through_a_dead_gateway_region_are_reset(
    lab: RunningLab, figure: Callable[[str, object], None]
) -> None:
    receivers = {"download": Receiver(connected(lab), ASK), "idle": Receiver(connected(lab), b"")}
    time.sleep(1.0)
    killed = time.monotonic()
    for node in lab.topology.nodes_of(REGION):
        lab.kill(node.name)
    for each in receivers.values():
        each.wait()
    told = ", ".join(f"{name}: {each.how} after {each.ended - killed:.2f} s" for name, each in receivers.items())
    figure("gateway region killed: TCP connections whose client only receives", told)
    assert receivers["download"].received > 10_000_000
    assert [each.how for each in receivers.values()] == ["ECONNRESET"] * 2
    assert max(each.ended for each in receivers.values()) - killed < 5.0
