"""What a DNS node counts. Labels are bounded: no name and no client is ever one."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

TYPE_NAMES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 43: "DS",
    48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 251: "IXFR", 252: "AXFR", 255: "ANY", 257: "CAA",
}  # fmt: skip
RCODE_NAMES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 16: "BADVERS"}


FAMILIES = {4: "ipv4", 16: "ipv6"}
"""Of senders, by the bytes of a packed address."""
NO_ZONE = "none"
"""Queries that are in none of ours, or could not be read."""

DURATIONS_US = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
PROPAGATIONS_MS = (20, 50, 100, 200, 500, 1000, 2000, 3000, 4000, 5000, 10_000)
SIZES = (64, 128, 256, 512, 1232, 4096, 16_384)
"""Upper bounds of the histograms' buckets; above the last one there is another."""

Frequent = tuple[tuple[str, str], int, str, int | None]
"""Type and zone, bytes of the sender's address, decision, family of the client's prefix."""


@dataclass(slots=True)
class Counters:
    queries: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """(transport, sender's address family, query type, rcode): every query that was answered."""
    responses: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(zone, rcode): the same."""
    frequent: Counter[Frequent] = field(default_factory=Counter)
    """Answers over UDP to ordinary queries, until ``fold``: to count once is quicker than to count five times."""
    faults: Counter[str] = field(default_factory=Counter)
    """By what was wrong with a query that got an error from the gate."""
    drops: Counter[str] = field(default_factory=Counter)
    """By reason: what got no answer."""
    truncated: int = 0
    limited: Counter[str] = field(default_factory=Counter)
    """Answers that the rate limit held back: dropped, or sent truncated (slip)."""
    subnets: Counter[int] = field(default_factory=Counter)
    """Queries with a client prefix, by its address family."""
    cookies: Counter[str] = field(default_factory=Counter)
    """Queries with a DNS cookie, by what it was worth."""
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(application, edge): whose VIP was given."""
    decisions: Counter[str] = field(default_factory=Counter)
    """Steered answers, by why this edge: best, sticky, fail_open (every VIP), fail_closed (none)."""
    switches: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(application, reason): changes that move clients. A reason is what an edge can do from now on, as standings are
    called, ``delay`` or ``spill``."""
    powerdns: Counter[str] = field(default_factory=Counter)
    """Calls of an operator's PowerDNS, by method."""
    connections: int = 0
    """TCP connections open now."""
    closed: Counter[str] = field(default_factory=Counter)
    """TCP connections that are not: the client has ended them (``client``), they were idle, not the most useful among
    too many (``crowded``), broken, or carried what is no query (``unsound``)."""

    bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(received or sent, transport), without what IP, UDP and TCP add."""
    busy_ns: Counter[str] = field(default_factory=Counter)
    """Transport -> nanoseconds that the node's other tasks waited for answers to be made and sent."""
    sizes: dict[str, Counter[int]] = field(default_factory=dict)
    """Transport -> bytes of an answer -> answers."""
    durations: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(transport, bucket of ``DURATIONS_US``): queries by how long their batch took."""
    duration_ns: Counter[str] = field(default_factory=Counter)
    """Transport -> sum of the same over all queries."""

    propagations: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(reason as in ``switches``, bucket of ``PROPAGATIONS_MS``): edges that can do less, by how long answers took to
    follow."""
    propagation_ms: Counter[str] = field(default_factory=Counter)
    """Reason -> sum of the same in milliseconds."""

    def count_propagation(self, reason: str, seconds: float) -> None:
        """Once for an edge, however many applications it has."""
        milliseconds = round(seconds * 1000)
        self.propagations[reason, bisect_left(PROPAGATIONS_MS, milliseconds)] += 1
        self.propagation_ms[reason] += milliseconds

    def count_batch(self, transport: str, received: int, sent: Collection[int], busy_ns: int) -> None:
        """Queries that were read at once, of ``received`` bytes in all, and left as answers of these lengths together
        after ``busy_ns``: that is what each of them took."""
        self.bytes["received", transport] += received
        self.bytes["sent", transport] += sum(sent)
        self.busy_ns[transport] += busy_ns
        if sent:
            if transport not in self.sizes:
                self.sizes[transport] = Counter()
            self.sizes[transport].update(sent)
            self.durations[transport, bisect_left(DURATIONS_US, busy_ns / 1000)] += len(sent)
            self.duration_ns[transport] += busy_ns * len(sent)

    @property
    def answered(self) -> int:
        return self.queries.total() + self.frequent.total()

    def fold(self) -> None:
        """Counts frequent answers where the others are counted: before anything is read."""
        for ((kind, zone), address, reason, subnet), n in self.frequent.items():
            self.queries["udp", FAMILIES[address], kind, "NOERROR"] += n
            self.responses[zone, "NOERROR"] += n
            self.decisions[reason] += n
            if subnet is not None:
                self.subnets[subnet] += n
        self.frequent.clear()

    def flat(self) -> dict[str, int]:
        """One level of names, label values joined by '/': ``queries/udp/ipv4/A/NOERROR``. Of histograms the last label
        is the upper bound of a bucket, in bytes or microseconds; each bucket has only what is in no smaller one."""
        self.fold()
        named: dict[str, int] = {}
        for family in ("queries", "responses", "answers", "switches", "bytes"):
            named |= {f"{family}/{'/'.join(labels)}": n for labels, n in getattr(self, family).items()}
        for family in ("faults", "drops", "decisions", "limited", "cookies", "closed", "powerdns"):
            named |= {f"{family}/{label}": n for label, n in getattr(self, family).items()}
        for family in ("busy", "duration"):
            named |= {f"{family}_us/{transport}": n // 1000 for transport, n in getattr(self, f"{family}_ns").items()}
        for reason, total in self.propagation_ms.items():
            named[f"propagation_ms/{reason}"] = total
            for bucket, bound in enumerate((*PROPAGATIONS_MS, "inf")):
                named[f"propagations/{reason}/{bound}"] = self.propagations[reason, bucket]
        named |= {f"subnets/family{family}": n for family, n in self.subnets.items()}
        for transport, sizes in self.sizes.items():
            for bucket, bound in enumerate((*DURATIONS_US, "inf")):
                named[f"durations/{transport}/{bound}"] = self.durations[transport, bucket]
            named |= {f"sizes/{transport}/{bound}": 0 for bound in (*SIZES, "inf")}
            for size, n in sizes.items():
                named[f"sizes/{transport}/{(*SIZES, 'inf')[bisect_left(SIZES, size)]}"] += n
        single = {
            "truncated": self.truncated,
            "connections": self.connections,
        }
        return dict(sorted(named.items())) | single
