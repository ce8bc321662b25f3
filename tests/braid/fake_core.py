"""Data planes in memory: cores that speak to each other without sockets, keys or threads."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataplane._native import Event, Hold, Relay, Stored


@dataclass
class Fabric:
    """Joins fake cores by node number. A core that is not in ``cores`` is dead."""

    cores: dict[int, FakeCore] = field(default_factory=dict)
    cut: set[frozenset[int]] = field(default_factory=set)
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def between(self, one: int, other: int) -> bool:
        return one in self.cores and other in self.cores and frozenset((one, other)) not in self.cut


class FakeCore:
    """Implements ``braid.core.CoreApi``. End-to-end messages need one path whose every hop has a session."""

    def __init__(self, fabric: Fabric, number: int, private_key: bytes = b"") -> None:
        self.fabric = fabric
        self.number = number
        self.static_key = private_key
        self.desired: dict[str, Any] = {}
        self.configured = 0
        self.refused: list[str] = []
        self.closed: list[tuple[int, bool]] = []
        self.initiations: list[tuple[int, bool]] = []
        self.sessions: dict[tuple[int, bool], int] = {}
        self.turned = 0
        self.started = self.stopped = False
        self._pending: dict[int, tuple[int, bool]] = {}
        self._events: list[Event] = []
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def start(self) -> None:
        self.started = True
        self.fabric.cores[self.number] = self

    def stop(self) -> None:
        if not self.stopped:
            os.close(self._event_fd)
        self.stopped = True
        self.fabric.cores.pop(self.number, None)

    def event_fd(self) -> int:
        return self._event_fd

    def events(self, limit: int = 256) -> list[Event]:
        given, self._events = self._events[:limit], self._events[limit:]
        if not self._events and given:
            os.eventfd_read(self._event_fd)
        return given

    def let_wait(self, kinds: bytes) -> None: ...

    def push(self, event: Event) -> None:
        if not self._events:
            os.eventfd_write(self._event_fd, 1)
        self._events.append(event)

    def last_turn(self) -> int:
        return self.turned

    def configure(self, desired: str) -> None:
        self.desired = json.loads(desired)
        self.configured += 1

    def set_owner(self, client: tuple[str, int], vip: tuple[str, int], owner: str) -> bool:
        return True

    def offer(
        self,
        fd: int,
        head: bytes | None,
        offer: tuple[bytes, int, bytes],
        proxy: int,
    ) -> tuple[int, bytes, tuple[int, int], tuple[int, int], int, Hold, bool]:
        raise NotImplementedError

    def offers_of(self, relay: Relay, stored: Stored, deadline: int) -> None: ...

    def open_line(self, hears: int, says: int, kinds: bytes) -> None: ...

    def close_line(self) -> None: ...

    def line_is_bad(self) -> bool:
        return False

    def set_syn_keys(self, current: int, keys: list[tuple[int, bytes]], gateways: list[int]) -> None:
        self.syn_keys = (current, keys, gateways)

    def initiate(self, peer: int, adjacent: bool, peer_static: bytes, certificate: bytes) -> None:
        self.initiations.append((peer, adjacent))
        other = self.fabric.cores.get(peer)
        if other is None or other.static_public() != peer_static or not self.reaches(peer, adjacent):
            return
        number = next(self.fabric.ids)
        other._pending[number] = (self.number, adjacent)
        other.push(("initiation", number, self.number, adjacent, self.static_public(), certificate))

    def accept(self, initiation: int) -> None:
        peer, adjacent = self._pending.pop(initiation)
        other = self.fabric.cores.get(peer)
        if other is None:
            return
        for one, another, initiator in ((other, self, True), (self, other, False)):
            key = (another.number, adjacent)
            one.sessions[key] = one.sessions.get(key, 0) + 1
            one.push(("established", another.number, adjacent, one.sessions[key] % 256, initiator, id(another)))

    def refuse(self, initiation: int, reason: str) -> None:
        self._pending.pop(initiation, None)
        self.refused.append(reason)

    def close_session(self, peer: int, adjacent: bool) -> None:
        self.sessions.pop((peer, adjacent), None)
        self.closed.append((peer, adjacent))

    def send_control(self, peer: int, adjacent: bool, message: bytes, wait: bool = True) -> bool:
        other = self.fabric.cores.get(peer)
        if (peer, adjacent) not in self.sessions or other is None:
            return False
        other.push(("control", self.number, adjacent, message))
        return True

    def tell(self, messages: list[tuple[int, bytes]]) -> None:
        for peer, message in messages:
            self.send_control(peer, True, message)

    def take(self, connection: int) -> None:
        raise AssertionError("no connection is asked for here")

    def open_servers(self, taken: list[int], wanted: list[tuple[int, str, int, bool]]) -> list[tuple[str, int] | None]:
        return [None] * len(wanted)

    def hold(self, connection: int) -> bool:
        return False

    def splice(
        self, connection: int, client: bytes, server: bytes, to_client: bytes, to_server: bytes, until: int | None
    ) -> None:
        raise AssertionError("nothing is held here")

    def reset_connection(self, connection: int) -> None:
        raise AssertionError("no connection is asked for here")

    def adopt(self, record: bytes, guest: bool = False) -> int | None:
        return None

    def snapshot(self, whole: bool = True) -> str:
        return json.dumps([{"drops": {}, "io": {}, "neighbours": [], "sessions": [], "paths": []}])

    def arrivals(self) -> str:
        return self.snapshot(False)

    def flows(self, limit: int = 1000) -> str:
        return "[]"

    def static_public(self) -> bytes:
        return self.static_key

    def reaches(self, peer: int, adjacent: bool) -> bool:
        if adjacent:
            return self.fabric.between(self.number, peer)
        routes = [path["route"] for paths in self.desired.get("path_sets", ()) if paths["peer"] == peer
                  for path in paths["paths"]]  # fmt: skip
        return any(self._joined([self.number, *route]) for route in routes)

    def _joined(self, nodes: list[int]) -> bool:
        return all(
            self.fabric.between(one, other) and (other, True) in self.fabric.cores[one].sessions
            for one, other in itertools.pairwise(nodes)
        )

    def lose(self, peer: int, adjacent: bool) -> None:
        """The silence limit has passed."""
        self.sessions.pop((peer, adjacent), None)
        self.push(("down", peer, adjacent))
