"""Gateways are told what is stored, as ``content.advertise`` says, and the data thread what is served, as
``content.serving`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio

from braid.stored import encode, name
from braid.transfer import MODULUS
from content.advertise import EVERY, Advertised, floors_of
from content.delegated import begins_with_tls
from content.reach import applications_of, askers_of, gateways_of, vips_of
from content.serving import Serving
from topology.model import Role
from topology.transfer import TransferMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.role import NodeHandle, Serves, Situation
    from braid.transfer import Reason
    from content.index import Index
    from topology.model import Topology


class Teller:
    """Follows the index from now on. ``why_nothing``: why whatever is offered is refused now."""

    def __init__(self, index: Index, wall: Callable[[], float], why_nothing: Callable[[], Reason | None]) -> None:
        # Gateways remember for minutes what an earlier process said; none says a thousand things in a second.
        self._advertised = Advertised(int(wall() * 1000) % MODULUS)
        self._index = index
        self._wall = wall
        self._why_nothing = why_nothing
        self._serving = Serving()
        self._serves: Serves | None = None
        """Hears of each change; None until it knows all."""
        self._told: tuple[Topology, frozenset[str], Reason | None] | None = None
        for key in index.keys():  # noqa: SIM118
            self._follow(key)
        index.changed = self._follow

    async def run(self, node: NodeHandle, read: trio.Event) -> NoReturn:
        """Begins when the store is ``read``: until then gateways know nothing, and offer everything."""
        await read.wait()
        while True:
            situation = node.situation()
            topology = situation.topology
            rows = [
                row
                for row in topology.transfers
                if not begins_with_tls(topology, row.application) and row.mode is not TransferMode.SERVE
            ]
            self._advertised.set_floors(floors_of(rows, situation.node))
            if node.serves is not None:
                self._tell_served(node.serves, situation)
            messages = [encode(message) for message in self._advertised.next(self._wall())]
            for gateway in gateways_of(topology, situation.node):
                for message in messages:
                    node.tell(gateway, message)
            await trio.sleep(EVERY)

    def _tell_served(self, serves: Serves, situation: Situation) -> None:
        nothing, now, topology = self._why_nothing(), self._wall(), situation.topology
        judged = by_keys(topology, situation.node, now)
        if self._told is None or self._told[0] is not topology or self._told[1] != judged:
            self._tell_all(serves, situation, judged, now)
            self._told = topology, judged, None
        serves.remove(self._serving.expire(now))
        serves.clock(now)
        if self._told[2] is not nothing:
            serves.refuse(nothing)
            self._told = topology, judged, nothing

    def _tell_all(self, serves: Serves, situation: Situation, judged: frozenset[str], now: float) -> None:
        serves.forget()
        self._serving, self._serves = Serving(), serves
        known = self._advertised
        keys = [key for key in known.keys() if self._serving.set(name(key), known.until(key), now)]  # noqa: SIM118
        serves.add([known.told(key) for key in keys])
        topology = situation.topology
        for vip, (_, application) in vips_of(situation).items():
            if application in judged:
                serves.judge(vip, askers_of(topology, application))

    def _follow(self, key: str) -> None:
        self._advertised.set(key, self._index.find(key))
        if self._serves is not None:
            each = name(key)
            match self._serving.set(each, self._advertised.until(key), self._wall()):
                case True:
                    self._serves.add([self._advertised.told(key)])
                case False:
                    self._serves.remove([each])

    def receive_up(self, node: NodeHandle, peer: int) -> None:
        """There is a session with a neighbour."""
        sender = node.situation().topology.by_number(peer)
        if sender is not None and sender.role is Role.GATEWAY:
            self._advertised.tell_all()


def by_keys(topology: Topology, node: str, wall: float) -> frozenset[str]:
    """Applications of which what is stored may say that a request is refused here: of none that is TLS, or that this
    node serves in part whether it is stored or not."""
    return frozenset(
        application.name
        for application in applications_of(topology, node)
        if not begins_with_tls(topology, application.name)
        and not any(
            row.mode is TransferMode.SERVE and (row.until is None or wall < row.until)
            for row in topology.transfers
            if row.application == application.name and node in row.proxies
        )
    )
