"""Connections that a drain cannot move, as this process has their keys or a plug-in sees their bytes: they end in good
order between two requests, and their clients come again, to the other gateway."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from topology.tls import HTTP_2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.proxy.connection import Connection
    from gateway.proxy.pool import ProxiedApplication
    from gateway.proxy.relay import Relay
    from gateway.proxy.relayed import RelayedConnection

YOUNG = 1.0
"""Seconds that a client gets for its first request: an end of a new connection would be a failure to it."""


class Farewell:
    """Concerns applications that the fast path accepts: connections of others begin here in a drain, too."""

    def __init__(self) -> None:
        self._ends: dict[trio.Event, ProxiedApplication] = {}

    @contextmanager
    def awaited(self, application: ProxiedApplication) -> Iterator[trio.Event]:
        """For as long as a connection with TLS lives: set when it is to end."""
        ends = trio.Event()
        self._ends[ends] = application
        try:
            yield ends
        finally:
            del self._ends[ends]

    @property
    def with_tls(self) -> Iterable[ProxiedApplication]:
        """Of each connection with TLS."""
        return self._ends.values()

    def end(self) -> None:
        """All that have TLS, whoever accepted them."""
        for ends in self._ends:
            ends.set()

    def say(
        self,
        relay: Relay,
        plug_ins: Iterable[Connection],
        applications: Mapping[str, ProxiedApplication],
        now: float,
    ) -> None:
        """To be called again and again: it is said to those alone that are there, and not too young."""
        for ends, application in self._ends.items():
            if application.moves:
                ends.set()
        relay.finish(lambda connection: _is_to_end(relay, connection, now))
        for plug_in in plug_ins:
            of = applications.get(plug_in.data.application)
            young = plug_in.verdict is None and now - plug_in.gateway.idle_since < YOUNG
            if of is not None and of.moves and not young:
                plug_in.finish()


def _is_to_end(relay: Relay, connection: RelayedConnection, now: float) -> bool:
    # Those of HTTP/2 are one request each.
    if not (connection.data.tls and connection.application.moves) or connection.data.alpn == HTTP_2:
        return False
    return connection.request is not None or relay.flow(connection, now)[1] >= YOUNG
