"""What the core is told of offered and transferred connections: who has them, and when that is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braid.role import NodeHandle
    from gateway.transfer.moving import Moving
    from topology.model import SocketAddress


class Owners:
    def __init__(self) -> None:
        self._away: dict[tuple[SocketAddress, SocketAddress], bytes] = {}
        """By client and VIP: the transfer that took it away."""

    def held(self, moving: Moving) -> None:
        """It is offered: the client's packets wait."""
        self._away.pop((moving.client, moving.vip), None)

    def set(self, node: NodeHandle, moving: Moving, owner: str, *, wait: bool) -> bool:
        """As ``NodeHandle.set_owner``."""
        if owner == "away":
            self._away[moving.client, moving.vip] = moving.id
        else:
            self._away.pop((moving.client, moving.vip), None)
        return node.set_owner(moving.client, moving.vip, owner, wait=wait)

    def forget(self, node: NodeHandle, moving: Moving) -> None:
        """The transfer is over and forgotten. Until then the core keeps from the stack what still comes of a connection
        that is away; another connection of the same ends is none of its business."""
        moving.dissolve()
        if self._away.get((moving.client, moving.vip)) == moving.id:
            self.set(node, moving, "", wait=False)
