"""Gateways whose clients go to another one, at an edge. Pure: a gateway speaks of its own clients alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from braid.transfer import is_later
from topology.model import Role

if TYPE_CHECKING:
    from braid.moves import Divert
    from topology.model import Topology


@dataclass(frozen=True, slots=True)
class _Said:
    to: int
    order: int | None
    """None: of a process that is gone."""
    stay: frozenset[str]


class Diverts:
    def __init__(self) -> None:
        self._said: dict[int, _Said] = {}
        """By the number of the gateway that said it."""

    def receive(self, topology: Topology, sender: int, message: Divert) -> bool | None:
        """Whether it changes something. None: that gateway may not say so, or has said otherwise since."""
        known = self._said.get(sender)
        if not _allowed(topology, sender, message.to) or _is_late(known, message.order):
            return None
        said = _Said(message.to, message.order, frozenset(message.stay))
        self._said[sender] = said
        before = (known.to, known.stay) if known else (0, frozenset())
        return before != (said.to, said.stay) and (said.to or before[0]) != 0

    def restarted(self, gateway: int) -> None:
        """It is another process now, whose clock may have been set back: what it says is later all the same. Until then
        what it said before holds."""
        if gateway in self._said:
            self._said[gateway] = replace(self._said[gateway], order=None)

    def of(self, application: str, gateways: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """From which of an application's gateways clients go to which."""
        return tuple(
            (gateway, said.to)
            for gateway in gateways
            if (said := self._said.get(gateway)) is not None and said.to in gateways and application not in said.stay
        )


def _is_late(known: _Said | None, order: int) -> bool:
    return known is not None and known.order is not None and is_later(known.order, order)


def _allowed(topology: Topology, sender: int, to: int) -> bool:
    gateway, other = topology.by_number(sender), topology.by_number(to)
    if gateway is None or gateway.role is not Role.GATEWAY:
        return False
    return to == 0 or (other is not None and other.region == gateway.region and other is not gateway)
