"""Which hostnames a content proxy answers for, and where their origins are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from topology.model import Protocol, SocketAddress
from topology.vips import vip_for

if TYPE_CHECKING:
    from topology.model import Application, Topology

HTTP_PORT = 80


@dataclass(frozen=True, slots=True)
class Site:
    port: int
    addresses: tuple[SocketAddress, ...]
    """VIPs of the application, the preferred one first."""


class Sites:
    """Of one node, by the topology in force."""

    def __init__(self, topology: Topology, node: str) -> None:
        settings = topology.nodes[node].content
        self._topology = topology
        self._edges: tuple[str, ...] = ()
        self._applications: dict[str, Application] = {}
        if settings is not None:
            self._edges = tuple(edge.name for region in settings.edges for edge in topology.nodes_of(region))
            applications = (topology.applications[name] for name in settings.applications)
            self._applications = {hostname: each for each in applications for hostname in each.hostnames}
        self._found: dict[tuple[str, int | None], Site | None] = {}

    def find(self, host: str, port: int | None) -> Site | None:
        """Without a port it is 80, or the application's first one where it has no 80."""
        application = self._applications.get(host)
        if application is None:
            return None
        if (host, port) not in self._found:
            number = _port(application, port)
            self._found[host, port] = None if number is None else Site(number, self._addresses(application, number))
        return self._found[host, port]

    def _addresses(self, application: Application, port: int) -> tuple[SocketAddress, ...]:
        return tuple(
            SocketAddress(vip.address, port)
            for edge in self._edges
            for vip in vip_for(self._topology, edge, application.name)
        )


def _port(application: Application, written: int | None) -> int | None:
    ranges = [ports for ports in application.ports if ports.protocol in (Protocol.TCP, Protocol.ANY)]
    if written is None:
        has = any(ports.low <= HTTP_PORT <= ports.high for ports in ranges)
        return HTTP_PORT if has else ranges[0].low
    return written if any(ports.low <= written <= ports.high for ports in ranges) else None
