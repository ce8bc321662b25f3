"""The gateway of a transferred connection hears of each answer that is sent on it, so that it can go on with it should
this node be gone (``braid.transfer_progress``).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from braid.tcp.progress import progress
from braid.transfer import MODULUS
from braid.transfer_progress import MOST_PROMISED, Promised
from content.carry import Answering, Source
from content.wire import Gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.transfer import Numbers
    from content.wire import Keeping

UNKNOWN = 1 << 60
"""Bytes of a body whose length is not known, or that cannot be had again."""
_AGAIN = (Source.FILE, Source.ORIGIN)


class Promising:
    """``numbers``: of the connection when its socket was built; the kernel counts from there. ``tell`` has the
    gateway hear it. One that is too long is of an answer that nobody goes on with."""

    def __init__(
        self, keeping: Keeping, id_: bytes, numbers: Numbers, opened: socket.socket, tell: Callable[[Promised], None]
    ) -> None:
        self._keeping = keeping
        self._id = id_
        self._numbers = numbers
        self._socket = opened
        self._tell = tell

    def know(self, data: bytes) -> None:
        self._keeping.know(data)

    def told(self, answering: Answering, descriptor: int | None = None) -> None:
        self._keeping.told(answering, descriptor)
        if answering.source is Source.BACK:
            # The gateway knows best what becomes of it.
            return
        now = progress(self._socket)
        self.promise(answering, now.read, now.written)

    def settled(self) -> None:
        self._keeping.settled()
        now = progress(self._socket)
        self.promise(Answering(), now.read, now.written)

    def ended(self) -> None:
        self._keeping.ended()

    def promise(self, answering: Answering, read: int, written: int) -> None:
        """``read`` and ``written``: bytes before the request and before the answer, since the socket was built."""
        source, length, total, etag = answering.source, answering.length, answering.total, answering.etag
        if source not in _AGAIN and source is not Source.NOTHING:
            length = total = UNKNOWN
            etag = b""
        request = b""
        if read and answering.request:
            try:
                request = self._socket.recv(answering.request, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except OSError:
                raise Gone from None
        promised = Promised(
            self._id, (self._numbers.send_next + written) % MODULUS,
            (self._numbers.receive_next + read + answering.request) % MODULUS,
            answering.begin, answering.offset, length, max(total, answering.offset + length),
            etag if etag.startswith(b'"') else b"", answering.last, request,
        )  # fmt: skip
        if len(promised.begin) + len(request) + len(etag) + 100 <= MOST_PROMISED:
            self._tell(promised)
