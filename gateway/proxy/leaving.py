"""Connections that are to go to another gateway go back to the data plane first."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from dataplane._native import Relay
    from gateway.proxy.relayed import RelayedConnection
    from gateway.proxy.returning import Returning
    from topology.model import IPNetwork

BELIEVED = 2.0
"""Seconds that an order is believed in; it comes again and again."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to go: connections whose servers see addresses of these pools; and of those without a server, or whose
    server sees the client, all, or the ``guests`` among them, which another gateway has had."""

    pools: Collection[IPNetwork]
    guests: bool
    until: float


class Leaving:
    """``parked`` hears of a connection that the relay has no more, and that waits for its client's next request."""

    def __init__(self, native: Relay, returning: Returning, parked: Callable[[RelayedConnection], None]) -> None:
        self._native = native
        self._returning = returning
        self._parked = parked
        self._order = Order((), False, -inf)

    def receive(
        self, connections: Iterable[RelayedConnection], pools: Collection[IPNetwork], now: float, *, guests: bool
    ) -> None:
        """Let go what can go on in the data plane now; what is between two requests meanwhile, ``look`` does."""
        self._order = Order(pools, guests, now + BELIEVED)
        for connection in list(connections):
            self.look(connection, now)

    def look(self, connection: RelayedConnection, now: float) -> None:
        """Something has changed that may let it go."""
        promoted, order = connection.promoted, self._order
        if promoted is None or now > order.until:
            return
        flow, own = self._native.flow(connection.number, now), self._native.own_server(connection.number)
        local = None if flow is None or own is None else flow[4]
        if local is not None and connection.may_return:
            theirs = connection.is_transparent and (promoted.guest or not order.guests)
            if theirs or any(ip_address(local[0]) in pool for pool in order.pools):
                self._returning.offer(connection, now)
        elif connection.speech == "http" and (promoted.guest or not order.guests) and self._returning.park(connection):
            self._parked(connection)
