"""An attacker on the underlay of a lab: records what neighbours say to a node, and says things in their name.

It sits on the cable: frames go out of the hub's end that faces the node, with the neighbour's hardware, IP and UDP
addresses, so the node's socket takes them for the neighbour's.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import netns
from lab.impairment import Impairment
from tests.dataplane.reference import DATA, DATA_PARTIAL, OVERHEAD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lab.plan import Port
    from lab.running import RunningLab

UDP_HEADERS = 14 + 20 + 8
PACKET_OUTGOING = 4
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
QUEUE_LIMIT = 1 << 20
"""Bytes that may wait in the node's socket before the attacker waits for it: an eighth of the socket's buffer."""
BATCH = 200

TOPOLOGY: dict[str, Any] = {
    "braid": 1,
    "name": "hos",
    "zone": {"name": "apps.example"},
    "regions": {
        "e": {"role": "edge"},
        "f": {"role": "edge"},
        "m": {"role": "intermediate"},
        "n": {"role": "intermediate"},
        "g": {"role": "gateway"},
        "d": {"role": "dns"},
    },
    "nodes": {
        "edge": {"region": "e", "number": 11, "underlay": ["10.70.0.11"], "vip_pools": ["10.71.1.128/28"]},
        "rogue": {"region": "f", "number": 12, "underlay": ["10.70.0.12"], "vip_pools": ["10.71.2.128/28"]},
        "mid-1": {"region": "m", "number": 21, "underlay": ["10.70.0.21"]},
        "mid-2": {"region": "n", "number": 22, "underlay": ["10.70.0.22"]},
        "gateway": {"region": "g", "number": 31, "underlay": ["10.70.0.31"], "snat_pools": ["10.73.0.128/30"]},
        "names": {"region": "d", "number": 41, "underlay": ["10.70.0.41"], "dns_listen": ["10.71.1.53:53"]},
    },
    "applications": {
        "all": {"hostnames": ["all.apps.example"], "ports": ["any"], "targets": [{"address": "10.73.0.10"}]},
    },
    "lab": {
        "underlay": ["10.70.0.0/24"],
        "networks": {
            "clients": {
                "prefixes": ["10.71.1.0/24"],
                "members": {"edge": ["10.71.1.2"], "names": ["10.71.1.53"], "client": ["10.71.1.10"]},
            },
            "origins": {
                "prefixes": ["10.73.0.0/24"],
                "members": {"gateway": ["10.73.0.2"], "origin": ["10.73.0.10"]},
            },
        },
        "hosts": {"client": {"kind": "client"}, "origin": {"kind": "origin"}},
    },
}


def write(directory: Path, name: str = "hos") -> Path:
    """The topology as a file; ``name`` is that of the lab and begins those of its namespaces."""
    file = directory / f"{name}.yaml"
    file.write_text(json.dumps({**TOPOLOGY, "name": name}, indent=1))
    return file


@dataclass(frozen=True, slots=True)
class Address:
    host: IPv4Address
    port: int


def checksum(header: bytes) -> int:
    total: int = sum(word for (word,) in struct.iter_unpack(">H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(source_mac: str, target_mac: str, source: Address, target: Address, payload: bytes) -> bytes:
    """An Ethernet frame with one IPv4 UDP datagram; its UDP checksum is absent (0), as RFC 768 allows."""
    ethernet = bytes.fromhex(target_mac.replace(":", "") + source_mac.replace(":", "")) + b"\x08\x00"
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0x4000, 64, 17, 0)
    ip += source.host.packed + target.host.packed
    ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    return ethernet + ip + struct.pack(">HHHH", source.port, target.port, 8 + len(payload), 0) + payload


class Tap:
    """A packet socket on the hub's end of the cable to one node."""

    def __init__(self, lab: RunningLab, interface: str) -> None:
        # With a protocol it would hear all interfaces until it is bound to one.
        self.socket = netns.socket_in(lab.plan.hub, socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 128 << 20)
        self.socket.bind((interface, ETH_P_ALL))
        self.socket.setblocking(False)

    def datagrams(self) -> Iterator[bytes]:
        """UDP payloads that the node has sent since the last call; several in one when it used UDP_SEGMENT."""
        with contextlib.suppress(BlockingIOError):
            while True:
                got, (_, protocol, kind, *_) = self.socket.recvfrom(1 << 16)
                if kind != PACKET_OUTGOING and protocol == 0x0800 and got[23] == 17:
                    yield got[UDP_HEADERS : 14 + int.from_bytes(got[16:18], "big")] or got[UDP_HEADERS:]

    def close(self) -> None:
        self.socket.close()


