"""A download that a test lets come no further than it wants, however slow the test is: what is to happen in its middle
does."""

from __future__ import annotations

import hashlib
import os
import select
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.running import RunningLab

_CHUNK = 65_536


def bounded(lab: RunningLab) -> None:
    """What is under way to a client that takes no more is 8 MB at most: 4 MB each in its socket and in the sender's. A
    kernel may let the former grow to 32 MB: a whole object."""
    lab.exec("client", ["sysctl", "-qw", "net.ipv4.tcp_rmem=4096 131072 4000000"])


class Gate:
    """Reads what is written to a FIFO, up to ``until``."""

    def __init__(self, fifo: Path, until: int) -> None:
        self.came = 0
        self._digest = hashlib.sha256()
        self._changed = threading.Condition()
        self._until = until
        self._ended = self._stopped = False
        os.mkfifo(fifo)
        # A FIFO without a writer is at its end, and whoever opens one to write waits for a reader.
        self._end = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def open(self, until: float = float("inf")) -> None:
        """So many bytes may have come."""
        with self._changed:
            self._until = until
            self._changed.notify_all()

    def wait(self, count: int, patience: float = 60.0) -> None:
        """Until so many have."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.came >= count or self._ended, patience), self.came
            assert self.came >= count, f"ended after {self.came} bytes"

    def digest(self, patience: float = 60.0) -> str:
        """Of all that came, when the writer has closed it."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended, patience), self.came
            return self._digest.hexdigest()

    def close(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()
        os.close(self._end)

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        while (room := self._room()) > 0:
            happened = [event for _, event in poll.poll(100)]
            if not happened:
                continue
            data = os.read(self._end, room) if happened[0] & select.POLLIN else b""
            with self._changed:
                self._digest.update(data)
                self.came += len(data)
                self._ended = not data
                self._changed.notify_all()

    def _room(self) -> int:
        """Waits until there is some. 0 when there is nothing more to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self.came < self._until)
            return 0 if self._stopped or self._ended else int(min(self._until - self.came, _CHUNK))


@contextmanager
def gate(fifo: Path, until: int) -> Iterator[Gate]:
    made = Gate(fifo, until)
    try:
        yield made
    finally:
        made.close()
