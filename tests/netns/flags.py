"""Flags of TCP that pass a client's interface."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab.netns import socket_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.running import RunningLab

SYN, FIN, RST = 2, 1, 4
ETH_P_ALL = 3


@contextmanager
def witness(lab: RunningLab, port: int = 80) -> Iterator[list[tuple[bool, int]]]:
    """What passes the client's interface meanwhile: whether it came in, and TCP's flags."""
    seen: list[tuple[bool, int]] = []
    with socket_in(
        lab.plan.members["client"].namespace, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)
    ) as tap:
        tap.settimeout(0.1)
        stop = threading.Event()

        def watch() -> None:
            while not stop.is_set():
                try:
                    packet, (_, _, kind, *_) = tap.recvfrom(65_536)
                except TimeoutError:
                    continue
                at = (packet[0] & 15) * 4 if packet[0] >> 4 == 4 else 40
                protocol = packet[9] if packet[0] >> 4 == 4 else packet[6]
                if protocol == socket.IPPROTO_TCP and len(packet) >= at + 20:
                    ports = struct.unpack_from("!HH", packet, at)
                    if port in ports:
                        seen.append((kind != socket.PACKET_OUTGOING, packet[at + 13]))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield seen
        finally:
            time.sleep(0.2)
            stop.set()
            thread.join()