class Wire:
    """One underlay link in the direction from a neighbour to the node under attack."""

    def __init__(self, lab: RunningLab, neighbour: str, target: str) -> None:
        self.lab, self.neighbour, self.target = lab, neighbour, target
        link, swapped = lab.plan.link(neighbour, target)
        near, far = (link.b, link.a) if swapped else (link.a, link.b)
        near_hub, far_hub = (link.hub_b, link.hub_a) if swapped else (link.hub_a, link.hub_b)
        self.near: Port = near
        self.far: Port = far
        self.from_neighbour = Tap(lab, near_hub)
        self.from_target = Tap(lab, far_hub)
        self.source = self._address(neighbour)
        self.destination = self._address(target)

    def _address(self, name: str) -> Address:
        node = self.lab.topology.nodes[name]
        host = node.underlay[0]
        assert isinstance(host, IPv4Address)
        return Address(host, node.port)

    def inject(self, datagrams: Iterable[bytes], source: Address | None = None) -> int:
        """Sends datagrams to the node, in the neighbour's name unless told otherwise; returns how many.

        Waits for the node whenever much lies unread in its socket.
        """
        count = 0
        for payload in datagrams:
            sender = source or self.source
            self.from_target.socket.send(frame(self.near.mac, self.far.mac, sender, self.destination, payload))
            count += 1
            if count % BATCH == 0:
                self.wait_until_read(QUEUE_LIMIT)
        self.wait_until_read(0)
        return count

    def wait_until_read(self, limit: int) -> None:
        deadline = time.monotonic() + 20
        while self.unread() > limit:
            assert time.monotonic() < deadline, f"{self.target} does not read its socket"
            time.sleep(0.002)

    def unread(self) -> int:
        """Bytes of memory in the receive queue of the node's UDP socket."""
        text = Path(f"/proc/{self.lab.nodes[self.target]}/net/udp").read_text()
        want = f"{self.destination.host.packed[::-1].hex().upper()}:{self.destination.port:04X}"
        [queue] = [fields[4] for fields in map(str.split, text.splitlines()) if fields[1] == want]
        return int(queue.partition(":")[2], 16)

    def close(self) -> None:
        self.from_neighbour.close()
        self.from_target.close()


def split(datagram: bytes, length: int) -> Iterator[bytes]:
    """The datagrams of one length in what may be several of them in one, each with data inside."""
    if len(datagram) % length == 0:
        for at in range(0, len(datagram), length):
            piece = datagram[at : at + length]
            if piece[0] in (0x10 | DATA, 0x10 | DATA_PARTIAL):
                yield piece


def wire_length(payload: int) -> int:
    """Of a datagram that carries an IPv4 UDP packet with so many bytes."""
    return OVERHEAD + 28 + payload


@contextlib.contextmanager
def silenced(wires: Sequence[Wire]) -> Iterator[None]:
    """The neighbours speak and the nodes do not hear; from nobody else either, if the wires are all there are."""
    for wire in wires:
        wire.lab.impair(wire.neighbour, wire.target, Impairment(blackhole=True), direction="a-to-b")
    try:
        for wire in wires:
            list(wire.from_neighbour.datagrams())
        yield
        time.sleep(0.1)
    finally:
        for wire in wires:
            wire.lab.impair(wire.neighbour, wire.target, None)


def record(wires: Sequence[Wire], stream: Stream, count: int) -> list[list[bytes]]:
    """At least ``count`` datagrams of real data per wire that the neighbour sent and the node never received."""
    length = wire_length(stream.size)
    taken: list[list[bytes]] = [[] for _ in wires]
    with silenced(wires):
        deadline = time.monotonic() + 10
        while min(map(len, taken)) < count:
            assert time.monotonic() < deadline, f"recorded {[len(each) for each in taken]} datagrams"
            stream.send(500)
            time.sleep(0.01)
            for wire, pieces in zip(wires, taken, strict=True):
                pieces += [piece for got in wire.from_neighbour.datagrams() for piece in split(got, length)]
    return taken


