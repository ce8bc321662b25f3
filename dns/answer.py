"""One query and one view become one answer. RFC 1034/1035, 2308, 3597, 4343, 6891, 7828, 7871, 7873, 8020, 8482."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal, NamedTuple

from dns import gate
from dns.chaos import CLASS_CH
from dns.client import client_of
from dns.counters import RCODE_NAMES, TYPE_NAMES
from dns.explain import asks_to_explain, explain_reply
from dns.gate import Drop, Fault, Query
from dns.limit import Verdict
from dns.options import COOKIE, KEEPALIVE, NSID, UDP_SIZE, Edns, opt_record, option, subnet_option
from dns.records import TYPE_A, TYPE_AAAA, TYPE_TXT
from dns.zone import NODATA, Reply, Zone
from topology.model import ClientSubnetUse

if TYPE_CHECKING:
    from dns.cookies import Cookies
    from dns.counters import Counters
    from dns.limit import RateLimiter
    from dns.view import View
    from dns.zone import Name

Transport = Literal["udp", "tcp"]

NOERROR, NXDOMAIN = 0, 3
CLASS_IN = 1
KEEPALIVE_UNIT = 0.1
"""Seconds, RFC 7828 section 3.1."""

_HEADER = struct.Struct("!6H")
_QR, _AA, _TC, _RD = 0x8000, 0x0400, 0x0200, 0x0100
_PLAIN_UDP = 512
_TCP_SIZE = 65535
_EMPTY = Reply()


class _Result(NamedTuple):
    rcode: int
    reply: Reply = _EMPTY
    zone: Zone | None = None
    """Whose data this is: the answer is authoritative."""
    scope: int = 0
    """Prefix length of clients for whom it is right; 0 is everybody."""


_REFUSED = _Result(gate.REFUSED)


class Responder:
    """Answers single messages; ``view`` is replaced by one assignment, between two of them."""

    def __init__(
        self, view: View, cookies: Cookies, limiter: RateLimiter, counters: Counters, tcp_idle: float = 0.0
    ) -> None:
        """``tcp_idle``: seconds after which an idle TCP connection ends, for clients that ask (RFC 7828)."""
        self.view = view
        self.cookies = cookies
        self.limiter = limiter
        self.counters = counters
        self._keepalive = option(KEEPALIVE, round(tcp_idle / KEEPALIVE_UNIT).to_bytes(2, "big"))

    def respond(
        self, data: bytes, client: bytes, transport: Transport, now: float, unix: int, *, local: bool = False
    ) -> bytes | None:
        """Returns the answer to one message, or None for none. ``client`` is the packed address it came from, ``now``
        monotonic and ``unix`` Unix time in seconds; ``local`` says that it came from this host, for certain.

        Never raises for anything in ``data``.
        """
        query = gate.read(data)
        counters, view = self.counters, self.view
        if isinstance(query, Drop):
            counters.drops[query.reason] += 1
            return None
        options, known = b"", False
        if isinstance(query, Fault):
            counters.faults[query.reason] += 1
            result, label, flags = _Result(query.rcode), "other", query.opcode << 11
        else:
            result, label, flags = self._resolve(query, client, view, local), TYPE_NAMES.get(query.qtype, "other"), 0
            if query.edns is not None:
                options, known = self._options(query.edns, client, transport, result.scope, unix)
        flags |= _QR | _RD * query.rd | result.rcode & 15
        counters.queries[transport, label, RCODE_NAMES[result.rcode]] += 1
        tail = b"" if query.edns is None else opt_record(result.rcode, query.edns.do, options)
        limit = _TCP_SIZE
        if transport == "udp":
            limit = _PLAIN_UDP if query.edns is None else min(max(query.edns.udp_size, _PLAIN_UDP), UDP_SIZE)
        answer = _pack(query, flags, result, tail, limit)
        counters.truncated += answer[2] & 2 > 0
        if transport == "tcp" or known:
            return answer
        return self._within_limits(query, flags, tail, client, answer, now)

    def _within_limits(
        self, query: Query | Fault, flags: int, tail: bytes, client: bytes, answer: bytes, now: float
    ) -> bytes | None:
        verdict = self.limiter.judge(client, len(answer), now)
        if verdict is Verdict.SEND:
            return answer
        self.counters.limited[verdict.value] += 1
        if verdict is Verdict.DROP:
            return None
        question = query.question
        return _HEADER.pack(query.id, flags | _TC, bool(question), 0, 0, bool(tail)) + question + tail

    def _options(self, edns: Edns, client: bytes, transport: Transport, scope: int, unix: int) -> tuple[bytes, bool]:
        """The options of the answer, and whether the client is known to be where its address says."""
        options, known = b"", False
        if edns.subnet is not None and self.view.config.settings.client_subnet is not ClientSubnetUse.OFF:
            self.counters.subnets[edns.subnet.family] += 1
            options += subnet_option(edns.subnet, scope)
        if edns.cookie is not None:
            verdict, cookie = self.cookies.check(edns.cookie, client, unix)
            known = verdict.known
            self.counters.cookies[verdict.value] += 1
            options += option(COOKIE, cookie)
        if edns.nsid and self.view.nsid is not None:
            options += option(NSID, self.view.nsid)
        if edns.keepalive and transport == "tcp":
            options += self._keepalive
        return options, known

    def _resolve(self, query: Query, client: bytes, view: View, local: bool) -> _Result:
        if query.qclass != CLASS_IN:
            if not query.question:
                return _Result(NOERROR)
            if (query.qclass, query.qtype) != (CLASS_CH, TYPE_TXT):
                return _REFUSED
            if local and asks_to_explain(query.name):
                asker = client_of(client, query.edns.subnet if query.edns else None, ClientSubnetUse.ALL)
                return _Result(NOERROR, explain_reply(view, query.name, asker))
            reply = view.chaos.get(query.name)
            return _REFUSED if reply is None else _Result(NOERROR, reply)
        found = view.zones.find(query.name)
        if found is None:
            return _REFUSED
        zone, name = found
        if name is None:
            return _Result(NXDOMAIN, NODATA, zone)
        if name.application is not None and query.qtype in (TYPE_A, TYPE_AAAA):
            return self._steer(query, name, name.application, client, view)
        return _Result(NOERROR, name.replies.get(query.qtype, name.otherwise), zone)

    def _steer(self, query: Query, name: Name, application: str, source: bytes, view: View) -> _Result:
        subnet = None if query.edns is None else query.edns.subnet
        client = client_of(source, subnet, view.config.settings.client_subnet)
        decision = view.decide(client.version, client.number, application)
        scope = decision.scope if client.passed_on else 0
        edges, zones = decision.edges, view.zones
        self.counters.decisions[decision.reason] += 1
        vips = zones.vips_degraded if application in view.troubled else zones.vips
        if len(edges) == 1:
            self.counters.answers[application, view.edge_names[edges[0]]] += 1
            reply = vips[edges[0], application].get(query.qtype)
        else:
            reply = _merged(
                [found for edge in edges if (found := vips[edge, application].get(query.qtype)) is not None]
            )
        if reply is None:
            # Elsewhere it may be different, unless no edge has addresses of this family.
            return _Result(NOERROR, NODATA, name.zone, scope if query.qtype in zones.kinds.get(application, ()) else 0)
        return _Result(NOERROR, reply, name.zone, scope)


def _merged(replies: list[Reply]) -> Reply | None:
    if not replies:
        return None
    return Reply(b"".join(reply.answer for reply in replies), sum(reply.answers for reply in replies))


def _pack(query: Query | Fault, flags: int, result: _Result, tail: bytes, limit: int) -> bytes:
    question, reply, zone = query.question, result.reply, result.zone
    body, authority = reply.answer, 0
    if zone is not None:
        flags |= _AA
        if reply.negative:
            # The zone's name stands at the end of the question's: that is where negative answers point to.
            offset = 12 + len(question) - 4 - len(zone.apex)
            body += (0xC000 | offset).to_bytes(2, "big").join(zone.soa)
            authority = 1
    room = limit - 12 - len(question) - len(body) - len(tail)
    if room < 0:
        return _HEADER.pack(query.id, flags | _TC, bool(question), 0, 0, bool(tail)) + question + tail
    if reply.extras and len(reply.extra) <= room:
        body += reply.extra
        counts = (bool(question), reply.answers, authority, reply.extras + bool(tail))
    else:
        counts = (bool(question), reply.answers, authority, bool(tail))
    return _HEADER.pack(query.id, flags, *counts) + question + body + tail
