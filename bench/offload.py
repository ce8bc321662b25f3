"""Segmentation offload of the lab's veth pairs: without it packets go singly, as behind a plain network card.

TCP segmentation is switched off on all of them, as ``ethtool -K DEVICE tso off`` does. Links between nodes also take no
packet that stands for several, so that UDP batches are cut before them. Ends of lab networks are not limited in that
way: TCP sockets would then be made to send segment by segment, which no network card asks for.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab import namespaces, netns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.running import RunningLab

ONE, ALL = "1", "65535"
_SIOCETHTOOL, _ETHTOOL_STSO = 0x8946, 0x1F


@contextmanager
def without_offload(lab: RunningLab) -> Iterator[None]:
    """Both ends of every veth pair. TUN devices stay as they are."""
    _switch(lab, on=False)
    try:
        yield
    finally:
        _switch(lab, on=True)


def _switch(lab: RunningLab, *, on: bool) -> None:
    plan = lab.plan
    for link in plan.links:
        for port in (link.a, link.b):
            limit = f"link set {port.interface} gso_max_segs {ALL if on else ONE}"
            namespaces.batch(lab.namespace(port.member), [limit])
    ends = [(lab.namespace(name), port.interface) for name in plan.members for port in plan.ports_of(name)]
    ends += [(plan.hub, end) for segment in plan.segments for end, _ in segment.ports]
    for namespace, interface in ends:
        _tcp_segmentation(namespace, interface, on=on)


def _tcp_segmentation(namespace: str, interface: str, *, on: bool) -> None:
    value = array.array("I", [_ETHTOOL_STSO, int(on)])
    request = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
    with netns.socket_in(namespace, kind=socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)
