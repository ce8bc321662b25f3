"""What gateways say about the owners of connections, at an edge. Pure: a message and the time in, a verdict out.

A gateway repeats what it says until it is answered, and what it said later may overtake a repetition: of two messages
about one connection the one with the later order counts. Whether this gateway serves the client the core knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.transfer import MOST, REMEMBER, is_later

if TYPE_CHECKING:
    from braid.transfer import Steer
    from topology.model import SocketAddress, Topology


class Steering:
    def __init__(self) -> None:
        self._heard: dict[tuple[SocketAddress, SocketAddress], tuple[int, int, float]] = {}
        """By connection: from which gateway, its latest order, and when; the oldest first."""

    def is_new(self, gateway: int, message: Steer, now: float) -> bool:
        """Whether it is to be obeyed: not if something later was heard from that gateway of the same connection."""
        for ends, (_, _, at) in list(self._heard.items()):
            if now - at < REMEMBER and len(self._heard) < MOST:
                break
            del self._heard[ends]
        ends = message.client, message.vip
        sender, order, _ = self._heard.get(ends, (gateway, message.order, now))
        if sender == gateway and is_later(order, message.order):
            return False
        self._heard.pop(ends, None)
        self._heard[ends] = (gateway, message.order, now)
        return True


def allowed(topology: Topology, edge: str, gateway: int, message: Steer) -> bool:
    """Whether the topology lets this gateway give connections to that VIP to that node, or take them back."""
    name = next((vip.application for vip in topology.vips if (vip.edge, vip.address) == (edge, message.vip.host)), "")
    application = topology.applications.get(name)
    sender = topology.by_number(gateway)
    if application is None or sender is None or sender.region not in application.gateways:
        return False
    if message.node is None:
        return True
    node = topology.by_number(message.node)
    rows = (row for row in topology.transfers if row.application == application.name)
    return node is not None and any(node.name in row.proxies for row in rows)
