"""The content proxy's worker process: reads what strangers send. It may die; its keeper goes on with another one."""

from __future__ import annotations

import json
import signal
import socket
from dataclasses import asdict
from ipaddress import ip_address
from typing import TYPE_CHECKING

import trio

from braid import log as logs
from braid.process import allow_descriptors, end_with_parent
from braid.role import StartError
from content.channel import Channel, Silent
from content.line import Line
from content.remote import Remote, RemoteKeeping
from content.service import ContentService
from content.words import Configure, Drain, Failed, Mail, Neighbour, Ready, Shown, Take, Told

if TYPE_CHECKING:
    from content.carry import Answering
    from content.words import Word

log = logs.get(__name__)

SHOW_EVERY = 0.5
MOST_FLOWS = 128
"""That are shown, newest first."""


def run_worker(
    channel: socket.socket, records: socket.socket, questions: socket.socket, hears: socket.socket, says: socket.socket
) -> int:
    """Until the keeper has gone; returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # They are for the keeper, which says what to do.
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    allow_descriptors()
    code = 0
    try:
        trio.run(Worker(Channel(channel), Channel(records), questions, Line(hears, says)).run)
    except* Silent:
        log.info("worker ends, its keeper has gone")
    except* Exception:
        code = 1
        log.exception("worker failed")
    return code


class Worker:
    def __init__(self, channel: Channel, records: Channel, questions: socket.socket, line: Line) -> None:
        self._channel = channel
        self._records = records
        self._line = line
        self._remote = Remote(line, records, questions)
        self._service = ContentService(keep=self._remote.keep)
        self._begun: dict[int, tuple[Answering, int]] = {}
        """Told ahead of the connections that they belong to."""

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            configured = trio.Event()
            nursery.start_soon(self._receive, nursery, configured)
            await configured.wait()
            nursery.start_soon(self._hear)
            nursery.start_soon(self._show)
            try:
                await nursery.start(self._service.run, self._remote.handle())
            except StartError as error:
                self._channel.send(Failed(str(error).encode()))
                await trio.sleep_forever()
            self._show_now()
            self._channel.send(Ready())

    async def _receive(self, nursery: trio.Nursery, configured: trio.Event) -> None:
        while words := await self._channel.receive():
            for word, descriptors in words:
                self._do(word, descriptors, nursery)
            configured.set()
        nursery.cancel_scope.cancel()

    async def _hear(self) -> None:
        while heard := await self._line.receive():
            now = trio.current_time()
            for said in heard:
                if said.refused is None:
                    self._service.receive(said.peer, True, said.message, now)
                elif self._service.transfers is not None:
                    self._service.transfers.receive_refused(said.peer, said.message, said.refused, now)

    def _do(self, word: Word, descriptors: list[int], nursery: trio.Nursery) -> None:
        match word:
            case Configure(node, topology_file):
                self._remote.configure(node, topology_file, *descriptors)
            case Told():
                self._begun[word.id] = word.answering, descriptors[0] if descriptors else -1
            case Take():
                self._take(word, socket.socket(fileno=descriptors[0]), nursery)
            case Mail(peer, adjacent, message):
                self._service.receive(peer, adjacent, message, trio.current_time())
            case Neighbour(number, up):
                (self._remote.up.add if up else self._remote.up.discard)(number)
                self._remote.change()
                if up and self._service.transfers is not None:
                    self._service.transfers.receive_up(number)
            case Drain():
                self._remote.draining = True
                self._remote.change()
                self._service.finish()
            case _:
                raise AssertionError("not for a worker")

    def _take(self, take: Take, opened: socket.socket, nursery: trio.Nursery) -> None:
        keeping = RemoteKeeping(self._records, take.id)
        begun, descriptor = self._begun.pop(take.id, (None, -1))
        if take.listener < 0:
            nursery.start_soon(self._service.adopt, opened, take.data, keeping, begun, descriptor)
        elif take.listener:
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(opened))
            nursery.start_soon(self._service.serve_secure, stream, ip_address(take.client), keeping)
        else:
            nursery.start_soon(self._service.serve, opened, ip_address(take.client), keeping, begun, descriptor)

    async def _show(self) -> None:
        while True:
            self._show_now()
            await trio.sleep(SHOW_EVERY)

    def _show_now(self) -> None:
        content, transfers = self._service.status(), self._service.transfers
        flows = [] if transfers is None else transfers.flows(MOST_FLOWS, trio.current_time())
        shown = {
            "content": None if content is None else asdict(content),
            "transfers": None if transfers is None else asdict(transfers.status()),
            "flows": [asdict(flow) for flow in flows],
            "problems": self._service.problems,
        }
        self._records.send(Shown(json.dumps(shown).encode()))
