"""A witness in a host's network namespace: control packets of TCP that it gets from an address in mid-connection, and
how large TCP packets are.

Mid-connection is from the first SYN-ACK until the host itself has sent FIN or RST.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from lab import netns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.running import RunningLab

_ALL = 0x0003
"""ETH_P_ALL: also what the host itself sends."""
_SOL_PACKET, _STATISTICS, _VNET_HDR = 263, 6, 15
_VNET = struct.Struct("=BBHHHH")
"""Of a super-packet its second field is not zero, and the fourth says how much of it each packet takes."""
_FRONT = _VNET.size + 14
"""It and the Ethernet header."""
_SO_RCVBUFFORCE = 33
_BUFFER = 64 << 20
_HEADERS = 80
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_NAMES = ((_SYN, "SYN"), (_FIN, "FIN"), (_RST, "RST"))
_TICK = 0.1


@dataclass
class Seen:
    connections: int = 0
    control: Counter[str] = field(default_factory=Counter)
    """SYN, FIN and RST towards the client in mid-connection."""
    largest: int = 0
    """Bytes of the largest packet either way, as the wire would have it."""
    missed: int = 0
    """Packets that the witness had no room for: where there are some, it has seen nothing."""
    _open: set[int] = field(default_factory=set)

    def packet(self, data: bytes | bytearray, server: bytes, length: int, pieces: int) -> None:
        """One IP packet; those of others are ignored. ``pieces``: bytes that each packet of a super-packet carries."""
        size = len(server)
        header, at = (40, 8) if size == 16 else ((data[0] & 15) * 4, 12)
        if data[0] >> 4 != (6 if size == 16 else 4) or data[6 if size == 16 else 9] != socket.IPPROTO_TCP:
            return
        source, destination = struct.unpack_from("!HH", data, header)
        flags = data[header + 13]
        self.largest = max(self.largest, header + (data[header + 12] >> 4) * 4 + pieces if pieces else length)
        if data[at : at + size] == server:
            if flags & (_SYN | _ACK) == _SYN | _ACK and destination not in self._open:
                self._open.add(destination)
                self.connections += 1
            elif destination in self._open:
                self.control.update(name for flag, name in _NAMES if flags & flag)
        elif data[at + size : at + 2 * size] == server and flags & (_FIN | _RST):
            self._open.discard(source)


@contextmanager
def witness(lab: RunningLab, host: str, server: str) -> Iterator[Seen]:
    """What ``host`` sees of the connections to an address during the block; complete when it ends."""
    seen, stop = Seen(), threading.Event()
    address = ip_address(server).packed
    opened = netns.socket_in(lab.namespace(host), socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    with opened:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        opened.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
        opened.settimeout(_TICK)
        data = bytearray(_FRONT + _HEADERS)

        def watch() -> None:
            while True:
                try:
                    length = opened.recv_into(data, 0, socket.MSG_TRUNC)
                except TimeoutError:
                    if stop.is_set():
                        return
                    continue
                if length >= _FRONT + 40:
                    _, kind, _, size, _, _ = _VNET.unpack_from(data)
                    seen.packet(data[_FRONT:], address, length - _FRONT, size if kind else 0)

        thread = threading.Thread(target=watch, name="witness")
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            thread.join()
            _, seen.missed = struct.unpack("II", opened.getsockopt(_SOL_PACKET, _STATISTICS, 8))
