"""The store on a real disk: what a crash leaves, and what damage does."""

from __future__ import annotations

import errno
import os
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from content.entry import Entry
from content.freshness import Times
from content.growing import write_at
from content.message import Head
from content.store import Store
from tests.content.test_service import BODY, fresh, until
from tests.content.web import proxied

if TYPE_CHECKING:
    from pathlib import Path


async def opened(directory: Path, limit: int = 1 << 20) -> Store:
    store = Store(directory, limit)
    await store.load()
    return store


async def put(store: Store, key: str, body: bytes, received: float = 1.0) -> Entry:
    id_, descriptor = store.create()
    os.pwrite(descriptor, body, 0)
    entry = Entry(id_, key, (), Head(200), Times(received, received), len(body), zlib.crc32(body))
    await store.commit(entry, descriptor)
    os.close(descriptor)
    return entry


async def read(store: Store, entry: Entry) -> bytes | None:
    descriptor = await store.open(entry)
    if descriptor is None:
        return None
    data = os.pread(descriptor, 1 << 20, 0)
    os.close(descriptor)
    return data


def files(directory: Path) -> list[Path]:
    return sorted(path for path in (directory / "objects").rglob("*") if path.is_file())


async def test_a_restart_finds_what_was_stored(tmp_path: Path) -> None:
    first = await opened(tmp_path)
    entry = await put(first, "a", b"hello")
    newer = await first.freshen(entry, Head(200, ((b"etag", b'"2"'),)), Times(5.0, 6.0))
    second = await opened(tmp_path)
    assert second.index.find("a") == [newer]
    assert await read(second, newer) == b"hello"
    assert second.counts["damaged"] == 0


async def test_what_a_crash_leaves_is_removed(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    whole = await put(store, "a", b"whole")
    id_, descriptor = store.create()
    os.pwrite(descriptor, b"half", 0)
    os.close(descriptor)
    (tmp_path / "objects" / id_[:2] / f"{id_}.1234.new").write_bytes(b"half a head")
    again = await opened(tmp_path)
    assert [entry.key for entry in again.index] == ["a"]
    assert {path.name for path in files(tmp_path)} == {f"{whole.id}.head", f"{whole.id}.body"}


@pytest.mark.parametrize("part", ["head", "body", "short", "missing"])
async def test_a_damaged_answer_is_dropped_and_counted(tmp_path: Path, part: str) -> None:
    first = await opened(tmp_path)
    entry, sound = await put(first, "a", b"hello"), await put(first, "b", b"sound")
    folder = tmp_path / "objects" / entry.id[:2]
    head, body = folder / f"{entry.id}.head", folder / f"{entry.id}.body"
    match part:
        case "head":
            head.write_bytes(head.read_bytes()[:-1] + b"?")
        case "body":
            body.write_bytes(b"hell0")
        case "short":
            body.write_bytes(b"hell")
    store = await opened(tmp_path)
    if part == "missing":
        body.unlink()
    assert await read(store, sound) == b"sound"
    found = store.index.find("a")
    if part in ("body", "missing"):
        assert await read(store, found[0]) is None
    assert store.index.find("a") == []
    assert store.counts["damaged"] == 1
    assert len(files(tmp_path)) == 2


async def test_the_disk_is_bounded(tmp_path: Path) -> None:
    store = await opened(tmp_path, limit=5 * 8192)
    for number in range(10):
        await put(store, str(number), b"x", received=number)
    assert [entry.key for entry in store.index] == ["9", "8", "7", "6", "5"]
    assert len(files(tmp_path)) == 10
    assert store.counts["evicted"] == 5
    smaller = await opened(tmp_path, limit=2 * 8192)
    assert [entry.key for entry in smaller.index] == ["9", "8"]


async def test_what_is_read_stays_readable(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    entry = await put(store, "a", b"hello")
    descriptor = await store.open(entry)
    assert descriptor is not None
    await store.purge([entry])
    assert files(tmp_path) == []
    assert os.pread(descriptor, 10, 0) == b"hello"
    os.close(descriptor)
    assert await read(store, entry) is None
    assert store.counts["damaged"] == 0


def test_what_a_disk_takes_in_parts_is_written_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = os.pwrite

    def half(descriptor: int, data: bytes, position: int) -> int:
        return real(descriptor, data[: max(1, len(data) // 2)], position)

    monkeypatch.setattr("os.pwrite", half)
    file = tmp_path / "body"
    with file.open("wb") as opened:
        write_at(opened.fileno(), b"0123456789", 3)
    assert file.read_bytes() == bytes(3) + b"0123456789"


@pytest.mark.parametrize("room", [100_000, 70_000])
async def test_a_body_for_which_the_disk_has_no_room_comes_whole(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, room: int
) -> None:
    proxy = await proxied(nursery, monkeypatch, tmp_path / "store")
    proxy.origin.reply = lambda _asked: fresh(proxy)
    real = os.pwrite

    def write(descriptor: int, data: bytes, position: int) -> int:
        if position >= room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[: room - position], position)

    monkeypatch.setattr("os.pwrite", write)
    assert (await proxy.get()).body == BODY
    await until(lambda: not list((tmp_path / "store" / "objects").rglob("*.body")))
    assert proxy.events["disk_errors"] == 1
    assert "stored" not in proxy.events


async def test_where_the_disk_is_smaller_than_the_limit_what_was_not_used_goes(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = await proxied(nursery, monkeypatch, tmp_path / "store")
    proxy.origin.reply = lambda _asked: fresh(proxy)
    real, bodies = os.pwrite, tmp_path / "store" / "objects"

    def write(descriptor: int, data: bytes, position: int) -> int:
        taken = sum(path.stat().st_size for path in bodies.rglob("*.body"))
        if taken + len(data) > 3 * len(BODY):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data, position)

    monkeypatch.setattr("os.pwrite", write)
    for path in ("/1", "/2", "/3", "/4"):
        assert (await proxy.get(path)).body == BODY
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert "hit" in (await proxy.get("/4")).cache
    assert "disk_errors" not in proxy.events
    assert "hit" in (await proxy.get("/3")).cache
    assert "hit" not in (await proxy.get("/1")).cache


async def test_many_answers_are_read_and_purged_while_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("content.store.AT_ONCE", 4)
    first = await opened(tmp_path, 1 << 30)
    for number in range(12):
        await put(first, str(number), b"x")
    store, seen = Store(tmp_path, 1 << 30), [0]

    async def look() -> None:
        while True:
            seen.append(len(store.index))
            await trio.lowlevel.checkpoint()

    def steps() -> list[int]:
        return [abs(after - before) for before, after in pairwise([*seen, len(store.index)])]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await store.load()
        # Of two tasks either may be the first of a turn, so that one has two turns while the other waits.
        assert (sum(steps()), max(steps()) <= 2 * 4) == (12, True)
        seen[:] = [12]
        await store.purge(list(store.index))
        assert (sum(steps()), max(steps()) <= 2 * 4) == (12, True)
        nursery.cancel_scope.cancel()
    assert files(tmp_path) == []
