"""What gateways say about the owners of connections, at an edge. Pure: a message and the time in, a verdict out.

A gateway repeats what it says until it is answered, and a repetition may overtake what it said later: of two messages
of one transfer the one with the higher order counts. Whether this gateway serves the client the core knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.transfer import MOST, REMEMBER

if TYPE_CHECKING:
    from braid.transfer import Steer
    from topology.model import Topology


class Steering:
    def __init__(self) -> None:
        self._heard: dict[bytes, tuple[int, float]] = {}
        """Highest order of each transfer, and when; the oldest first."""

    def is_new(self, message: Steer, now: float) -> bool:
        """Whether it is to be obeyed: not if something later was heard of the same transfer."""
        for id_, (_, at) in list(self._heard.items()):
            if now - at < REMEMBER and len(self._heard) < MOST:
                break
            del self._heard[id_]
        order, _ = self._heard.get(message.id, (0, now))
        if message.order < order:
            return False
        self._heard.pop(message.id, None)
        self._heard[message.id] = (message.order, now)
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
