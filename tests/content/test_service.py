"""The content proxy on loopback: real sockets, an origin that answers as the test says, a clock that it sets."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest
import trio

from content.message import write_date
from tests.content.web import HOST, Asked, Proxied, Reply, proxied

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BODY = bytes(range(256)) * 1024


@pytest.fixture
async def proxy(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Proxied:
    return await proxied(nursery, monkeypatch, tmp_path / "store")


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - counters have no event
            await trio.sleep(0.005)


async def stored(proxy: Proxied, count: int = 1) -> None:
    """A body is stored a moment after its last byte has gone to the client."""
    await until(lambda: proxy.events.get("stored", 0) >= count)


def fresh(proxy: Proxied, body: bytes = BODY, **headers: str) -> Reply:
    told = {"date": write_date(proxy.now[0]).decode(), "cache-control": "max-age=60"}
    return Reply(headers=told | {name.replace("_", "-"): value for name, value in headers.items()}, body=body)


async def test_the_second_request_is_a_hit(proxy: Proxied) -> None:
    proxy.origin.reply = lambda _asked: fresh(proxy, etag='"1"')
    first = await proxy.get()
    assert (first.status, first.body, first.cache) == (200, BODY, "fwd=miss; stored")
    await stored(proxy)
    proxy.now[0] += 5
    second = await proxy.get()
    assert (second.status, second.body, second.cache) == (200, BODY, "hit; ttl=55")
    assert (second.headers["age"], second.headers["via"], second.headers["etag"]) == ("5", "1.1 c-1", '"1"')
    assert second.headers["content-length"] == str(len(BODY))
    (asked,) = proxy.origin.asked
    assert (asked.target, asked.headers["host"], asked.headers["via"]) == ("/a", HOST, "1.1 c-1")
    assert asked.headers["x-forwarded-for"] == "127.0.0.1"
    assert proxy.requests == {"miss": 1, "hit": 1}


async def test_ranges_conditions_and_head_are_answered_from_the_store(proxy: Proxied) -> None:
    proxy.origin.reply = lambda _asked: fresh(proxy, etag='"1"')
    client = await proxy.connect()
    async with client.stream:
        await client.ask()
        await stored(proxy)
        part = await client.ask(range="bytes=1000-1999")
        assert (part.status, part.body) == (206, BODY[1000:2000])
        assert part.headers["content-range"] == f"bytes 1000-1999/{len(BODY)}"
        large = await client.ask(range="bytes=1-200000")
        assert (large.status, large.body) == (206, BODY[1:200001])
        assert (await client.ask(range=f"bytes={len(BODY)}-")).status == 416
        known = await client.ask(if_none_match='"0", W/"1"')
        assert (known.status, known.body, known.headers["etag"]) == (304, b"", '"1"')
        head = await client.ask(method="HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(BODY)))
    assert len(proxy.origin.asked) == 1


async def test_a_range_of_what_is_not_stored(proxy: Proxied) -> None:
    proxy.origin.reply = lambda asked: (
        Reply(206, {"content-range": "bytes 2000000-2000000/2000001"}, b"x")
        if "range" in asked.headers
        else fresh(proxy)
    )
    near = await proxy.get(range="bytes=200000-200009")
    assert (near.status, near.body) == (206, BODY[200000:200010])
    await stored(proxy)
    far = await proxy.get("/far", range="bytes=2000000-")
    assert (far.status, far.body, far.cache) == (206, b"x", "fwd=miss")
    assert [asked.headers.get("range") for asked in proxy.origin.asked] == [None, "bytes=2000000-"]


async def test_a_stale_answer_is_validated(proxy: Proxied) -> None:
    def reply(asked: Asked) -> Reply:
        if asked.headers.get("if-none-match") == '"1"':
            return Reply(304, {"cache-control": "max-age=100", "date": write_date(proxy.now[0]).decode()})
        return fresh(proxy, etag='"1"')

    proxy.origin.reply = reply
    await proxy.get()
    await stored(proxy)
    proxy.now[0] += 61
    again = await proxy.get()
    assert (again.status, again.body, again.headers["cache-control"]) == (200, BODY, "max-age=100")
    proxy.now[0] += 90
    assert (await proxy.get()).cache == "hit; ttl=10"
    assert proxy.requests == {"miss": 1, "validated": 1, "hit": 1}


@pytest.mark.parametrize(("back", "asked"), [(3.0, 1), (3600.0, 2)])
async def test_a_clock_that_is_set_back_keeps_nothing_fresh_for_so_much_longer(
    proxy: Proxied, back: float, asked: int
) -> None:
    proxy.origin.reply = lambda _asked: fresh(proxy, etag='"1"')
    await proxy.get()
    await stored(proxy)
    proxy.now[0] -= back
    assert (await proxy.get()).body == BODY
    assert len(proxy.origin.asked) == asked
    if asked == 2:
        await stored(proxy, 2)
    assert (await proxy.get()).cache.startswith("hit; ttl=")
    assert len(proxy.origin.asked) == asked


async def test_a_directory_that_was_emptied_meanwhile_is_used_again(proxy: Proxied) -> None:
    proxy.origin.reply = lambda _asked: fresh(proxy)
    await proxy.get()
    await stored(proxy)
    shutil.rmtree(proxy.directory / "objects")
    assert (await proxy.get()).body == BODY
    await stored(proxy, 2)
    assert (await proxy.get()).cache.startswith("hit")
    assert proxy.events["damaged"] == 1
    assert "disk_errors" not in proxy.events


async def test_a_changed_answer_replaces_the_stored_one(proxy: Proxied) -> None:
    proxy.origin.reply = lambda _asked: fresh(proxy, etag='"1"')
    await proxy.get()
    await stored(proxy)
    proxy.now[0] += 61
    proxy.origin.reply = lambda _asked: fresh(proxy, b"new", etag='"2"')
    assert (await proxy.get()).body == b"new"
    await stored(proxy, 2)
    assert (await proxy.get()).body == b"new"
    # The new one counts as stored before the file of the old one is gone.
    await until(lambda: len(list((proxy.directory / "objects").rglob("*.body"))) == 1)


async def test_variants_are_kept_apart(proxy: Proxied) -> None:
    proxy.origin.reply = lambda asked: fresh(proxy, asked.headers["accept-language"].encode(), vary="accept-language")
    for count, language in enumerate(("de", "sv"), 1):
        assert (await proxy.get(accept_language=language)).body == language.encode()
        await stored(proxy, count)
    for language in ("de", "sv"):
        assert (await proxy.get(accept_language=language)).body == language.encode()
    assert len(proxy.origin.asked) == 2


async def test_requests_at_the_same_time_go_to_the_origin_once(proxy: Proxied) -> None:
    hold = trio.Event()

    def reply(_asked: Asked) -> Reply:
        made = fresh(proxy)
        made.hold = hold
        return made

    proxy.origin.reply = reply
    bodies: list[bytes] = []

    async def ask(**headers: str) -> None:
        bodies.append((await proxy.get(**headers)).body)

    async with trio.open_nursery() as clients:
        for _ in range(10):
            clients.start_soon(ask)
        await until(lambda: proxy.events.get("collapsed", 0) == 9)
        hold.set()
    assert bodies == [BODY] * 10
    assert len(proxy.origin.asked) == 1


async def test_answers_for_one_client_are_not_shared(proxy: Proxied) -> None:
    waiting = trio.Event()

    async def reply(asked: Asked) -> Reply:
        if len(proxy.origin.asked) == 1:
            await waiting.wait()
        return fresh(proxy, asked.headers["cookie"].encode(), cache_control="private")

    proxy.origin.reply = reply
    bodies: dict[str, bytes] = {}

    async def ask(cookie: str) -> None:
        bodies[cookie] = (await proxy.get(cookie=cookie)).body

    async with trio.open_nursery() as clients:
        for cookie in ("a", "b", "c"):
            clients.start_soon(ask, cookie)
        await trio.sleep(0.05)
        waiting.set()
    assert bodies == {"a": b"a", "b": b"b", "c": b"c"}
    assert "stored" not in proxy.events
    assert not list((proxy.directory / "objects").rglob("*.body"))


async def test_a_client_that_leaves_does_not_end_the_fetch(proxy: Proxied) -> None:
    hold = trio.Event()

    def reply(_asked: Asked) -> Reply:
        made = fresh(proxy)
        made.hold = hold
        return made

    proxy.origin.reply = reply
    client = await proxy.connect()
    await client.stream.send_all(f"GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    await client.stream.receive_some(1000)
    await client.stream.aclose()
    hold.set()
    await stored(proxy)
    assert (await proxy.get()).body == BODY
    assert len(proxy.origin.asked) == 1


async def test_a_body_that_breaks_off_is_not_stored(proxy: Proxied) -> None:
    def reply(_asked: Asked) -> Reply:
        made = fresh(proxy)
        made.cut = 1000
        return made

    proxy.origin.reply = reply
    with pytest.raises(Exception, match=r"peer closed|without sending"):
        await proxy.get()
    assert proxy.events["broken"] == 1
    proxy.origin.reply = lambda _asked: fresh(proxy)
    assert (await proxy.get()).cache == "fwd=miss; stored"


@pytest.mark.parametrize("chunked", [False, True])
async def test_what_is_too_large_is_passed_on_and_not_kept(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chunked: bool
) -> None:
    proxy = await proxied(nursery, monkeypatch, tmp_path, largest=150_000)

    def reply(_asked: Asked) -> Reply:
        made = fresh(proxy)
        made.chunked = chunked
        return made

    proxy.origin.reply = reply
    for _ in range(2):
        assert (await proxy.get()).body == BODY
    assert len(proxy.origin.asked) == 2
    await until(lambda: not list((tmp_path / "objects").rglob("*.body")))


async def test_a_chunked_body_is_stored_with_its_length(proxy: Proxied) -> None:
    def reply(_asked: Asked) -> Reply:
        made = fresh(proxy)
        made.chunked = True
        return made

    proxy.origin.reply = reply
    assert (await proxy.get()).body == BODY
    await stored(proxy)
    again = await proxy.get()
    assert (again.body, again.headers["content-length"]) == (BODY, str(len(BODY)))


async def test_an_unsafe_request_is_passed_on_and_invalidates(proxy: Proxied) -> None:
    proxy.origin.reply = lambda asked: (
        fresh(proxy, etag='"1"') if asked.method == "GET" else Reply(201, {"location": "/b"}, asked.body)
    )
    for path in ("/a", "/b", "/c"):
        await proxy.get(path)
    await stored(proxy, 3)
    posted = await proxy.get("/a", "POST", b"hello" * 20_000)
    assert (posted.status, posted.body, posted.cache) == (201, b"hello" * 20_000, "fwd=method")
    assert [entry.key for entry in proxy.service.cache.store.index] == [f"http://{HOST}/c"]  # type: ignore[union-attr]


async def test_when_the_origin_fails(proxy: Proxied) -> None:
    proxy.origin.reply = lambda _asked: fresh(proxy, cache_control="max-age=60, stale-if-error=100")
    await proxy.get()
    await stored(proxy)
    proxy.now[0] += 70
    proxy.origin.reply = lambda _asked: Reply(503)
    old = await proxy.get()
    assert (old.status, old.body, old.cache) == (200, BODY, "hit; fwd=stale; detail=origin-error; ttl=-10")
    proxy.now[0] += 100
    assert (await proxy.get()).status == 503


async def test_stale_while_revalidate_does_not_wait(proxy: Proxied) -> None:
    proxy.origin.reply = lambda _asked: fresh(proxy, b"old", cache_control="max-age=60, stale-while-revalidate=60")
    await proxy.get()
    await stored(proxy)
    proxy.now[0] += 70
    release = trio.Event()

    async def reply(_asked: Asked) -> Reply:
        await release.wait()
        return fresh(proxy, b"new")

    proxy.origin.reply = reply
    for _ in range(3):
        assert (await proxy.get()).body == b"old"
    release.set()
    await stored(proxy, 2)
    assert (await proxy.get()).body == b"new"
    assert len(proxy.origin.asked) == 2


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: shop.apps.example:81\r\n\r\n", 421),
        (b"GET http://shop.apps.example:80/ HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: shop.apps.example\r\nVia: 1.0 x, 1.1 C-1\r\n\r\n", 508),
        (b"GET / HTTP/1.1\r\nHost: shop.apps.example\r\nCache-Control: only-if-cached\r\n\r\n", 504),
        (b"CONNECT shop.apps.example:80 HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", 431),
    ],
)
async def test_requests_of_all_kinds(proxy: Proxied, request_: bytes, status: int) -> None:
    client = await proxy.connect()
    async with client.stream:
        await client.stream.send_all(request_)
        answer = b""
        with trio.fail_after(60):
            while b"\r\n\r\n" not in answer:
                answer += await client.stream.receive_some(65536)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert all(b"\r\n" not in line for line in answer.split(b"\r\n"))


async def test_pipelined_requests_are_answered_in_order(proxy: Proxied) -> None:
    proxy.origin.reply = lambda asked: fresh(proxy, asked.target.encode())
    client = await proxy.connect()
    async with client.stream:
        await client.stream.send_all(
            b"".join(f"GET /{number} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode() for number in range(5))
        )
        answers = b""
        with trio.fail_after(60):
            while len(found := re.findall(rb"\r\n\r\n/([0-9])", answers)) < 5:
                answers += await client.stream.receive_some(65536)
    assert found == [b"0", b"1", b"2", b"3", b"4"]


async def test_connections_to_the_origin_are_kept_and_replaced(proxy: Proxied) -> None:
    proxy.origin.reply = lambda asked: Reply(200, {}, asked.body)
    for _ in range(3):
        assert (await proxy.get(method="POST", body=b"x")).body == b"x"
    assert proxy.origin.connections == 1
    proxy.origin.close_all()
    assert (await proxy.get()).status == 200
    assert proxy.origin.connections == 2


async def test_an_origin_that_cannot_be_reached(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = await proxied(nursery, monkeypatch, tmp_path)
    monkeypatch.setattr("content.sites.Sites._addresses", lambda *_: ())
    answer = await proxy.get("/a", host="shop.apps.example")
    assert (answer.status, answer.headers["cache-control"]) == (502, "no-store")
    assert proxy.events["origin_connect"] == 1


async def test_a_drain_ends_idle_connections_and_lets_others_finish(proxy: Proxied) -> None:
    hold = trio.Event()

    def reply(_asked: Asked) -> Reply:
        made = fresh(proxy)
        made.hold = hold
        return made

    proxy.origin.reply = reply
    idle, busy = await proxy.connect(), await proxy.connect()
    bodies: list[bytes] = []

    async def ask() -> None:
        bodies.append((await busy.ask()).body)

    # The nursery ends first: the client may have bytes to read when the service is done with it.
    async with idle.stream, busy.stream, trio.open_nursery() as clients:
        clients.start_soon(ask)
        await until(lambda: proxy.requests.get("miss"))
        assert proxy.service.finish()
        assert await idle.stream.receive_some(1) == b""
        hold.set()
        await until(lambda: not proxy.service.finish())
    assert bodies == [BODY]
