"""From where a connection goes on whose content proxy is gone, and with what."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.tcp.record import TcpRecord, Window
from braid.transfer_progress import Promised, Seen
from gateway.transfer.going_on import MARGIN, Afresh, Reset, Rest, ask_for, skipped, way_on
from topology.model import SocketAddress

ASKED = b"GET /a HTTP/1.1\r\nHost: shop\r\nCookie: x\r\nRange: bytes=5-\r\nIf-None-Match: *\r\nTE: a\r\n\r\n"
NEXT = (1 << 32) - 100
"""The answer crosses the end of the numbers."""
LEFT = TcpRecord(
    SocketAddress(IPv4Address("10.91.1.130"), 80), SocketAddress(IPv4Address("10.91.1.10"), 4000), NEXT, 5000, 1380,
    (7, 7), True, 100, Window(4990, 1000, 2000, 3000, 4990), ASKED,
)  # fmt: skip
BEGIN = b"HTTP/1.1 206 Partial\r\n\r\n"
PROMISED = Promised(bytes(16), NEXT, 5000, BEGIN, 5, 600, 1000, b'"1"', last=False, request=b"")
END = (NEXT + len(BEGIN) + 600) % (1 << 32)


def seen(client: int | None, proxy: int | None = None) -> Seen:
    return Seen(spoken=True, client=None if client is None else client % (1 << 32), proxy=proxy)


def test_where_the_client_got_nothing_its_request_is_served() -> None:
    assert way_on(LEFT, PROMISED, Seen(spoken=False), 1.5) == Afresh(replace(LEFT, timestamp=100 + 1500 + MARGIN))


@pytest.mark.parametrize("promised", [PROMISED, None])
def test_what_the_client_has_acknowledged_was_sent_also_where_the_edge_has_forgotten_it(
    promised: Promised | None,
) -> None:
    way = way_on(LEFT, promised, Seen(spoken=False, client=(NEXT + 5) % (1 << 32)), 0.0)
    assert isinstance(way, Reset)
    assert way.why == "unknown"
    assert isinstance(way_on(LEFT, promised, Seen(spoken=False, client=NEXT), 0.0), Afresh)


@given(st.integers(0, len(BEGIN) + 599))
def test_it_goes_on_behind_what_the_client_has(got: int) -> None:
    way = way_on(LEFT, PROMISED, seen(NEXT + got), 0.0)
    assert isinstance(way, Rest)
    record = way.record
    assert (record.send_next, record.receive_next, record.unread) == ((NEXT + got) % (1 << 32), 5000, b"")
    assert record.window == Window(5000, 1000, 2000, 3000, 5000)
    whole = BEGIN + bytes(600)
    assert way.begin + bytes(way.length) == whole[got:]
    assert way.offset + way.length == 605
    assert (way.request, way.etag, way.total) == (ASKED, b'"1"', 1000)


def test_nothing_acknowledged_is_its_beginning() -> None:
    way = way_on(LEFT, PROMISED, seen(None), 0.0)
    assert isinstance(way, Rest)
    assert (way.begin, way.record.send_next) == (BEGIN, NEXT)


def test_between_two_requests_there_is_nothing_to_send() -> None:
    way = way_on(LEFT, PROMISED, seen(END), 0.0)
    assert isinstance(way, Afresh)
    assert (way.record.send_next, way.record.unread) == (END, b"")
    last = way_on(LEFT, replace(PROMISED, last=True), seen(END), 0.0)
    assert isinstance(last, Rest)
    assert (last.begin, last.length, last.last) == (b"", 0, True)


@pytest.mark.parametrize(
    ("promised", "what", "why"),
    [
        (None, seen(NEXT), "unknown"),
        (PROMISED, None, "unknown"),
        (replace(PROMISED, etag=b""), seen(NEXT), "changing"),
        (PROMISED, seen(END + 1), "mismatch"),
        (PROMISED, seen(NEXT - 1), "mismatch"),
        (PROMISED, seen(END, 5001), "request"),
    ],
)
def test_what_is_reset(promised: Promised | None, what: Seen | None, why: str) -> None:
    way = way_on(LEFT, promised, what, 0.0)
    assert isinstance(way, Reset)
    assert way.why == why
    assert way.record.send_next == (NEXT if what is None or what.client is None else what.client)


def test_without_a_body_no_entity_tag_is_needed() -> None:
    bare = replace(PROMISED, etag=b"", length=0, offset=0, total=0)
    way = way_on(LEFT, bare, seen(NEXT + 3), 0.0)
    assert isinstance(way, Rest)
    assert (way.begin, way.length) == (BEGIN[3:], 0)


def test_the_request_that_is_asked_is_the_last_one() -> None:
    later = replace(PROMISED, first=(NEXT + 100) % (1 << 32), request_end=5010, request=b"GET /b ")
    way = way_on(LEFT, later, seen(NEXT + 150, 5010), 0.0)
    assert isinstance(way, Rest)
    assert (way.request, way.record.receive_next) == (b"GET /b ", 5010)


def rest(request: bytes = ASKED) -> Rest:
    return Rest(LEFT, b"", 10, 90, 1000, b'"1"', last=False, request=request)


def test_the_rest_is_asked_for_as_the_client_did() -> None:
    asked = ask_for(rest())
    assert isinstance(asked, h11.Request)
    assert (asked.method, asked.target) == (b"GET", b"/a")
    assert dict(asked.headers) == {
        b"host": b"shop", b"cookie": b"x", b"range": b"bytes=10-99", b"if-range": b'"1"',
    }  # fmt: skip
    assert ask_for(rest(ASKED.replace(b"GET", b"PUT"))) is None
    assert ask_for(rest(ASKED[:-2])) is None
    assert ask_for(rest(b"\0\r\n\r\n")) is None


@pytest.mark.parametrize(
    ("status", "headers", "before"),
    [
        (206, {b"etag": b'"1"', b"content-range": b"bytes 10-99/1000"}, 0),
        (206, {b"etag": b'"1"', b"content-range": b"bytes 4-999/1000"}, 6),
        (206, {b"etag": b'"1"', b"content-range": b"bytes 11-99/1000"}, None),
        (206, {b"etag": b'"1"', b"content-range": b"bytes 10-98/1000"}, None),
        (206, {b"etag": b'"1"', b"content-range": b"bytes 10-99/1001"}, None),
        (206, {b"etag": b'"2"', b"content-range": b"bytes 10-99/1000"}, None),
        (206, {b"etag": b'"1"', b"content-range": b"bytes 10-99/*"}, None),
        (206, {b"content-range": b"bytes 10-99/1000"}, None),
        (200, {b"etag": b'"1"', b"content-length": b"1000"}, 10),
        (200, {b"etag": b'"1"', b"content-length": b"999"}, None),
        (200, {b"etag": b'"1"'}, None),
        (404, {b"etag": b'"1"', b"content-length": b"1000"}, None),
    ],
)
def test_only_the_same_answer_has_the_rest(status: int, headers: dict[bytes, bytes], before: int | None) -> None:
    assert skipped(rest(), status, headers.items()) == before
