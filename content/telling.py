"""Gateways are told what is stored, as ``content.advertise`` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio

from braid.stored import encode
from braid.transfer import MODULUS
from content.advertise import EVERY, Advertised, floors_of
from content.delegated import begins_with_tls
from content.reach import gateways_of
from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.role import NodeHandle
    from content.index import Index


class Teller:
    """Follows the index from now on."""

    def __init__(self, index: Index, wall: Callable[[], float]) -> None:
        # Gateways remember for minutes what an earlier process said; none says a thousand things in a second.
        self._advertised = Advertised(int(wall() * 1000) % MODULUS)
        self._index = index
        self._wall = wall
        for key in index.keys():  # noqa: SIM118
            self._follow(key)
        index.changed = self._follow

    async def run(self, node: NodeHandle, read: trio.Event) -> NoReturn:
        """Begins when the store is ``read``: until then gateways know nothing, and offer everything."""
        await read.wait()
        while True:
            situation = node.situation()
            topology = situation.topology
            rows = [row for row in topology.transfers if not begins_with_tls(topology, row.application)]
            self._advertised.set_floors(floors_of(rows, situation.node))
            messages = [encode(message) for message in self._advertised.next(self._wall())]
            for name in gateways_of(topology, situation.node):
                for message in messages:
                    node.tell(name, message)
            await trio.sleep(EVERY)

    def _follow(self, key: str) -> None:
        self._advertised.set(key, self._index.find(key))

    def receive_up(self, node: NodeHandle, peer: int) -> None:
        """There is a session with a neighbour."""
        sender = node.situation().topology.by_number(peer)
        if sender is not None and sender.role is Role.GATEWAY:
            self._advertised.tell_all()
