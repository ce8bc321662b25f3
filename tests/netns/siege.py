"""A node under attack, and what is to be seen of it from outside: the kernel's counters, the cables, its memory."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.dataplane.reference import DATA, DATA_PARTIAL, Refused, decode
from tests.netns.hostile import Heartbeat, Stream, Wire, resident, wire_length

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from lab.running import RunningLab
    from tests.netns.hostile import Address

HEARTBEAT_SIZE = 8
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What changed while ``injected`` datagrams came in."""

    injected: int
    seconds: float
    reasons: Counter[str]
    """Growth of the node's drop counters."""
    discarded: int
    """Copies that its sessions eliminated."""
    forwarded: int
    overflow: int
    """Datagrams that the kernel dropped because the node did not read."""
    to_host: int
    """Packets that the kernel received from the node's TUN device."""
    delivered: list[int]
    """Packets of the recorded stream that reached its end."""
    foreign: list[bytes]
    """Datagrams of data that left the node and are not the heartbeat's."""
    others: int
    """Datagrams of other kinds that left it."""
    memory: int
    """Bytes that the process grew by."""
    asked: int
    crossing: int
    """Heartbeats that may have crossed the node meanwhile: those asked and those under way before."""
    lost: int
    """Heartbeats without an answer, of those asked."""


class Siege:
    def __init__(
        self, lab: RunningLab, target: str, heartbeat: Heartbeat, stream: Stream | None, recorded: list[bytes]
    ) -> None:
        self.lab, self.target, self.heartbeat, self.stream = lab, target, heartbeat, stream
        self.recorded = recorded
        self._fresh = iter(recorded[::-1])
        ends = [(link.a.member, link.b.member) for link in lab.plan.links]
        others = [b if a == target else a for a, b in ends if target in (a, b)]
        self.wires = {name: Wire(lab, name, target) for name in others}

    def fresh(self, count: int) -> list[bytes]:
        """Recorded datagrams that no test has used so far."""
        return [next(self._fresh) for _ in range(count)]

    def strike(self, wire: Wire, datagrams: Iterable[bytes], source: Address | None = None) -> Outcome:
        """Sends them all to the node in the name of the wire's neighbour, and waits for what comes of it."""
        began, answered = time.monotonic(), self.heartbeat.answered
        for each in self.wires.values():
            list(each.from_target.datagrams())
        if self.stream:
            self.stream.delivered()
        before, memory, host = self.lab.status(self.target), self._memory(), self._to_host()
        asked = self.heartbeat.sent
        injected = wire.inject(datagrams, source)
        lost = self.heartbeat.lost_since(asked)
        after = self.lab.status(self.target)
        reasons = Counter(after["drops"])
        reasons.subtract(before["drops"])
        foreign, others = self._sent()
        return Outcome(
            injected=injected,
            seconds=time.monotonic() - began,
            reasons=+reasons,
            discarded=_sum(after, "discarded") - _sum(before, "discarded"),
            forwarded=(after["relay"] or {}).get("forwarded", 0) - (before["relay"] or {}).get("forwarded", 0),
            overflow=after["io"]["rxq_overflow"] - before["io"]["rxq_overflow"],
            to_host=self._to_host() - host,
            delivered=self.stream.delivered() if self.stream else [],
            foreign=foreign,
            others=others,
            memory=self._memory() - memory,
            asked=self.heartbeat.sent - asked,
            crossing=self.heartbeat.sent - answered,
            lost=lost,
        )

    def _sent(self) -> tuple[list[bytes], int]:
        foreign, others = [], 0
        for each in self.wires.values():
            for datagram in each.from_target.datagrams():
                if datagram[0] not in (0x10 | DATA, 0x10 | DATA_PARTIAL):
                    others += 1
                elif not is_heartbeat(datagram):
                    foreign.append(datagram)
        return foreign, others

    def _memory(self) -> int:
        return resident(self.lab.nodes[self.target])

    def _to_host(self) -> int:
        """Packets out of the TUN device, as the kernel counts them."""
        for line in Path(f"/proc/{self.lab.nodes[self.target]}/net/dev").read_text().splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == "braid0":
                return int(numbers.split()[1])
        return 0

    def close(self) -> None:
        for wire in self.wires.values():
            wire.close()
        if self.stream:
            self.stream.close()


def is_heartbeat(sent: bytes) -> bool:
    """One honest datagram of data, or a batch of them that may end with a shorter one of any kind."""
    size = wire_length(HEARTBEAT_SIZE)
    try:
        for at in range(0, len(sent), size):
            decode(sent[at : at + size])
    except Refused:
        return False
    return len(sent) >= size


def _sum(status: dict[str, Any], counter: str) -> int:
    return sum(session["recovery"][counter] for session in status["sessions"])


def check_harmless(outcome: Outcome) -> None:
    """Nothing of it came through, and nobody noticed: neither the honest traffic nor the machine."""
    assert outcome.lost == 0, f"{outcome.lost} of {outcome.asked} honest packets lost"
    assert outcome.overflow == 0
    assert outcome.delivered == []
    assert outcome.to_host <= outcome.crossing + 10, "more than the honest packets left the TUN"
    assert [datagram.hex() for datagram in outcome.foreign] == []
    assert outcome.others <= 100 + 100 * outcome.seconds, "more than probes and the like was sent"
    assert outcome.forwarded <= 2 * outcome.crossing + 100 + 100 * outcome.seconds
    assert outcome.memory <= MIB
