"""The cache at work: which request is answered from disk, which goes to the origin, and what is kept of the answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from braid import log as logs
from braid.from_store import members
from braid.http import forwarded, onward
from content.answer import Answer, Arriving, Bytes, Passing, Stored
from content.directives import directives_of, read_directives
from content.entry import Entry
from content.flights import Flight, Flights, collapsible, joins
from content.freshness import Times, current_age, lifetime
from content.growing import Broken, Growing, is_full
from content.message import Head, Request, field, without, write_date
from content.origin import Exchange, OriginError, body_length
from content.policy import (
    Use,
    conditional,
    confirms,
    freshened,
    good_on_error,
    invalidated,
    judge,
    looked_up,
    may_join,
    reason_not_to_store,
    selected,
    selecting,
    vary_names,
)
from content.ranges import starts_within

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import trio

    from content.origin import Origin
    from content.sites import Site
    from content.store import Store
    from topology.model import IPAddress

log = logs.get(__name__)

NEAR = 1 << 20
"""Bytes from its beginning within which a range makes the whole body worth fetching; one further in is passed on."""
UNREACHED = frozenset(("connect", "tls", "busy"))
"""Reasons of an error for which no origin has heard of a request."""
ERRORS = frozenset((500, 502, 503, 504))
"""For which a stale answer may stand (RFC 5861 4)."""
REASONS = {
    400: "Bad Request", 404: "Not Found", 408: "Request Timeout", 413: "Content Too Large", 421: "Misdirected Request",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout", 508: "Loop Detected",
}  # fmt: skip
"""Of answers of the proxy's own."""
_OWN_TO_REQUESTER = frozenset(("authorization", "cookie"))
"""Reasons not to store that say nothing of others' answers."""


@dataclass(frozen=True, slots=True)
class Ready:
    entry: Entry
    use: Use


