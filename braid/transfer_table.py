"""The routing table of connection transfers: from a client's request to the content proxy that is asked. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from braid.http import is_named, without_port
from topology.transfer import METHODS, HashedBy, ProxyPolicy, TransferMode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from topology.model import IPAddress, Topology
    from topology.transfer import Conditions, TransferRow


TUNNELS = ("CONNECT", "TRACE")
"""Methods that no proxy passes on."""


class Standing(NamedTuple):
    """How far a connection is, in bytes."""

    requests: int
    received: int
    sent: int
    window: int


class Candidate(NamedTuple):
    """What a row is matched with: one request on one connection, or a connection's ClientHello."""

    application: str
    client: IPAddress
    region: str
    """Of the edge whose VIP the client uses."""
    port: int
    """At the VIP."""
    method: str
    host: str
    """Lower case, without a port."""
    path: str
    """Without the query."""
    alpn: tuple[str, ...] | None = None
    """Protocols that a ClientHello offers: then ``host`` is its server name, and method and path are empty."""
    standing: Callable[[], Standing | None] | None = None
    """How far the connection is, for rows that want to know. None of it: it cannot move. Without it, as at a proxy,
    which has not seen how the connection began, such conditions hold."""


def matching(rows: Sequence[TransferRow], candidate: Candidate, wall: float) -> TransferRow | None:
    """The first row that holds at this time (Unix seconds)."""
    for row in rows:
        if holds(row, candidate, wall):
            return row
    return None


def allowing(rows: Sequence[TransferRow], candidate: Candidate, proxy: str, wall: float) -> TransferRow | None:
    """By which a proxy may answer, that does not know which conditions of the connection held: of those that it may be,
    the row that lets it answer most."""
    found = None
    for row in rows:
        if not holds(row, candidate, wall):
            continue
        if proxy in row.proxies and (found is None or _generosity(row) > _generosity(found)):
            found = row
        if row.connection is None:
            break
    return found


def least_of(rows: Sequence[TransferRow], application: str, proxy: str, path: str) -> int | None:
    """Bytes that an answer has at least which any of these rows lets a proxy give, whoever asks. None: none does."""
    return min(
        (row.least for row in rows
         if row.application == application and proxy in row.proxies and path.startswith(row.path)),
        default=None,
    )  # fmt: skip


def takes_all(rows: Sequence[TransferRow], application: str, proxy: str, path: str, wall: float) -> bool:
    """Whether one of these rows may let a proxy serve what it does not store, whoever asks."""
    return any(
        row.mode is TransferMode.SERVE
        and row.application == application
        and proxy in row.proxies
        and path.startswith(row.path)
        and (row.until is None or wall < row.until)
        for row in rows
    )


def serves(row: TransferRow, method: str, *, upgrade: bool) -> bool:
    """Whether a row's proxy serves a request that the row names, stored or not. ``upgrade``: it asks for another
    protocol, which a proxy does not speak."""
    return row.mode is TransferMode.SERVE and not upgrade and method not in TUNNELS


def next_on(candidate: Candidate) -> Candidate:
    """As what the next request counts on a connection that a proxy has: what no cache answers it passes on itself."""
    return candidate if candidate.method in METHODS else candidate._replace(method=METHODS[0])


def storing(rows: Sequence[TransferRow], application: str, path: str) -> frozenset[str]:
    """Proxies that any of these rows lets give an answer, whoever asks."""
    return frozenset(
        proxy for row in rows if row.application == application and path.startswith(row.path) for proxy in row.proxies
    )


def path_of(key: str) -> str:
    """Of what is stored by that key, without the query."""
    _, _, rest = key.partition("://")
    at = rest.find("/")
    return rest[at:].partition("?")[0] if at >= 0 else ""


def host_of(key: str) -> str:
    return without_port(key.partition("://")[2].partition("/")[0])


def holds(row: TransferRow, candidate: Candidate, wall: float) -> bool:
    return (
        row.application == candidate.application
        and (_holds_request(row, candidate) if candidate.alpn is None else _holds_hello(row, candidate))
        and joins(row, candidate.client, candidate.region, candidate.port)
        and (row.until is None or wall < row.until)
        and (row.connection is None or candidate.standing is None or is_met(row.connection, candidate.standing()))
    )


def joins(row: TransferRow, client: IPAddress, region: str, port: int) -> bool:
    """Whether a row holds for connections of these ends."""
    return (
        (not row.edges or region in row.edges)
        and (not row.clients or any(client.version == each.version and client in each for each in row.clients))
        and (not row.ports or any(each.low <= port <= each.high for each in row.ports))
    )


def is_met(wanted: Conditions, found: Standing | None) -> bool:
    return (
        found is not None
        and found.requests >= wanted.least_requests
        and wanted.least_received <= found.received
        and (wanted.most_received is None or found.received <= wanted.most_received)
        and wanted.least_sent <= found.sent
        and (wanted.most_sent is None or found.sent <= wanted.most_sent)
        and found.window >= wanted.least_window
    )


def _holds_request(row: TransferRow, candidate: Candidate) -> bool:
    return (
        candidate.method in row.methods
        and candidate.path.startswith(row.path)
        and (not row.hosts or is_named(candidate.host, row.hosts))
    )


def _holds_hello(row: TransferRow, candidate: Candidate) -> bool:
    named = not row.sni or is_named(candidate.host, row.sni)
    return named and (not row.alpn or not set(row.alpn).isdisjoint(candidate.alpn or ()))


def tls_content(name: str, port: int) -> str:
    """What a client that begins with TLS asks for."""
    return f"tls://{name}:{port}"


def chosen(
    row: TransferRow, candidate: Candidate, usable: Callable[[str], bool], load: Callable[[str], int], rng: Random
) -> str | None:
    """The content proxy to ask, by the row's policy, of those that can be reached. None: there is none. ``load``: how
    many connections one has."""
    proxies = [name for name in row.proxies if usable(name)]
    if not proxies:
        return None
    match row.policy:
        case ProxyPolicy.FIRST:
            return proxies[0]
        case ProxyPolicy.HASH:
            by = str(candidate.client) if row.hash is HashedBy.CLIENT else f"{candidate.host}\0{candidate.path}"
            return max(proxies, key=lambda name: _weight(name, by))
        case ProxyPolicy.LEAST_CONNECTIONS:
            return min(proxies, key=lambda name: (load(name), rng.random()))
        case ProxyPolicy.RANDOM:
            return rng.choice(proxies)


def pairs(topology: Topology) -> frozenset[tuple[str, str, str]]:
    """Edge node, content node and application: whose clients' connections may come to that proxy."""
    return frozenset(
        (vip.edge, proxy, row.application)
        for row in topology.transfers
        for vip in topology.vips
        if vip.application == row.application and (not row.edges or topology.nodes[vip.edge].region in row.edges)
        for proxy in row.proxies
    )


def _generosity(row: TransferRow) -> tuple[bool, int]:
    return row.mode is TransferMode.SERVE, -row.least


def _weight(name: str, by: str) -> bytes:
    return blake2b(f"{name}\0{by}".encode(), digest_size=8).digest()
