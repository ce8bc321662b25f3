"""The content proxy in the node's process: listeners, kept connections, and a worker that does the rest.

A worker that has died, or says nothing any more, is followed by another one, which goes on with its connections.
"""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from braid import log as logs
from braid.errors import BadPacket
from braid.linux import LinuxError
from braid.process import allow_descriptors
from braid.role import StartError
from content.channel import Silent
from content.clerk import Clerk
from content.crew import Crew
from content.keeper import Keeper
from content.line import KINDS
from content.listeners import accept, open_listeners
from content.local import apply, clear
from content.reach import Local, vips_of
from content.restarts import Restarts
from content.settings import most_connections, settings_of, take_directory
from content.words import (
    Configure,
    Done,
    Drain,
    Failed,
    Mail,
    Neighbour,
    Own,
    Ready,
    Shown,
    Take,
    Told,
    decode,
    encode,
)
from topology.table import takes_transfers

if TYPE_CHECKING:
    import socket

    from braid.core import LineApi
    from braid.events import Control
    from braid.role import NodeHandle
    from braid.status.content import ContentStatus
    from content.channel import Channel
    from content.crew import Worker
    from content.keeper import Kept
    from content.words import Word

log = logs.get(__name__)

LOOK_EVERY = 1.0
GATHER = 0.002
"""Seconds for which records of connections gather before they are looked at: only a death makes them urgent."""
SILENCE = 5.0
"""Seconds without a sign of life after which a worker is killed, if two looks in a row find it so."""


