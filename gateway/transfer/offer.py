"""What a request asks for, and whether and to which proxy it may be offered. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.transfer_table import Candidate, chosen, matching

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.role import Situation
    from braid.tls.hello import ClientHello
    from gateway.proxy.events import ClientData, Request
    from topology.model import SocketAddress


def candidate_of(data: ClientData, request: Request) -> Candidate:
    return Candidate(
        data.application, data.client.host, data.region, data.vip.port, request.method, request.host, request.path
    )


def candidate_of_hello(data: ClientData, hello: ClientHello) -> Candidate:
    return Candidate(data.application, data.client.host, data.region, data.vip.port, "", hello.sni, "", hello.alpn)


def asked(situation: Situation, candidate: Candidate, wall: float, count: Callable[[str], None]) -> str | None:
    """The proxy that is, by the routing table."""
    row = matching(situation.topology.transfers, candidate, wall)
    if row is None:
        return None
    proxy = chosen(row, candidate, situation.links.neighbour_up)
    if proxy is None:
        count("refused/no_proxy")
    return proxy


def key_of(request: Request, vip: SocketAddress) -> str:
    """As content proxies name what they store."""
    target = f"{request.path}?{request.query}" if request.query else request.path
    authority = request.host if vip.port == 80 else f"{request.host}:{vip.port}"
    return f"http://{authority}{target}"


def has_passed(via: str, proxy: str) -> bool:
    """Whether a proxy names itself in a Via field (RFC 9110 7.6.3)."""
    return any(words[1:2] == [proxy] for words in (each.lower().split() for each in via.split(",")))
