"""What is known of the addresses that clients come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.proxy.events import ClientData

if TYPE_CHECKING:
    from topology.model import IPAddress, SocketAddress, Topology


@dataclass(frozen=True, slots=True)
class _Place:
    application: str
    edge: str
    region: str


class Places:
    def __init__(self) -> None:
        self._by_address: dict[IPAddress, _Place] = {}
        self._moving: frozenset[str] = frozenset()

    def follow(self, topology: Topology) -> None:
        self._by_address = {
            vip.address: _Place(vip.application, vip.edge, topology.nodes[vip.edge].region) for vip in topology.vips
        }
        self._moving = frozenset(row.application for row in topology.transfers)

    def application(self, vip: IPAddress) -> str | None:
        place = self._by_address.get(vip)
        return None if place is None else place.application

    def moves(self, application: str) -> bool:
        """Whether content proxies may have connections of it."""
        return application in self._moving

    def client(self, client: SocketAddress, vip: SocketAddress, application: str) -> ClientData:
        place = self._by_address.get(vip.host)
        return ClientData(client, vip, place.edge if place else "", place.region if place else "", application)
