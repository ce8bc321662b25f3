"""How a gateway proxies an application: which proxy, which server selection policy, which rules and limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.address import IPNetwork, Target
    from topology.tls import Tls


class ServerPolicy(StrEnum):
    """Server selection policies, by the names that Envoy and HAProxy users know."""

    ROUND_ROBIN = "round_robin"
    WEIGHTED = "weighted"
    LEAST_CONNECTIONS = "least_connections"
    P2C = "p2c"
    """The better of two servers drawn at random, by expected latency."""
    RING_HASH = "ring_hash"
    MAGLEV = "maglev"


class ClientAddress(StrEnum):
    """How a server learns who the client is."""

    NONE = "none"
    PROXY_V1 = "proxy-v1"
    """PROXY protocol, one line of text before the first byte."""
    PROXY_V2 = "proxy-v2"
    FORWARDED = "forwarded"
    """X-Forwarded-For and Forwarded (RFC 7239) in each request."""
    TRANSPARENT = "transparent"
    """It sees the client's own address; what it answers has to come back through the gateway."""


TCP, TLS_SNI, HTTP = "tcp", "tls-sni", "http"
KINDS = (TCP, TLS_SNI, HTTP)


@dataclass(frozen=True, slots=True)
class Rule:
    """A request that meets every condition that is there goes to one of these servers. Rules are tried in order."""

    servers: tuple[Target, ...]
    methods: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    """Lower case, of HTTP; ``*.example.com`` stands for every name below."""
    sni: tuple[str, ...] = ()
    """The same, of the TLS ClientHello."""
    path: str = ""
    """Prefix."""
    path_regex: str = ""
    """Matches the whole path, without the query."""
    headers: tuple[tuple[str, str], ...] = ()
    """Lower-case name and value; ``*`` is any value."""
    cookies: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    """Names and values of the query, decoded; of several of one name the first counts."""
    alpn: tuple[str, ...] = ()
    """Of TLS: one of these protocols was asked for, or, where TLS ends here, agreed on."""
    clients: tuple[IPNetwork, ...] = ()
    regions: tuple[str, ...] = ()
    """Edge regions that the connection came in through."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    kind: str
    """``tcp``, ``tls-sni``, ``http`` or the entry point of a plug-in, ``package.module:Class``."""
    policy: ServerPolicy = ServerPolicy.ROUND_ROBIN
    hash: str = "client"
    """What ring_hash and maglev go by: ``client``, ``path``, ``sni``, ``header:NAME`` or ``cookie:NAME``."""
    sticky: str = "none"
    """``none``, ``client``, or ``cookie:NAME``: the cookie is set by the gateway."""
    rules: tuple[Rule, ...] = ()
    tls: Tls | None = None
    client_address: ClientAddress = ClientAddress.NONE
    retries: int = 1
    """On another server, before the first byte of its answer."""
    select_timeout: float = 5.0
    """Seconds from a client's first byte until a server is selected."""
    connect_timeout: float = 2.0
    answer_timeout: float = 30.0
    """HTTP: seconds from the end of a request to the first byte of the answer."""
    idle_timeout: float = 300.0
    buffer: int = 262_144
    """Bytes of the client transmit buffer."""
    pool: int = 256
    """``http``: idle connections kept to each server, for requests of any client."""
    pool_timeout: float = 10.0
    splice_above: int | None = None
    """``http``: answers with more bytes to come than these go on in the data plane, and each client has server
    connections of its own. None: none does."""
    connections: int = 10_000
    """At one time; the gateway resets those beyond."""
    eject_after: int = 5
    """Failures in a row after which a server gets no new requests for ``eject_time``; 0 never."""
    eject_time: float = 30.0
    panic: float = 0.5
    """When fewer of the servers than this share are good, all of them are used."""
    access_log: bool = True
