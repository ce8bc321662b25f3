"""One query and one view become one answer. RFC 1034/1035, 2308, 3597, 4343, 6891, 7828, 7871, 7873, 8020, 8482."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from dns import gate
from dns.chaos import CLASS_CH
from dns.client import client_of
from dns.counters import FAMILIES, NO_ZONE, RCODE_NAMES, TYPE_NAMES
from dns.explain import asks_to_explain, explain_reply
from dns.frequent import MOST_ANSWERS, NOTHING, SHAPES, remember, udp_limit
from dns.gate import Drop, Fault, Query
from dns.limit import Verdict
from dns.message import QR, RD, pack, truncated
from dns.options import COOKIE, KEEPALIVE, NSID, Edns, opt_record, option, subnet_option
from dns.records import TYPE_TXT
from dns.zone import NODATA, Reply, Zone
from topology.model import ClientSubnetUse

if TYPE_CHECKING:
    from dns.asker import Additional, Asker
    from dns.client import Client
    from dns.cookies import Cookies
    from dns.counters import Counters
    from dns.frequent import Shape
    from dns.limit import RateLimiter
    from dns.view import View
    from dns.zone import Steered

Transport = Literal["udp", "tcp"]

NOERROR, NXDOMAIN = 0, 3
CLASS_IN = 1
KEEPALIVE_UNIT = 0.1
"""Seconds, RFC 7828 section 3.1."""

TCP_SIZE = 65535

_BYTE = [bytes((number,)) for number in range(256)]
_EMPTY = Reply()


class Result(NamedTuple):
    rcode: int
    reply: Reply = _EMPTY
    zone: Zone | None = None
    """Whose data this is: the answer is authoritative."""
    scope: int = 0
    """Prefix length of clients for whom it is right; 0 is everybody."""


_REFUSED = Result(gate.REFUSED)


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
        view = self.view
        shape = SHAPES.get(data[2:12]) if transport == "udp" else None
        asked, end = None, 0
        if shape is not None:
            end = data.find(0, 12) + 5
            asked = view.zones.steered.get(data[12:end].lower())
            if asked is not None:
                rest = data[end:]
                additional = view.additionals.get(rest) if rest else NOTHING
                if additional is not None and shape.opt == bool(rest):
                    return self._respond_to_frequent(data, end, shape, asked, additional, client, now)
        query = gate.read(data)
        if isinstance(query, Query) and asked is not None:
            remember(view, data[end:], query.edns)
        return self._respond(query, data[:2], client, transport, now, unix, local)

    def _respond_to_frequent(
        self, data: bytes, end: int, shape: Shape, asked: Steered, additional: Additional, client: bytes, now: float
    ) -> bytes | None:
        """Most answers stand in the view; ``_respond_to_steered`` makes the same ones, and all others."""
        view, counters = self.view, self.counters
        asker = additional.asker or view.sender(client)
        settled = view.settle(asked.application, asker.cell)
        edge, tail = settled.edge, additional.tail
        if edge is None:
            edge, tail = view.preferred.get((settled.equals, asker.prefix)), additional.prefix_tail
        if edge is None:
            return self._respond_to_steered(data, end, shape, asked, additional, asker, client, now)
        reply = (asked.vips_degraded if asked.application in view.troubled else asked.vips)[edge]
        if reply is None or reply.answers > MOST_ANSWERS:
            return self._respond_to_steered(data, end, shape, asked, additional, asker, client, now)
        answer = b"".join((data[:2], shape.heads[reply.answers], data[12:end], reply.answer, tail))
        if len(answer) > additional.limit:
            return self._respond_to_steered(data, end, shape, asked, additional, asker, client, now)
        counters.answers[asked.application, view.edge_names[edge]] += 1
        counters.frequent[asked.counted, len(client), settled.reason, additional.family] += 1
        if not self.limiter.per_second:
            return answer
        return self._limited(answer, data[12:end], QR | shape.rd, tail, client, now)

    def _respond_to_steered(
        self, data: bytes, end: int, shape: Shape, asked: Steered, additional: Additional, asker: Asker,
        client: bytes, now: float,
    ) -> bytes | None:  # fmt: skip
        counters, opt = self.counters, additional.opt
        result = steer(asked, asker.client, self.view, counters)
        kind, zone = asked.counted
        counters.queries["udp", FAMILIES[len(client)], kind, "NOERROR"] += 1
        counters.responses[zone, "NOERROR"] += 1
        if additional.after is not None and additional.family is not None:
            opt += _BYTE[result.scope] + additional.after
            counters.subnets[additional.family] += 1
        return self._finish(data[:2], data[12:end], QR | shape.rd, result, opt, additional.limit, client, now)

    def _respond(
        self, query: Query | Fault | Drop, ident: bytes, client: bytes, transport: Transport, now: float, unix: int,
        local: bool,
    ) -> bytes | None:  # fmt: skip
        counters, view = self.counters, self.view
        if isinstance(query, Drop):
            counters.drops[query.reason] += 1
            return None
        options, known = b"", False
        if isinstance(query, Fault):
            counters.faults[query.reason] += 1
            result, label, flags = Result(query.rcode), "other", query.opcode << 11
        else:
            result, label, flags = self._resolve(query, client, view, local), TYPE_NAMES.get(query.qtype, "other"), 0
            if query.edns is not None:
                options, known = self._options(query.edns, client, transport, result.scope, unix)
        flags |= QR | RD * query.rd | result.rcode & 15
        rcode, zone = RCODE_NAMES[result.rcode], NO_ZONE if result.zone is None else result.zone.name
        counters.queries[transport, FAMILIES[len(client)], label, rcode] += 1
        counters.responses[zone, rcode] += 1
        opt = b"" if query.edns is None else opt_record(result.rcode, query.edns.do, options)
        if transport == "tcp":
            return pack(ident, query.question, flags, result.reply, result.zone, opt, TCP_SIZE)
        limit = udp_limit(query.edns)
        return self._finish(ident, query.question, flags, result, opt, limit, None if known else client, now)

    def _finish(
        self, ident: bytes, question: bytes, flags: int, result: Result, opt: bytes, limit: int,
        client: bytes | None, now: float,
    ) -> bytes | None:  # fmt: skip
        """The answer over UDP if the rate limit lets it go to ``client``; None is whom it does not count."""
        answer = pack(ident, question, flags, result.reply, result.zone, opt, limit)
        if answer[2] & 2:
            self.counters.truncated += 1
        return answer if client is None else self._limited(answer, question, flags, opt, client, now)

    def _limited(
        self, answer: bytes, question: bytes, flags: int, opt: bytes, client: bytes, now: float
    ) -> bytes | None:
        verdict = self.limiter.judge(client, len(answer), now)
        if verdict is Verdict.SEND:
            return answer
        self.counters.limited[verdict.value] += 1
        return None if verdict is Verdict.DROP else truncated(answer[:2], question, flags, opt)

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

    def _resolve(self, query: Query, client: bytes, view: View, local: bool) -> Result:
        if query.qclass != CLASS_IN:
            if not query.question:
                return Result(NOERROR)
            if (query.qclass, query.qtype) != (CLASS_CH, TYPE_TXT):
                return _REFUSED
            if local and asks_to_explain(query.name):
                asker = client_of(client, query.edns.subnet if query.edns else None, ClientSubnetUse.ALL)
                return Result(NOERROR, explain_reply(view, query.name, asker))
            reply = view.chaos.get(query.name)
            return _REFUSED if reply is None else Result(NOERROR, reply)
        found = view.zones.find(query.name)
        if found is None:
            return _REFUSED
        zone, name = found
        if name is None:
            return Result(NXDOMAIN, NODATA, zone)
        asked = name.steered.get(query.qtype)
        if asked is not None:
            subnet = None if query.edns is None else query.edns.subnet
            asker = client_of(client, subnet, view.config.settings.client_subnet)
            return steer(asked, asker, view, self.counters)
        return Result(NOERROR, name.replies.get(query.qtype, name.otherwise), zone)


def steer(asked: Steered, client: Client, view: View, counters: Counters) -> Result:
    """The VIPs for one client, counted as an answer."""
    application, zone = asked.application, asked.zone
    edges, scope, reason, _ = view.decide(client.version, client.number, application)
    if not client.passed_on:
        scope = 0
    counters.decisions[reason] += 1
    vips = asked.vips_degraded if application in view.troubled else asked.vips
    if len(edges) == 1:
        counters.answers[application, view.edge_names[edges[0]]] += 1
        reply = vips[edges[0]]
    else:
        reply = _merged([found for edge in edges if (found := vips[edge]) is not None])
    if reply is None:
        # Elsewhere it may be different, unless no edge has addresses of this family.
        return Result(NOERROR, NODATA, zone, scope if asked.varies else 0)
    return Result(NOERROR, reply, zone, scope)


def _merged(replies: list[Reply]) -> Reply | None:
    if not replies:
        return None
    return Reply(b"".join(reply.answer for reply in replies), sum(reply.answers for reply in replies))
