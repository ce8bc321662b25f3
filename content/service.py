"""The content proxy on its sockets: clients' connections, the store, and the operator's socket."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import trio

from braid import log as logs
from braid.bind import bind
from braid.linux import LinuxError
from braid.process import allow_descriptors
from braid.role import StartError
from braid.status.content import ContentStatus
from braid.streams import reset_on_close
from braid.tls.terminate import Limits, terminate
from content.cache import Cache
from content.connection import HEAD_TIMEOUT, IDLE_TIMEOUT, ClientConnection
from content.keys import Keys
from content.local import apply, clear
from content.operator import serve_operator
from content.origin import origin
from content.reach import Local, vips_of
from content.sites import Sites
from content.store import Store
from content.transfer import TransferService
from topology.transfer import takes_transfers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from braid.role import NodeHandle
    from braid.tls.terminate import Agreed
    from content.sites import Site
    from topology.content import ContentSettings
    from topology.model import IPAddress

    Serve = Callable[[trio.SocketStream, IPAddress], Awaitable[None]]

log = logs.get(__name__)

RETRY = 0.1
"""Seconds until a listener tries again that could not accept, for want of descriptors."""
POLL = 1.0
"""Seconds between looks at certificates."""


class ContentService:
    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self.cache: Cache | None = None
        """None until the store is read."""
        self.listening = False
        self._wall = wall
        self._settings: ContentSettings | None = None
        self._sites: Sites | None = None
        self._connections: dict[ClientConnection, trio.CancelScope] = {}
        self._accepting: list[trio.CancelScope] = []
        self._draining = False
        self._finishing = trio.Event()
        self.keys: Keys | None = None
        self._refused = 0
        self.transfers: TransferService | None = None
        self._local = Local()

    async def run(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Started when every address is listened on and the store is read; follows reloads.

        ``StartError`` for an address or directory that cannot be had. Survives what clients, origins and the disk do.
        """
        situation = node.situation()
        self._settings = settings = _settings(node)
        self._sites = Sites(situation.topology, situation.node)
        self.keys = keys = Keys(situation.node)
        await self._read_keys(node, keys)
        allow_descriptors()
        directory = Path(settings.directory)
        lock = _lock(directory)
        has_tun = takes_transfers(situation.topology, situation.node)
        listeners: list[socket.socket] = []
        try:
            listeners += [await bind(address, socket.SOCK_STREAM, "content.listen") for address in settings.listen]
            by_tls = [await bind(address, socket.SOCK_STREAM, "content.tls.listen") for address in settings.tls_listen]
            listeners += by_tls
            store = Store(directory, settings.size)
            try:
                await store.load()
            except OSError as error:
                raise StartError(_explain(directory, error)) from error
            log.info("content read", answers=len(store.index), bytes=store.index.bytes, damaged=store.counts["damaged"])
            with origin(lambda: keys.origin) as asks:
                async with trio.open_nursery() as nursery:
                    cache = Cache(situation.node, store, asks, nursery, settings.largest, self._wall)
                    self.cache = cache
                    await nursery.start(serve_operator, directory, cache, self.find)
                    if has_tun:
                        await clear()
                        await self._set_up(node)
                        self.transfers = TransferService(
                            cache, self.find, self._wall, self._has_room, lambda: self._draining, keys, self.serve_tls
                        )
                        await nursery.start(self.transfers.run, node)
                    nursery.start_soon(self._follow_keys, node, keys)
                    for listener in listeners:
                        serve = self._serve_tls if listener in by_tls else self._serve
                        accepting = trio.socket.from_stdlib_socket(listener)
                        nursery.start_soon(self._accept, accepting, serve, nursery)
                    self.listening = True
                    task_status.started()
                    while True:
                        await node.reloaded().wait()
                        self._reload(node, cache)
                        if has_tun:
                            await self._set_up(node)
        finally:
            if has_tun:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                    await clear()
            for listener in listeners:
                listener.close()
            os.close(lock)

    def find(self, host: str, port: int | None, *, https: bool = False) -> Site | None:
        return None if self._sites is None else self._sites.find(host, port, https=https)

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with files that TLS needs: key of the topology file, and a remedy."""
        return {} if self.keys is None else self.keys.problems

    def finish(self) -> bool:
        """Take no more connections, and end those between two requests. True while others are under way."""
        self._draining = True
        self._finishing.set()
        for accepting in self._accepting:
            accepting.cancel()
        for connection, scope in self._connections.items():
            if not connection.busy:
                scope.cancel()
        taken = self.transfers.finish() if self.transfers else False
        return taken or bool(self._connections)

    def _has_room(self) -> bool:
        """For one connection more."""
        assert self._settings is not None
        taken = len(self.transfers.taken) if self.transfers else 0
        return len(self._connections) + taken < self._settings.connections

    async def _set_up(self, node: NodeHandle) -> None:
        """Have the kernel deliver the packets of transferred connections."""
        situation = node.situation()
        wanted = Local(frozenset(vips_of(situation.topology, situation.node)))
        try:
            warnings = await apply(self._local, wanted)
        except LinuxError as error:
            warnings = [str(error)]
        for warning in warnings:
            log.warning("network is not as it should be", problem=warning)
        self._local = wanted

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
            events=dict(sorted((told | store.counts | {"refused": self._refused}).items())),
        )

    def _reload(self, node: NodeHandle, cache: Cache) -> None:
        situation = node.situation()
        self._settings = settings = _settings(node)
        self._sites = Sites(situation.topology, situation.node)
        cache.largest, cache.store.index.limit = settings.largest, settings.size

    async def _follow_keys(self, node: NodeHandle, keys: Keys) -> NoReturn:
        while True:
            await trio.sleep(POLL)
            await self._read_keys(node, keys)

    async def _read_keys(self, node: NodeHandle, keys: Keys) -> None:
        before, settings = keys.problems, _settings(node)
        directory = node.topology_file.parent if node.topology_file else Path()
        await trio.to_thread.run_sync(keys.look, settings, directory)
        for what, problem in keys.problems.items():
            if before.get(what) != problem:
                log.error("file refused, the last good one stays in use", what=what, problem=problem)

    async def _accept(self, listener: trio.socket.SocketType, serve: Serve, nursery: trio.Nursery) -> None:
        self._accepting.append(trio.CancelScope())
        with self._accepting[-1], listener:
            while True:
                try:
                    accepted, peer = await listener.accept()
                except OSError as error:
                    log.debug("connection not accepted", problem=str(error))
                    await trio.sleep(RETRY)
                    continue
                client = ip_address(peer[0].partition("%")[0])
                nursery.start_soon(serve, trio.SocketStream(accepted), client)

    async def _serve(self, stream: trio.SocketStream, client: IPAddress) -> None:
        if self._has_room():
            await self._answer(stream, client, self.find)
        else:
            self._refused += 1
            await stream.aclose()

    async def _serve_tls(self, stream: trio.SocketStream, client: IPAddress) -> None:
        if self._has_room():
            await self.serve_tls(stream, client)
        else:
            self._refused += 1
            await stream.aclose()

    async def serve_tls(
        self, stream: trio.SocketStream, client: IPAddress, sent: Callable[[int], None] = lambda _count: None
    ) -> None:
        """A client whose TLS ends here, to its end; ``sent`` hears of bytes of answers. Closes the stream."""
        assert self.cache is not None
        context = None if self.keys is None else self.keys.context
        if context is None:
            self.cache.counts["tls_no_certificate"] += 1
            reset_on_close(stream)
            await stream.aclose()
            return
        counts, find = self.cache.counts, partial(self.find, https=True)

        async def clear(far: trio.SocketStream, _agreed: Agreed) -> bool:
            return await self._answer(far, client, find, sent)

        def count(reason: str) -> None:
            counts[reason] += 1

        await terminate(stream, context, clear, count, Limits(HEAD_TIMEOUT, IDLE_TIMEOUT), self._finishing)

    async def _answer(
        self,
        stream: trio.SocketStream,
        client: IPAddress,
        find: Callable[[str, int | None], Site | None],
        sent: Callable[[int], None] = lambda _count: None,
    ) -> bool:
        """Serve what is in clear text, and close the stream; whether it ended in order."""
        assert self.cache is not None
        async with stream:
            connection = ClientConnection(
                stream, client, self.cache, find, self.cache.name, lambda: self._draining, sent=sent
            )  # fmt: skip
            with trio.CancelScope() as scope:
                self._connections[connection] = scope
                try:
                    return await connection.serve()
                finally:
                    del self._connections[connection]
            return not connection.busy


def _settings(node: NodeHandle) -> ContentSettings:
    situation = node.situation()
    settings = situation.topology.nodes[situation.node].content
    assert settings is not None, "the topology's rules see to it"
    return settings


def _lock(directory: Path) -> int:
    """A descriptor that keeps other nodes out of the directory. StartError."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(_explain(directory, error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StartError(f"{directory}: another node uses it; give each its own `directory:`") from None
    return descriptor


def _explain(directory: Path, error: OSError) -> str:
    return f"{directory}: {error.strerror or error}; correct content.directory in the topology, or the permissions"