class Cache:
    """``wall`` gives Unix seconds; ``nursery`` has the fetches, which go on when a client leaves."""

    def __init__(
        self, name: str, store: Store, origin: Origin, nursery: trio.Nursery, largest: int, wall: Callable[[], float]
    ) -> None:
        self.store = store
        self.largest = largest
        self.counts: Counter[str] = Counter()
        """Requests by what became of them: ``hit``, ``miss``, ``validated``, ``stale``, ``passed``, ``failed``. And
        ``collapsed``, those of them that waited for another's answer; ``client_bytes``; events."""
        self.flights = Flights()
        self.name = name
        self._origin = origin
        self._nursery = nursery
        self._wall = wall

    async def answer(
        self,
        request: Request,
        site: Site,
        client: IPAddress | None,
        body: AsyncGenerator[bytes, None] | None = None,
    ) -> Answer:
        """Never raises for what an origin does. The answer's body has to be closed."""
        if self.name.lower().encode() in _pseudonyms(request):
            return self.own(508, "fwd=bypass; detail=loop")
        inward = self._inward(request, client)
        if body is not None or not looked_up(request):
            return await self._pass(inward, site, body, "method" if not looked_up(request) else "bypass")
        entry, use = self._find(inward)
        if entry is not None and use is not Use.VALIDATE:
            found = await self._stored(entry, "hit")
            if found is not None:
                if use is Use.STALE:
                    self._refresh(inward, entry, site)
                return self._count("hit" if use is Use.FRESH else "stale", found)
            entry = None
        if "only-if-cached" in read_directives(request.headers):
            return self.own(504, "fwd=miss; detail=only-if-cached")
        wanted = request.method == b"GET" and starts_within(request, NEAR)
        if entry is None and not wanted:
            return await self._pass(inward, site, None, "miss")
        return await self._fetch(inward, entry, site)

    def ready(self, request: Request) -> Ready | None:
        """By what a request can be answered now without asking anybody; None: it cannot."""
        if self.name.lower().encode() in _pseudonyms(request) or not looked_up(request):
            return None
        # What only concerns this connection is not the answer's business.
        plain = field(request.headers, b"connection") is None
        entry, use = self._find(request if plain else self._inward(request, None))
        return None if entry is None or use is Use.VALIDATE else Ready(entry, use)

    def at_once(self, request: Request, site: Site, ready: Ready) -> Answer | None:
        """That answer, which has to be closed; None: ``answer`` may have to wait for the disk."""
        descriptor = self.store.open_at_once(ready.entry)
        if descriptor is None:
            return None
        found = self._of_entry(ready.entry, descriptor, "hit")
        if ready.use is Use.STALE:
            self._refresh(self._inward(request, None), ready.entry, site)
        return self._count("hit" if ready.use is Use.FRESH else "stale", found)

    def warm(self, request: Request, site: Site) -> None:
        """Have an answer that is not stored fetched meanwhile, for those that ask next."""
        if self.name.lower().encode() in _pseudonyms(request) or not collapsible(request):
            return
        flights = self.flights
        if request.method != b"GET" or flights.of(request.key) or flights.is_alone(request.key, self._wall()):
            return

        async def fetch() -> None:
            answer = await self._fetch(self._inward(request, None), None, site)
            answer.body.close()

        self._nursery.start_soon(fetch)

    @property
    def origin_bytes(self) -> int:
        """Of bodies that came from origins."""
        return self._origin.received

    async def fetch(self, request: Request, site: Site) -> tuple[Answer, Flight]:
        """Have it stored anew, whatever is there or comes. When the flight has ended its entry says whether it is."""
        flight = self.flights.begin(request, self._wall())
        return await self._lead(self._inward(request, None), None, site, flight), flight

    async def purge(self, concerns: Callable[[str], bool]) -> int:
        """Drop what is stored, and have nothing stored that was asked for before; how many were there."""
        self.flights.outdate(concerns)
        gone = [entry for entry in self.store.index if concerns(entry.key)]
        await self.store.purge(gone)
        return len(gone)

    async def outdate(self, keys: frozenset[str]) -> None:
        """The same for these, which have changed."""
        if keys:
            self.flights.outdate(keys.__contains__)
            await self.store.purge([entry for key in keys for entry in self.store.index.find(key)])

    def _find(self, request: Request) -> tuple[Entry | None, Use]:
        for entry in self.store.index.find(request.key):
            if selected(request, entry.selecting):
                return entry, judge(request, entry.head, entry.times, self._wall())
        return None, Use.VALIDATE

    async def _stored(self, entry: Entry, status: str) -> Answer | None:
        """None when the file is no good: the entry is gone then."""
        descriptor = await self.store.open(entry)
        return None if descriptor is None else self._of_entry(entry, descriptor, status)

    def _of_entry(self, entry: Entry, descriptor: int, status: str) -> Answer:
        self.store.index.touch(entry)
        age = current_age(entry.head, entry.times, self._wall())
        left = round(lifetime(entry.head) - age)
        return Answer(entry.head, Stored(descriptor, entry.length), f"{status}; ttl={left}", age)

    async def _fetch(self, request: Request, entry: Entry | None, site: Site) -> Answer:
        while joins(request) and (flight := self.flights.of(request.key)) is not None:
            together = not flight.decided.is_set()
            await flight.decided.wait()
            if flight.error is not None:
                self.counts["collapsed"] += 1
                return await self._on_error(request, entry) or self._failed(flight.error)
            if (shared := await self._share(request, flight, together=together)) is not None:
                self.counts["collapsed"] += 1
                return shared
            if flight.head is not None:
                # It was not for this one: waiting for another one would only make a queue. Those that come next may
                # join what is asked for now.
                break
        return await self._lead(request, entry, site, self.flights.begin(request, self._wall()))

    async def _share(self, request: Request, flight: Flight, *, together: bool) -> Answer | None:
        if flight.head is None or flight.times is None or not selected(request, flight.selecting):
            return None
        if not may_join(request, flight.head, flight.times, self._wall(), together=together):
            return None
        if flight.entry is not None:
            found = await self._stored(flight.entry, "hit; collapsed")
            return None if found is None else self._count("hit", found)
        if flight.growing is None:
            return None
        try:
            body = Arriving(flight.growing, flight.head)
        except Broken:
            return None
        return self._count("hit", Answer(flight.head, body, "fwd=miss; collapsed"))

    async def _lead(self, request: Request, entry: Entry | None, site: Site, flight: Flight) -> Answer:
        """Ask the origin; others may wait for the ``flight``. It ends here, or where the body has come."""
        goes_on = False
        try:
            requested = self._wall()
            exchange = await self._ask(conditional(request, entry.head if entry else None), site)
            times = Times(requested, self._wall())
            head = exchange.head
            if entry is not None and head.status == 304:
                exchange.close()
                if (found := await self._confirmed(entry, head, times, flight)) is not None:
                    return self._count("validated", found)
                return await self._lead(request, None, site, self.flights.begin(request, self._wall(), shared=False))
            if head.status in ERRORS and (old := await self._on_error(request, entry)) is not None:
                exchange.close()
                flight.error = OriginError(head.status, "error")
                return old
            reason = self._reason(request, head)
            flight.head, flight.times, flight.selecting = head, times, selecting(request, vary_names(head))
            if "no-cache" in directives_of(head.headers):
                self.flights.unshare(request.key, self._wall())
            why = "fwd=stale" if entry else "fwd=miss"
            if reason:
                if reason not in _OWN_TO_REQUESTER:
                    self.flights.unshare(request.key, self._wall())
                return self._count("miss", Answer(head, Passing(exchange), f"{why}; detail={reason}"))
            try:
                id_, descriptor = self.store.create()
            except OSError as error:
                await self._complain(error)
                return self._count("miss", Answer(head, Passing(exchange), f"{why}; detail=disk"))
            growing = Growing(descriptor, self.largest, self.store.make_room)
            body = Arriving(growing, head)
            fresh = Entry(id_, request.key, selecting(request, vary_names(head)), _storable(head), times, 0, 0)
            flight.growing = growing
            self._nursery.start_soon(self._take, exchange, growing, fresh, flight)
            goes_on = True
            return self._count("miss", Answer(head, body, f"{why}; stored"))
        except OriginError as error:
            flight.error = error
            return await self._on_error(request, entry) or self._failed(error)
        finally:
            if goes_on:
                flight.decided.set()
            else:
                self.flights.end(request.key, flight)

    async def _confirmed(self, entry: Entry, head: Head, times: Times, flight: Flight) -> Answer | None:
        """What is stored, after a 304. None where it is gone meanwhile, or that is about something else: it goes."""
        if not confirms(entry.head, head):
            await self.store.purge([entry])
            return None
        newer = await self.store.freshen(entry, freshened(entry.head, head), times)
        flight.head, flight.times, flight.selecting, flight.entry = newer.head, times, newer.selecting, newer
        return await self._stored(newer, "hit; fwd=stale; fwd-status=304")

    async def _take(self, exchange: Exchange, growing: Growing, entry: Entry, flight: Flight) -> None:
        """Carry the body to disk, and make the entry of it when it is complete."""
        stored, problem = False, None
        try:
            while data := await exchange.read():
                await growing.append(data)
            growing.finish()
            if growing.kept and not flight.outdated:
                whole = Entry(
                    entry.id, entry.key, entry.selecting, entry.head, entry.times, growing.length, growing.crc
                )  # fmt: skip
                await self.store.commit(whole, growing.descriptor)
                stored = True
                flight.entry = await self._unless_outdated(whole, flight)
        except (OriginError, Broken):
            self.counts["broken"] += 1
            growing.fail()
        except (OSError, ValueError) as error:
            problem = error
            growing.fail()
        finally:
            if not growing.complete:
                growing.fail()
            self.flights.end(entry.key, flight)
            growing.end()
            if not stored:
                self.store.abandon(entry.id)
            exchange.close()
        if (problem := growing.problem or problem) is not None:
            await self._complain(problem)

    async def _unless_outdated(self, entry: Entry, flight: Flight) -> Entry | None:
        """It may have changed while it was written."""
        if flight.outdated:
            await self.store.purge([entry])
        return None if flight.outdated else entry

    def _refresh(self, request: Request, entry: Entry, site: Site) -> None:
        """Meanwhile, for those that come next."""

        async def refresh() -> None:
            answer = await self._fetch(request, entry, site)
            answer.body.close()

        if self.flights.of(request.key) is None:
            self._nursery.start_soon(refresh)

    async def _on_error(self, request: Request, entry: Entry | None) -> Answer | None:
        if entry is None or not good_on_error(request, entry.head, entry.times, self._wall()):
            return None
        found = await self._stored(entry, "hit; fwd=stale; detail=origin-error")
        return None if found is None else self._count("stale", found)

    async def _pass(self, request: Request, site: Site, body: AsyncGenerator[bytes, None] | None, why: str) -> Answer:
        try:
            exchange = await self._ask(request, site, body)
        except OriginError as error:
            return self._failed(error)
        await self.outdate(invalidated(request, exchange.head))
        return self._count("passed", Answer(exchange.head, Passing(exchange), f"fwd={why}"))

    async def _ask(self, request: Request, site: Site, body: AsyncGenerator[bytes, None] | None = None) -> Exchange:
        self.counts["origin_requests"] += 1
        exchange = await self._origin.ask(site, request, body)
        headers = tuple(onward(exchange.head.headers))
        if field(headers, b"date") is None:
            headers += ((b"date", write_date(self._wall())),)
        exchange.head = Head(exchange.head.status, headers, exchange.head.reason)
        return exchange

    def _inward(self, request: Request, client: IPAddress | None) -> Request:
        """As the origin gets it."""
        headers = onward(request.headers)
        headers.append((b"via", f"1.1 {self.name}".encode()))
        headers = headers if client is None else forwarded(headers, client, https=request.https)
        return replace(request, headers=without(tuple(headers), b"host"))

    def _reason(self, request: Request, head: Head) -> str:
        length = body_length(head.headers)
        return "size" if length is not None and length > self.largest else reason_not_to_store(request, head)

    def _count(self, outcome: str, answer: Answer) -> Answer:
        self.counts[outcome] += 1
        return answer

    def _failed(self, error: OriginError) -> Answer:
        self.counts[f"origin_{error.reason}"] += 1
        own = self.own(error.status, f"fwd=miss; detail={error.status}")
        return self._count("failed", replace(own, unreached=error.reason in UNREACHED))

    def own(self, status: int, cache_status: str) -> Answer:
        """An answer of the proxy's own."""
        body = f"{status} {REASONS[status]}\n".encode()
        headers = (
            (b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"), (b"date", write_date(self._wall())),
        )  # fmt: skip
        return Answer(Head(status, headers, REASONS[status].encode()), Bytes(body), cache_status)

    async def _complain(self, error: Exception) -> None:
        self.counts["disk_errors"] += 1
        log.error("answer is not kept", problem=str(error))
        if is_full(error):
            await self.store.make_room(0)


def _pseudonyms(request: Request) -> set[bytes]:
    """Of the proxies that the request has passed (RFC 9110 7.6.3)."""
    listed = members(field(request.headers, b"via") or b"")
    return {words[1].lower() for each in listed if len(words := each.split()) > 1}


def _storable(head: Head) -> Head:
    """Framing is that of the connection; the length is known when the body is."""
    return Head(head.status, without(head.headers, b"transfer-encoding", b"content-length", b"trailer"), head.reason)
