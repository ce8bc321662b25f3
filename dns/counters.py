"""What a DNS node counts. Labels are bounded: no name and no client is ever one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

TYPE_NAMES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 43: "DS",
    48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 251: "IXFR", 252: "AXFR", 255: "ANY", 257: "CAA",
}  # fmt: skip
RCODE_NAMES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 16: "BADVERS"}


@dataclass(slots=True)
class Counters:
    queries: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(transport, query type, rcode): every query that was answered."""
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

    def count_turn(self, transport: str, received: int, sent: int, busy_ns: int) -> None:
        self.bytes["received", transport] += received
        self.bytes["sent", transport] += sent
        self.busy_ns[transport] += busy_ns

    def flat(self) -> dict[str, int]:
        """One level of names, label values joined by '/': ``queries/udp/A/NOERROR``."""
        named = {f"queries/{'/'.join(labels)}": n for labels, n in self.queries.items()}
        named |= {f"answers/{'/'.join(labels)}": n for labels, n in self.answers.items()}
        named |= {f"switches/{'/'.join(labels)}": n for labels, n in self.switches.items()}
        named |= {f"bytes/{'/'.join(labels)}": n for labels, n in self.bytes.items()}
        named |= {f"busy_us/{transport}": ns // 1000 for transport, ns in self.busy_ns.items()}
        named |= {f"faults/{reason}": n for reason, n in self.faults.items()}
        named |= {f"drops/{reason}": n for reason, n in self.drops.items()}
        for family in ("decisions", "limited", "cookies", "closed", "powerdns"):
            named |= {f"{family}/{label}": n for label, n in getattr(self, family).items()}
        named |= {f"subnets/family{family}": n for family, n in self.subnets.items()}
        single = {
            "truncated": self.truncated,
            "connections": self.connections,
        }
        return dict(sorted(named.items())) | single
