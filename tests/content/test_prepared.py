"""The first answer of a transferred connection, made before its socket may emit."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import h11
import pytest

from content.answer import Answer, Bytes, Stored
from content.asked import read_request
from content.carry import Answering, Source
from content.message import Head
from content.prepared import FIRST, Prepared, prepare
from content.sites import Site
from content.wire import Unkept

if TYPE_CHECKING:
    from pathlib import Path

ASKED = b"GET /a?b#c HTTP/1.1\r\nHost: Web.Example\r\nX: 1\r\nx: 2\r\n\r\n"
SITE = Site(80, ())


def find(host: str, port: int | None) -> Site | None:
    return SITE if (host, port) == ("web.example", None) else None


def made(path: Path, body: bytes, asked: bytes = ASKED, *, status: int = 200) -> Prepared:
    path.write_bytes(body)
    found = read_request(asked, find)
    assert found is not None
    head = Head(status, ((b"etag", b'"1"'), (b"content-type", b"text/plain")), b"Fine")
    answer = Answer(head, Stored(os.open(path, os.O_RDONLY), len(body)), "hit", 3.0)
    prepared = prepare(found[0], len(asked), answer, "cache-1", closes=found[2])
    assert prepared is not None
    return prepared


def test_a_request_is_read_whole_or_not_at_all() -> None:
    found = read_request(ASKED, find)
    assert found is not None
    request, site, closes = found
    assert (request.method, request.host, request.target, site, closes) == (b"GET", "web.example", b"/a?b", SITE, False)
    assert request.headers == ((b"host", b"Web.Example"), (b"x", b"1"), (b"x", b"2"))
    for bad in (
        ASKED[:-1],
        ASKED + b"G",
        ASKED.replace(b"X: 1", b"Content-Length: 1"),
        ASKED.replace(b"X: 1", b"Transfer-Encoding: chunked"),
        ASKED.replace(b"X: 1", b"Host: web.example"),
        ASKED.replace(b"Web", b"Other"),
        ASKED.replace(b"/a", b"a"),
        b"",
    ):
        assert read_request(bad, find) is None, bad


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n", b"Range: bytes=2-4\r\n"])
@pytest.mark.parametrize("size", [0, 10, FIRST + 10])
def test_it_is_an_answer_as_any(tmp_path: Path, more: bytes, size: int) -> None:
    body = os.urandom(size)
    prepared = made(tmp_path / "body", body, ASKED[:-2] + more + b"\r\n")
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/a", headers=[("host", "web.example")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(prepared.answering.begin)
    response = reader.next_event()
    assert isinstance(response, h11.Response)
    fields = dict(response.headers)
    part = body[2:5] if b"Range" in more and size else body
    assert response.status_code == (200 if part is body else 206) or (not size and response.status_code == 416)
    assert (fields[b"content-length"], fields[b"age"], fields[b"via"]) == (b"%d" % len(part), b"3", b"1.1 cache-1")
    assert (fields.get(b"connection") == b"close") is (b"close" in more) is prepared.answering.last
    assert prepared.first == prepared.answering.begin + part[:FIRST]
    assert prepared.answering.length == len(part)
    prepared.close()


def test_what_the_socket_does_not_take_is_left_of_it(tmp_path: Path) -> None:
    body = os.urandom(2 * FIRST)
    prepared = made(tmp_path / "body", body)
    heard: list[tuple[Answering, int | None]] = []

    class Keeper(Unkept):
        def told(self, answering: Answering, descriptor: int | None = None) -> None:
            heard.append((answering, descriptor))

    prepared.tell(Keeper())
    assert heard == [(prepared.answering, prepared.descriptor)]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        sent, rest = prepared.send(ours)
        assert sent == len(prepared.first)
        assert (rest.begin, rest.source, rest.offset, rest.length) == (b"", Source.FILE, FIRST, FIRST)
        ours.close()
        assert prepared.send(ours) == (0, prepared.answering)
    prepared.close()


def test_to_head_there_is_no_body(tmp_path: Path) -> None:
    prepared = made(tmp_path / "body", b"body", ASKED.replace(b"GET", b"HEAD"))
    assert (prepared.first, prepared.descriptor) == (prepared.answering.begin, -1)
    assert prepared.answering.source is Source.NOTHING


def test_what_is_not_from_a_file_is_answered_later() -> None:
    found = read_request(ASKED, find)
    assert found is not None
    assert prepare(found[0], len(ASKED), Answer(Head(200), Bytes(b"own"), "own"), "c", closes=False) is None
