"""Which hostnames a content proxy answers for, and where their origins are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from topology import model
from topology.model import SocketAddress
from topology.proxy import HTTP, TLS_SNI
from topology.vips import vip_for

if TYPE_CHECKING:
    from topology.model import Application, Topology

HTTP_PORT, HTTPS_PORT = 80, 443


@dataclass(frozen=True, slots=True)
class Site:
    port: int
    """Of the URL."""
    addresses: tuple[SocketAddress, ...]
    """VIPs of the application, the preferred one first, and the port where the origin is asked."""
    https: bool = False
    """The scheme of the URL."""
    tls: bool = False
    """Whether the origin is asked by TLS."""


class Find(Protocol):
    """The site of a host and port (None: not written) that is served, else None."""

    def __call__(self, host: str, port: int | None, *, https: bool = False) -> Site | None: ...


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
        self._found: dict[tuple[str, int | None, bool], Site | None] = {}

    def find(self, host: str, port: int | None, *, https: bool = False) -> Site | None:
        """Without a port it is the scheme's own, or the application's first one where it has not that."""
        application = self._applications.get(host)
        if application is None:
            return None
        key = host, port, https
        if key not in self._found:
            self._found[key] = self._secure(application, port) if https else self._plain(application, port)
        return self._found[key]

    def _plain(self, application: Application, written: int | None) -> Site | None:
        number = None if _speaks_tls(application) else _port(application, written, HTTP_PORT)
        return None if number is None else Site(number, self._addresses(application, number))

    def _secure(self, application: Application, written: int | None) -> Site | None:
        """What came by TLS goes to the origin by TLS, unless it is known, or the ports say, that it speaks none: then
        TLS ends here for it."""
        usual = written in (None, HTTPS_PORT)
        if _speaks_tls(application) or (not _speaks_http(application) and _has(application, written or HTTPS_PORT)):
            number = _port(application, written, HTTPS_PORT)
            tls = True
        else:
            number = _port(application, None if usual else written, HTTP_PORT)
            tls = False
        if number is None:
            return None
        port = HTTPS_PORT if usual and not tls else number
        return Site(port, self._addresses(application, number), https=True, tls=tls)

    def _addresses(self, application: Application, port: int) -> tuple[SocketAddress, ...]:
        return tuple(
            SocketAddress(vip.address, port)
            for edge in self._edges
            for vip in vip_for(self._topology, edge, application.name)
        )


def _speaks_tls(application: Application) -> bool:
    """Whether its gateway lets nothing else in."""
    proxy = application.proxy
    return proxy is not None and (proxy.kind == TLS_SNI or proxy.tls is not None)


def _speaks_http(application: Application) -> bool:
    """Whether its gateway reads requests in clear text."""
    proxy = application.proxy
    return proxy is not None and proxy.kind == HTTP and proxy.tls is None


def _port(application: Application, written: int | None, usual: int) -> int | None:
    if written is not None:
        return written if _has(application, written) else None
    if _has(application, usual):
        return usual
    return next(ports.low for ports in application.ports if ports.protocol in (model.Protocol.TCP, model.Protocol.ANY))


def _has(application: Application, number: int) -> bool:
    return any(
        ports.low <= number <= ports.high
        for ports in application.ports
        if ports.protocol in (model.Protocol.TCP, model.Protocol.ANY)
    )
