"""Answers that come to others, or from before a change, and who must not have them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.content.test_service import fresh, stored, until
from tests.content.web import Asked, Proxied, Reply, proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def proxy(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Proxied:
    return await proxied(nursery, monkeypatch, tmp_path / "store")


@asynccontextmanager
async def asking_first(proxy: Proxied) -> AsyncIterator[list[bytes]]:
    """A client has asked, and the origin has heard it; at the end it has its answer, which is in the list then."""
    got: list[bytes] = []

    async def ask() -> None:
        got.append((await proxy.get()).body)

    async with trio.open_nursery() as clients:
        clients.start_soon(ask)
        await until(lambda: len(proxy.origin.asked) == 1)
        yield got


async def test_what_was_asked_for_before_an_unsafe_request_answers_none_behind_it(proxy: Proxied) -> None:
    hold = trio.Event()
    version = b"old"

    def reply(asked: Asked) -> Reply:
        nonlocal version
        if asked.method == "POST":
            version = b"new"
            return Reply()
        made = fresh(proxy, version * 1000)
        made.hold = hold if version == b"old" else None
        return made

    proxy.origin.reply = reply
    async with asking_first(proxy) as got:
        assert (await proxy.get("/a", "POST", b"x")).status == 200
        assert (await proxy.get()).body == b"new" * 1000
        hold.set()
    assert got == [b"old" * 1000]
    await stored(proxy)
    await until(lambda: not len(proxy.service.cache.flights))  # type: ignore[union-attr]
    assert (await proxy.get()).body == b"new" * 1000
    assert proxy.events["stored"] == 1
    assert len(list((proxy.directory / "objects").rglob("*.body"))) == 1


async def test_who_says_no_cache_gets_an_answer_of_its_own(proxy: Proxied) -> None:
    hold = trio.Event()

    def reply(_asked: Asked) -> Reply:
        made = fresh(proxy, b"%d" % len(proxy.origin.asked) * 1000)
        made.hold = hold if len(proxy.origin.asked) == 1 else None
        return made

    proxy.origin.reply = reply
    async with asking_first(proxy) as got:
        assert (await proxy.get(cache_control="no-cache")).body == b"2" * 1000
        hold.set()
    assert got == [b"1" * 1000]


async def test_a_304_that_names_something_else_is_asked_for_again(proxy: Proxied) -> None:
    proxy.origin.reply = lambda _asked: fresh(proxy, b"old", etag='"1"', cache_control="max-age=1")
    await proxy.get()
    await stored(proxy)
    proxy.now[0] += 2
    proxy.origin.reply = lambda asked: (
        Reply(304, {"etag": '"2"'}) if "if-none-match" in asked.headers else fresh(proxy, b"new", etag='"2"')
    )
    got = await proxy.get()
    assert (got.body, got.headers["etag"]) == (b"new", '"2"')
    assert len(proxy.origin.asked) == 3
