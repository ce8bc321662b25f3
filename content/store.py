"""Stored answers on disk: ``ID.body`` and ``ID.head`` in 256 folders, and the index of them in memory.

A body is written first, then its head under another name, each synced before the next step; the rename of the head is
what makes an answer exist. So a crash leaves whole answers, and files that the next start removes.
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from braid.errors import BadPacket
from content.entry import Entry, decode, encode
from content.index import Index

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from content.freshness import Times
    from content.message import Head

_CHUNK = 1 << 20
AT_ONCE = 200
"""Entries of many that are taken in, or go, before others have their turn: some 10 ms."""


class Store:
    """``limit`` is the most that all files occupy, in bytes. Everything is called from the trio thread."""

    def __init__(self, directory: Path, limit: int) -> None:
        self.index = Index(limit)
        self.counts: Counter[str] = Counter()
        """``stored``, ``evicted``, ``purged``, ``damaged``."""
        self._objects = directory / "objects"
        self._unverified: set[str] = set()
        """Read from disk at the start: the body's checksum is yet to be looked at."""

    async def load(self) -> None:
        """Make the folders and the index of what is there. OSError when the directory cannot be used."""
        entries = await trio.to_thread.run_sync(self._read_all)
        entries.sort(key=lambda each: each.times.received)
        for some in batched(entries):
            await self._remove([gone for entry in some for gone in self.index.add(entry)], "evicted")
            await trio.lowlevel.checkpoint()
        self._unverified = {entry.id for entry in self.index}

    def _read_all(self) -> list[Entry]:
        found: list[Entry] = []
        for number in range(256):
            folder = self._objects / f"{number:02x}"
            folder.mkdir(parents=True, exist_ok=True)
            names = {path.name: path for path in folder.iterdir()}
            wanted: set[str] = set()
            for name, path in names.items():
                id_, _, kind = name.partition(".")
                body = names.get(f"{id_}.body")
                if kind != "head" or body is None:
                    continue
                try:
                    entry = decode(id_, path.read_bytes())
                    if body.stat().st_size != entry.length:
                        raise BadPacket("entry_body")
                except BadPacket:
                    self.counts["damaged"] += 1
                    continue
                found.append(entry)
                wanted |= {name, body.name}
            for name in names.keys() - wanted:
                names[name].unlink(missing_ok=True)
        return found

    def create(self) -> tuple[str, int]:
        """A new id, and a descriptor of its empty body to write and read."""
        id_ = secrets.token_hex(16)
        path, flags = self._path(id_, "body"), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return id_, os.open(path, flags, 0o600)
        except FileNotFoundError:
            # Somebody has emptied the directory while we run.
            path.parent.mkdir(parents=True, exist_ok=True)
            return id_, os.open(path, flags, 0o600)

    async def commit(self, entry: Entry, descriptor: int) -> None:
        """The body is complete: from now on the entry is there, also after a crash."""
        await trio.to_thread.run_sync(self._commit, entry, descriptor)
        self.counts["stored"] += 1
        await self._remove(self.index.add(entry), "evicted")

    async def make_room(self, wanted: int) -> None:
        """The disk is full before the limit is reached."""
        await self._remove(self.index.shrink(wanted), "evicted")

    async def freshen(self, entry: Entry, head: Head, times: Times) -> Entry:
        """The answer was confirmed: it gets a new head. The entry that is in force."""
        newer = replace(entry, head=head, times=times)
        if entry.id not in self.index:
            return newer
        await self._remove(self.index.add(newer), "evicted")
        await trio.to_thread.run_sync(self._commit, newer, None)
        if newer.id not in self.index:
            # It went while it was written.
            await trio.to_thread.run_sync(self._unlink, newer.id)
        return newer

    def open_at_once(self, entry: Entry) -> int | None:
        """A descriptor of the body to read, where it is known to be what was stored; None: ``open`` may find it."""
        if entry.id in self._unverified:
            return None
        try:
            return os.open(f"{self._objects}/{entry.id[:2]}/{entry.id}.body", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None

    async def open(self, entry: Entry) -> int | None:
        """A descriptor of the body to read; None, and the entry is gone, when it is not what was stored."""
        try:
            descriptor = os.open(self._path(entry.id, "body"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            await self._drop_damaged(entry)
            return None
        if entry.id in self._unverified:
            try:
                sound = await trio.to_thread.run_sync(_crc, descriptor) == (entry.length, entry.crc)
            except BaseException:
                os.close(descriptor)
                raise
            if not sound:
                os.close(descriptor)
                await self._drop_damaged(entry)
                return None
            self._unverified.discard(entry.id)
        return descriptor

    async def purge(self, entries: list[Entry]) -> None:
        """All of them, also when the caller is cancelled."""
        with trio.CancelScope(shield=True):
            present: list[Entry] = []
            for some in batched(entries):
                present += [entry for entry in some if self.index.remove(entry.id)]
                await trio.lowlevel.checkpoint()
            await self._remove(present, "purged")

    def abandon(self, id_: str) -> None:
        """A body that will not be complete."""
        self._unlink(id_)

    async def _drop_damaged(self, entry: Entry) -> None:
        if self.index.remove(entry.id):
            await self._remove([entry], "damaged")

    async def _remove(self, entries: list[Entry], why: str) -> None:
        for entry in entries:
            self.counts[why] += 1
            self._unverified.discard(entry.id)
        if entries:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._unlink, *(entry.id for entry in entries))

    def _commit(self, entry: Entry, descriptor: int | None) -> None:
        if descriptor is not None:
            os.fsync(descriptor)
        final = self._path(entry.id, "head")
        temporary = self._path(entry.id, f"{secrets.token_hex(4)}.new")
        with temporary.open("xb") as file:
            file.write(encode(entry))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(final)
        folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _unlink(self, *ids: str) -> None:
        """The head first: without it there is no entry."""
        for id_ in ids:
            for kind in ("head", "body"):
                with suppress(OSError):
                    self._path(id_, kind).unlink()

    def _path(self, id_: str, kind: str) -> Path:
        return self._objects / id_[:2] / f"{id_}.{kind}"


def batched(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    return (entries[start : start + AT_ONCE] for start in range(0, len(entries), AT_ONCE))


def _crc(descriptor: int) -> tuple[int, int]:
    """Length and CRC-32 of a file."""
    length = crc = 0
    while chunk := os.pread(descriptor, _CHUNK, length):
        length, crc = length + len(chunk), zlib.crc32(chunk, crc)
    return length, crc