class Supervisor:
    def __init__(self) -> None:
        self.listening = False
        self.problem = "the store is being read"
        """Why clients are not served now; empty when they are."""
        self.clerk: Clerk | None = None
        """None until the node serves."""
        self._keeper = Keeper()
        self._node: NodeHandle | None = None
        self._lines: LineApi | None = None
        self._worker: Worker | None = None
        self._up: set[int] = set()
        self._topology = -1
        """A descriptor of the topology, for the worker."""
        self._draining = False
        self._accepting: list[trio.CancelScope] = []
        self._heard = 0.0
        """When the worker gave a sign of life."""
        self._ready = trio.Event()
        """The first worker is."""
        self._local = Local()
        self._descriptors = 0

    async def run(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Started when every address is listened on and the store is read; follows reloads.

        ``StartError`` for an address or directory that cannot be had. Survives what clients, workers and the disk do.
        """
        situation, settings = node.situation(), settings_of(node)
        self._descriptors = allow_descriptors()
        self._node, self._lines, self.clerk = node, node.lines, Clerk(node, self._keeper)
        lock = take_directory(Path(settings.directory))
        has_tun = takes_transfers(situation.topology, situation.node)
        listeners: list[socket.socket] = []
        crew = Crew(situation.node)
        try:
            listeners += await open_listeners(settings.listen, "content.listen")
            listeners += await open_listeners(settings.tls_listen, "content.tls.listen")
            if has_tun:
                await clear()
                await self._set_up(node)
            self._publish(node)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._work, crew)
                await self._ready.wait()
                for index, listener in enumerate(listeners):
                    nursery.start_soon(self._accept, listener, int(index >= len(settings.listen)))
                self.listening = True
                task_status.started()
                while True:
                    await node.reloaded().wait()
                    self._publish(node)
                    self._configure()
                    if has_tun:
                        await self._set_up(node)
        finally:
            self._worker = None
            crew.close()
            self.clerk.close()
            if has_tun:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                    await clear()
            for listener in listeners:
                listener.close()
            os.close(lock)

    def receive(self, control: Control) -> None:
        if control.adjacent:
            self._post(Mail(control.peer, control.adjacent, control.message))

    def receive_neighbour(self, number: int, up: bool) -> None:
        (self._up.add if up else self._up.discard)(number)
        self._post(Neighbour(number, up))

    def finish(self) -> bool:
        """Take no more connections; those between two requests end, or go back. True while there are any."""
        self._draining = True
        for accepting in self._accepting:
            accepting.cancel()
        self._post(Drain())
        return bool(self._keeper.kept)

    def status(self) -> ContentStatus | None:
        clerk = self.clerk
        if clerk is None or clerk.content is None:
            return None
        counts = clerk.counts + self._keeper.counts
        accepted = sum(kept.listener >= 0 for kept in self._keeper.kept.values())
        events = dict(sorted((clerk.content.events | {"refused": 0} | counts).items()))
        return replace(clerk.content, connections=accepted, events=events)

    async def _work(self, crew: Crew) -> None:
        """One worker after the other. Never returns."""
        restarts = Restarts()
        assert self.clerk is not None
        while True:
            worker = await crew.worker()
            try:
                kept = self._begin(worker)
                await self._follow(worker, kept)
                self._worker = None
                worker.kill()
                await worker.ended()
            finally:
                self._worker = None
                worker.close()
                if self._lines is not None:
                    self._lines.close_line()
            counts = self._keeper.counts.copy()
            self.clerk.bury()
            pause = restarts.died(trio.current_time())
            self.problem = "a worker has died" + (f", the next one begins in {pause:.1f} s" if pause else "")
            log.error("worker died", connections=len(self._keeper.kept), pause=pause, **(self._keeper.counts - counts))
            await trio.sleep(pause)

    def _begin(self, worker: Worker) -> list[Kept]:
        """Returns what is kept, and has to be handed over."""
        self._worker = worker
        self._heard = trio.current_time()
        if self._lines is not None:
            self._lines.open_line(worker.hears.fileno(), worker.says.fileno(), KINDS)
        log.info("worker started", pid=worker.pid)
        self._configure()
        for number in self._up:
            self._post(Neighbour(number, up=True))
        if self._draining:
            self._post(Drain())
        return self._keeper.given()

    async def _hand_over(self, worker: Worker, kept: list[Kept]) -> None:
        """No faster than the worker takes them: there may be thousands."""
        for each in kept:
            self._give(each)
            await worker.channel.flushed()

    def _give(self, kept: Kept) -> None:
        if kept.answering is not None:
            self._post(Told(kept.id, kept.answering), *([kept.body] if kept.body >= 0 else []))
        self._post(Take(kept.id, kept.client, kept.listener, kept.facts), kept.socket.fileno())

    async def _follow(self, worker: Worker, kept: list[Kept]) -> None:
        """Do what it says, until it is no more. It gets what is ``kept``."""
        async with trio.open_nursery() as nursery:
            for each in (self._flush, self._answer, self._watch):
                nursery.start_soon(each, worker)
            nursery.start_soon(self._hand_over, worker, kept)
            async with trio.open_nursery() as reading:
                reading.start_soon(self._read, worker, worker.channel, 0.0)
                reading.start_soon(self._read, worker, worker.records, GATHER)
            nursery.cancel_scope.cancel()

    async def _read(self, worker: Worker, channel: Channel, gather: float) -> None:
        """To the last word that it has said."""
        try:
            while words := await channel.receive(gather):
                for word, descriptors in words:
                    self._do(word, descriptors)
        except BadPacket as error:
            log.error("worker is killed, it says what none does", reason=error.reason)
            worker.kill()

    def _do(self, word: Word, descriptors: list[int]) -> None:
        assert self.clerk is not None
        match word:
            case Ready():
                self.problem = ""
                self._ready.set()
            case Failed(problem):
                text = problem.decode(errors="replace")
                if not self._ready.is_set():
                    raise StartError(text)
                log.error("worker cannot start", problem=text)
            case _:
                if isinstance(word, Shown):
                    self._heard = trio.current_time()
                self.clerk.do(word, descriptors)

    async def _answer(self, worker: Worker) -> None:
        """Questions that the worker waits for."""
        assert self.clerk is not None
        while True:
            await trio.lowlevel.wait_readable(worker.questions)
            try:
                question = worker.questions.recv(4096)
                own = decode(question) if question else None
                if not isinstance(own, Own):
                    raise BadPacket("word_kind")
                worker.questions.send(encode(Done(self.clerk.own(own))))
            except (BadPacket, ConnectionError):
                worker.kill()
                return

    async def _watch(self, worker: Worker) -> None:
        late = 0
        while True:
            await trio.sleep(LOOK_EVERY)
            if self._lines is not None and self._lines.line_is_bad():
                log.error("worker is killed, it says what none does", reason="line")
                worker.kill()
                return
            late = late + 1 if trio.current_time() - self._heard > SILENCE else 0
            if late >= 2:
                log.error("worker is killed, it says nothing", seconds=round(trio.current_time() - self._heard, 1))
                worker.kill()
                return

    async def _flush(self, worker: Worker) -> None:
        try:
            await worker.channel.flush()
        except Silent:
            worker.kill()

    def _post(self, word: Word, *descriptors: int) -> None:
        """To the worker, if there is one: the next one hears of what holds by then."""
        if self._worker is None:
            return
        try:
            self._worker.channel.post(word, *descriptors)
        except Silent:
            self._worker.kill()

    async def _accept(self, listener: socket.socket, kind: int) -> None:
        assert self._node is not None
        node, clerk = self._node, self.clerk
        assert clerk is not None

        def take(opened: socket.socket, client: str) -> None:
            if len(self._keeper.kept) >= most_connections(settings_of(node), self._descriptors):
                clerk.counts["refused"] += 1
                opened.close()
            else:
                kept = self._keeper.accepted(opened, client, kind)
                self._give(kept)

        self._accepting.append(trio.CancelScope())
        with self._accepting[-1]:
            await accept(listener, take)

    def _publish(self, node: NodeHandle) -> None:
        """Have the topology in force, and what is delegated, ready for workers."""
        if self._topology >= 0:
            os.close(self._topology)
        self._topology = os.memfd_create("topology")
        with os.fdopen(os.dup(self._topology), "wb") as file:
            situation = node.situation()
            pickle.dump((situation.topology, situation.delegations), file)

    def _configure(self) -> None:
        assert self._node is not None
        file = self._node.topology_file
        self._post(Configure(self._node.situation().node, str(file) if file else ""), self._topology)

    async def _set_up(self, node: NodeHandle) -> None:
        """Have the kernel deliver the packets of transferred connections."""
        situation = node.situation()
        wanted = Local(frozenset(vips_of(situation)))
        try:
            warnings = await apply(self._local, wanted)
        except LinuxError as error:
            warnings = [str(error)]
        for warning in warnings:
            log.warning("network is not as it should be", problem=warning)
        self._local = wanted
