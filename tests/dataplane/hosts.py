"""Cores on the loopback interface, and waiting for what they say."""

from __future__ import annotations

import json
import select
import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from braid.status.merge import merge
from dataplane import Core
from tests.dataplane.reference import public

if TYPE_CHECKING:
    from dataplane._native import Event, Role

PATIENCE = 10.0
"""Seconds after which a test that waits has failed."""


def free_port(count: int = 1) -> int:
    """A UDP port of the loopback interface that nobody used a moment ago, nor the ports after it."""
    while True:
        with ExitStack() as stack:
            first = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                for following in range(port + 1, port + count):
                    stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("127.0.0.1", following))
                return port


class Host:
    """One Core with a key of its own, bound to a loopback port."""

    def __init__(self, number: int, role: Role = "intermediate", *, start: bool = True, shards: int = 1) -> None:
        self.number, self.shards, self.port = number, shards, free_port(shards)
        self.private = bytes([number]) * 32
        self.public = public(X25519PrivateKey.from_private_bytes(self.private))
        self.address = f"127.0.0.1:{self.port}"
        self.core = Core(
            role=role,
            number=number,
            private_key=self.private,
            listen=[("127.0.0.1", self.port)],
            tun_fds=[],
            mtu=1420,
            shards=shards,
        )
        if start:
            self.core.start()

    def configure(self, neighbours: dict[int, str], shards: dict[int, int] | None = None) -> None:
        specs = [{"node": number, "addresses": [address]} for number, address in neighbours.items()]
        counts = {str(number): count for number, count in (shards or {}).items()}
        self.core.configure(json.dumps({"neighbours": specs, "path_sets": [], "shards": counts}))

    def wait(self, *kinds: str) -> list[Event]:
        """Events up to and with the first of these kinds. AssertionError when none comes."""
        seen: list[Event] = []
        deadline = time.monotonic() + PATIENCE
        while True:
            left = deadline - time.monotonic()
            assert left > 0, f"node {self.number} never said {kinds}, but {seen}; drops {self.drops()}"
            select.select([self.core.event_fd()], [], [], left)
            for event in self.core.events():
                seen.append(event)
                if event[0] in kinds:
                    return seen

    def snapshot(self) -> dict[str, Any]:
        return merge(json.loads(self.core.snapshot()))

    def drops(self) -> dict[str, int]:
        drops: dict[str, int] = self.snapshot()["drops"]
        return drops

    def wait_drops(self, reason: str, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.drops().get(reason, 0) < count:
            assert time.monotonic() < deadline, (
                f"{reason} is {self.drops().get(reason, 0)}, not {count}: {self.drops()}"
            )
            time.sleep(0.01)


def join(a: Host, b: Host) -> None:
    """A neighbour session, initiated by ``a``."""
    a.configure({b.number: b.address}, {b.number: b.shards})
    b.configure({a.number: a.address}, {a.number: a.shards})
    a.core.initiate(b.number, True, b.public, b"certificate of a")
    accept(b)
    a.wait("established")
    b.wait("established")


def accept(host: Host) -> Event:
    """Answers the next initiation, whatever its certificate."""
    event = host.wait("initiation")[-1]
    assert event[0] == "initiation"
    host.core.accept(event[1])
    return event


def udp_socket() -> socket.socket:
    """On a loopback port of its own; waits ``PATIENCE`` for what it is to receive."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(PATIENCE)
    return made