class Stream:
    """UDP packets of one flow through the overlay, from the client or from the origin, with a sink at the other end."""

    def __init__(self, lab: RunningLab, vip: str, port: int, *, size: int, upwards: bool) -> None:
        self.size = size
        self._client = lab.socket("client", kind=socket.SOCK_DGRAM)
        self._origin = lab.socket("origin", kind=socket.SOCK_DGRAM)
        for each in (self._client, self._origin):
            each.settimeout(5)
            each.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._origin.bind(("10.73.0.10", port))
        self._client.connect((vip, port))
        self._client.send(b"hello")
        greeting, peer = self._origin.recvfrom(100)
        assert greeting == b"hello"
        self._origin.connect(peer)
        self._origin.send(b"hello")
        assert self._client.recv(100) == b"hello"
        self._sender, self._sink = (self._client, self._origin) if upwards else (self._origin, self._client)
        self._number = 0

    def send(self, count: int) -> None:
        for _ in range(count):
            self._number += 1
            self._sender.send(self._number.to_bytes(8, "big").ljust(self.size, b"."))

    def delivered(self) -> list[int]:
        """Numbers of the packets that came out of the overlay since the last call."""
        self._sink.setblocking(False)
        numbers = []
        with contextlib.suppress(BlockingIOError):
            while True:
                numbers.append(int.from_bytes(self._sink.recv(2048)[:8], "big"))
        return numbers

    def close(self) -> None:
        self._client.close()
        self._origin.close()


class Heartbeat:
    """Honest traffic while attacks go on: a client's question every 5 ms, answered by the origin."""

    PERIOD = 0.005

    def __init__(self, lab: RunningLab, vip: str, port: int) -> None:
        self._client = lab.socket("client", kind=socket.SOCK_DGRAM)
        self._origin = lab.socket("origin", kind=socket.SOCK_DGRAM)
        self._client.connect((vip, port))
        self._origin.bind(("10.73.0.10", port))
        self._end = threading.Event()
        self.sent = 0
        self._answers: list[int] = []
        self._threads = [threading.Thread(target=each) for each in (self._ask, self._answer, self._hear)]
        for each in self._threads:
            each.start()

    def _ask(self) -> None:
        due = time.monotonic()
        while not self._end.is_set():
            self._client.send((self.sent + 1).to_bytes(8, "big"))
            self.sent += 1
            due = max(due + self.PERIOD, time.monotonic() - 0.1)
            time.sleep(max(0.0, due - time.monotonic()))

    def _answer(self) -> None:
        self._origin.settimeout(0.1)
        while not self._end.is_set():
            with contextlib.suppress(TimeoutError):
                question, peer = self._origin.recvfrom(100)
                self._origin.sendto(question, peer)

    def _hear(self) -> None:
        self._client.settimeout(0.1)
        while not self._end.is_set():
            with contextlib.suppress(TimeoutError):
                self._answers.append(int.from_bytes(self._client.recv(100), "big"))

    @property
    def answered(self) -> int:
        """Every question up to this number is answered or lost, since nothing overtakes."""
        return max(self._answers, default=0)

    def lost_since(self, sent: int, patience: float = 3.0) -> int:
        """Questions after number ``sent`` and until now without an answer; twice answered counts too."""
        until, deadline = self.sent, time.monotonic() + patience
        while True:
            answers = [number for number in list(self._answers) if sent < number <= until]
            if len(answers) == until - sent or time.monotonic() > deadline:
                return (until - sent - len(set(answers))) + (len(answers) - len(set(answers)))
            time.sleep(0.05)

    def close(self) -> None:
        self._end.set()
        for each in self._threads:
            each.join()
        self._client.close()
        self._origin.close()


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def vip_of(lab: RunningLab, edge: str) -> str:
    [vip] = [vip for vip in lab.topology.vips if vip.edge == edge and vip.address.version == 4]
    return str(ip_address(vip.address))


def wait_protected(lab: RunningLab, copies: int = 2, timeout: float = 20.0) -> None:
    """Until the edge sends so many copies of each packet, and the gateway of each answer."""
    deadline = time.monotonic() + timeout
    while True:
        [application] = lab.status("edge")["applications"]
        paths = [path for path in lab.status("gateway")["paths"] if path["peer"] == "edge" and path["in_use"]]
        ways_back = sum(path["up"] for path in paths)
        if application["copies_usable"] >= copies and ways_back >= copies:
            return
        assert time.monotonic() < deadline, f"{application}; {paths}"
        time.sleep(0.1)
