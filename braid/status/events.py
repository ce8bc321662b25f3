"""Server-sent events for the page: the whole overlay again and again, to a bounded number of clients at a bounded rate.

Each message is complete, so a client that missed some has lost nothing. A client that does not read is dropped by the
kernel (``braid.status.app`` sets TCP_USER_TIMEOUT), which ends the send and with it the stream.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

MAX_CLIENTS = 16
EVERY = 1.0
"""Seconds between messages of a small overlay."""
BYTES_PER_SECOND = 100_000
"""Per client; a larger overlay is sent more rarely."""


class Feed:
    """``document`` makes what is sent; it is asked once per interval, whatever the number of clients."""

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        self._document = document
        self._made: tuple[float, bytes] | None = None
        self.clients = 0
        self.refused = 0

    def full(self) -> bool:
        """Whether one more client is too many; counted when it is."""
        if self.clients < MAX_CLIENTS:
            return False
        self.refused += 1
        return True

    def interval(self, message: bytes) -> float:
        """Seconds to the next one."""
        return max(EVERY, len(message) / BYTES_PER_SECOND)

    def message(self, now: float) -> bytes:
        if self._made is None or now - self._made[0] >= self.interval(self._made[1]) - 0.1:
            text = json.dumps(self._document(), allow_nan=False, separators=(",", ":"))
            self._made = (now, f"event: overlay\ndata: {text}\n\n".encode())
        return self._made[1]


class Stream:
    """One client's answer, an ASGI application. Ends when the client goes or the server is cancelled."""

    def __init__(self, feed: Feed, headers: dict[str, str]) -> None:
        self._feed = feed
        self._headers = {"content-type": "text/event-stream", **headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        self._feed.clients += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                while True:
                    message = self._feed.message(trio.current_time())
                    await send({"type": "http.response.body", "body": message, "more_body": True})
                    await trio.sleep(self._feed.interval(message))
        finally:
            self._feed.clients -= 1


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
