"""The processes below a content node: the one that forks workers, and the worker of the moment."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import trio

from braid import log as logs
from content.channel import Channel, pair
from content.words import CHANNELS, FORK, PID

log = logs.get(__name__)

BEGIN_WITHIN = 60.0
"""Seconds until the fork server has to answer; at first it reads its program."""


class Worker:
    """``hears`` and ``says``: its line, for the core."""

    def __init__(
        self,
        pid: int,
        channel: socket.socket,
        records: socket.socket,
        questions: socket.socket,
        hears: socket.socket,
        says: socket.socket,
    ) -> None:
        self.pid = pid
        self.channel = Channel(channel)
        self.records = Channel(records)
        """What it says of its connections."""
        self.questions = questions
        self.hears, self.says = hears, says
        self._handle = os.pidfd_open(pid)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    async def ended(self) -> None:
        """Until it is no more: then nobody else writes to its connections."""
        await trio.lowlevel.wait_readable(self._handle)

    def close(self) -> None:
        """Ends it, if it has not."""
        self.kill()
        for end in (self.questions, self._handle):
            trio.lowlevel.notify_closing(end)
        self.channel.close()
        self.records.close()
        for each in (self.questions, self.hears, self.says):
            each.close()
        os.close(self._handle)


class Crew:
    """``close`` ends them all."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    async def worker(self) -> Worker:
        """A new one. ``OSError`` when processes cannot be made."""
        while True:
            if self._socket is None:
                self._begin()
            assert self._socket is not None
            ours, theirs = zip(*(pair() for _ in range(CHANNELS)), strict=True)
            with ExitStack() as held:
                for each in theirs:
                    held.enter_context(each)
                try:
                    socket.send_fds(self._socket, [FORK], [each.fileno() for each in theirs])
                    with trio.fail_after(BEGIN_WITHIN):
                        await trio.lowlevel.wait_readable(self._socket)
                    answer = self._socket.recv(64)
                except (ConnectionError, trio.TooSlowError):
                    answer = b""
            if len(answer) == PID.size:
                with suppress(ProcessLookupError):
                    (pid,) = PID.unpack(answer)
                    return Worker(pid, *ours)
            else:
                log.error("fork server has gone, another one is started")
                self.close()
            for each in ours:
                each.close()

    def _begin(self) -> None:
        """From this thread, whose end would end it."""
        ours, theirs = pair()
        ours.setblocking(False)
        path = os.pathsep.join(filter(None, (str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH"))))
        log_format, level = logs.configured()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "content.forkserver", str(theirs.fileno()), log_format, level, self._node],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": path},
            )
        self._socket = ours

    def close(self) -> None:
        if self._socket is not None:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            self._socket = None
        if self._process is not None:
            # Its workers go with it.
            self._process.kill()
            self._process.wait()
            self._process = None
