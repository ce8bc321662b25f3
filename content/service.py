"""The content proxy at work, in a process of its own: the store, what is asked of origins, and clients' connections."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import trio

from braid import log as logs
from braid.beat import beat
from braid.process import allow_descriptors
from braid.role import StartError
from braid.status.content import ContentStatus
from braid.streams import reset_on_close
from braid.tls.terminate import Limits, terminate
from content.cache import Cache
from content.connection import HEAD_TIMEOUT, IDLE_TIMEOUT, ONCE, STALL, ClientConnection
from content.keys import Keys
from content.operator import serve_operator
from content.origin import origin
from content.settings import explain, most_connections, settings_of
from content.sites import Sites
from content.store import Store
from content.transfer import TransferService
from content.wire import Piped, Unkept, Wire, close_file
from topology.table import takes_transfers

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from braid.role import NodeHandle
    from braid.tls.terminate import Agreed
    from content.carry import Answering
    from content.sites import Find, Site
    from content.taken import Keep
    from content.wire import Keeping
    from topology.content import ContentSettings
    from topology.model import IPAddress

log = logs.get(__name__)

POLL = 1.0
"""Seconds between looks at certificates."""


class ContentService:
    """``keep`` has transferred connections kept by whoever outlives this process."""

    def __init__(self, wall: Callable[[], float] = time.time, keep: Keep = lambda *_: Unkept) -> None:
        self.cache: Cache | None = None
        """None until the store is read."""
        self.transfers: TransferService | None = None
        """None where the topology has none for this node."""
        self._wall = wall
        self._keep = keep
        self._settings: ContentSettings | None = None
        self._sites: Sites | None = None
        self.keys: Keys | None = None
        self._connections: dict[ClientConnection, trio.CancelScope] = {}
        self._descriptors = 0
        self._here = 0
        """Connections that are served, or wait for that: for the store, or their handshake."""
        self._draining = False
        self._finishing = trio.Event()
        self._taking = trio.Event()
        """Transferred connections may come."""
        self._read = trio.Event()
        """The store is."""

    async def run(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Started when the store is read; follows reloads.

        ``StartError`` for a directory that cannot be had. Survives what clients, origins and the disk do.
        """
        situation = node.situation()
        self._settings = settings = settings_of(node)
        self._descriptors = allow_descriptors()
        self._sites = Sites(situation.topology, situation.node)
        self.keys = keys = Keys(situation.node)
        directory = Path(settings.directory)
        store = Store(directory, settings.size)
        with origin(lambda: keys.origin) as asks:
            async with trio.open_nursery() as nursery:
                cache = Cache(situation.node, store, asks, nursery, settings.largest, self._wall)
                self.cache = cache
                if takes_transfers(situation.topology, situation.node):
                    self.transfers = TransferService(
                        cache, self.find, self._wall, self._has_room, lambda: self._draining, keys, self.serve_tls,
                        self._keep, self._read,
                    )  # fmt: skip
                    await nursery.start(self.transfers.run, node)
                self._taking.set()
                await self._read_keys(node, keys)
                try:
                    await store.load()
                except OSError as error:
                    raise StartError(explain(directory, error)) from error
                log.info(
                    "content read", answers=len(store.index), bytes=store.index.bytes, damaged=store.counts["damaged"]
                )
                await nursery.start(serve_operator, directory, cache, self.find, self._wall)
                nursery.start_soon(self._follow_keys, node, keys)
                self._read.set()
                task_status.started()
                while True:
                    await node.reloaded().wait()
                    self._reload(node, cache)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._here += 1
        try:
            yield
        finally:
            self._here -= 1

    async def serve(
        self,
        opened: socket.socket,
        client: IPAddress,
        keeping: Keeping,
        begun: Answering | None = None,
        descriptor: int = -1,
    ) -> None:
        """A client's connection, or what is left of one, to its end. The descriptors are closed."""
        try:
            with self._counted():
                await self._may_go_on(begun)
                await self._answer(Wire(opened, keeping), client, self.find, begun, descriptor)
        finally:
            close_file(descriptor)
        # Not when this process ends by a bug: the next one goes on.
        keeping.ended()

    async def _may_go_on(self, begun: Answering | None) -> None:
        await self._taking.wait()
        if begun is None or not begun.can_go_on_alone:
            # Without the store everything would be asked of origins.
            await self._read.wait()

    async def serve_secure(self, stream: trio.SocketStream, client: IPAddress, keeping: Keeping) -> None:
        """A client at an address for TLS, to its end. Closes the stream."""
        # The keys of the connection go with this process.
        keeping.told(ONCE)
        with self._counted():
            await self._read.wait()
            await self.serve_tls(stream, client)
        keeping.ended()

    async def serve_tls(
        self,
        stream: trio.SocketStream,
        client: IPAddress,
        sent: Callable[[int], None] = lambda _count: None,
        idle: float | None = None,
    ) -> None:
        """A client whose TLS ends here, to its end; ``sent`` hears of bytes of answers. ``idle``: for how long one that
        moved here may be so. Closes the stream."""
        assert self.cache is not None
        context = None if self.keys is None else self.keys.context
        counts, find = self.cache.counts, partial(self.find, https=True)

        async def clear(far: trio.SocketStream, _agreed: Agreed) -> bool:
            return await self._answer(Piped(far), client, find, sent=sent, idle=idle)

        def count(reason: str) -> None:
            counts[reason] += 1

        if context is None:
            counts["tls_no_certificate"] += 1
            reset_on_close(stream)
            await stream.aclose()
        else:
            limits = Limits(HEAD_TIMEOUT, idle or IDLE_TIMEOUT, idle or STALL)
            await terminate(stream, context, clear, count, limits, self._finishing)

    async def _answer(
        self,
        wire: Wire | Piped,
        client: IPAddress,
        find: Find,
        begun: Answering | None = None,
        descriptor: int = -1,
        sent: Callable[[int], None] = lambda _count: None,
        idle: float | None = None,
    ) -> bool:
        """Serve what is in clear text, and close the wire; whether it ended in order."""
        assert self.cache is not None
        try:
            connection = ClientConnection(
                wire, client, self.cache, find, self.cache.name, lambda: self._draining, sent=sent,
                idle=idle or IDLE_TIMEOUT, stall=idle or STALL,
            )  # fmt: skip
            with trio.CancelScope() as scope:
                self._connections[connection] = scope
                try:
                    if begun is not None and not await connection.go_on(begun, descriptor):
                        return True
                    await self._read.wait()
                    return await connection.serve()
                finally:
                    del self._connections[connection]
            return not connection.busy
        finally:
            wire.close()

    async def adopt(
        self, opened: socket.socket, data: bytes, keeping: Keeping, begun: Answering | None, descriptor: int
    ) -> None:
        """A transferred connection that another worker had; ``data`` is what it had kept of it."""
        with self._counted():
            await self._may_go_on(begun)
        if self.transfers is None:
            # The topology has no transfers for this node any more.
            opened.close()
            keeping.ended()
            return
        self.transfers.adopt(opened, data, keeping, begun, descriptor)

    def receive(self, peer: int, adjacent: bool, message: bytes, now: float) -> None:
        """A control message."""
        if self.transfers is not None and adjacent:
            self.transfers.receive(peer, message, now)

    def find(self, host: str, port: int | None, *, https: bool = False) -> Site | None:
        return None if self._sites is None else self._sites.find(host, port, https=https)

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with files that TLS needs: key of the topology file, and a remedy."""
        return {} if self.keys is None else self.keys.problems

    def finish(self) -> bool:
        """End connections between two requests. True while others are under way."""
        self._draining = True
        self._finishing.set()
        for connection, scope in self._connections.items():
            if not connection.busy:
                scope.cancel()
        taken = self.transfers.finish() if self.transfers else False
        return taken or bool(self._connections)

    def _has_room(self) -> bool:
        """For one connection more."""
        assert self._settings is not None
        taken = len(self.transfers.taken) if self.transfers else 0
        return self._read.is_set() and self._here + taken < most_connections(self._settings, self._descriptors)

    def status(self) -> ContentStatus | None:
        if self.cache is None:
            return None
        store, counts = self.cache.store, self.cache.counts
        outcomes = ("hit", "miss", "validated", "stale", "passed", "failed")
        told = {word: counts[word] for word in counts if word not in (*outcomes, "client_bytes")}
        return ContentStatus(
            answers=len(store.index),
            bytes=store.index.bytes,
            bytes_limit=store.index.limit,
            connections=len(self._connections),
            fetches=len(self.cache.flights),
            requests={word: counts[word] for word in outcomes},
            client_bytes=counts["client_bytes"],
            origin_bytes=self.cache.origin_bytes,
            events=dict(sorted((told | store.counts).items())),
        )

    def _reload(self, node: NodeHandle, cache: Cache) -> None:
        situation = node.situation()
        self._settings = settings = settings_of(node)
        self._sites = Sites(situation.topology, situation.node)
        cache.largest, cache.store.index.limit = settings.largest, settings.size

    async def _follow_keys(self, node: NodeHandle, keys: Keys) -> NoReturn:
        while True:
            await beat(POLL)
            await self._read_keys(node, keys)

    async def _read_keys(self, node: NodeHandle, keys: Keys) -> None:
        before, settings = keys.problems, settings_of(node)
        directory = node.topology_file.parent if node.topology_file else Path()
        await trio.to_thread.run_sync(keys.look, settings, directory)
        for what, problem in keys.problems.items():
            if before.get(what) != problem:
                log.error("file refused, the last good one stays in use", what=what, problem=problem)
