"""What a request asks for, and whether it may be offered. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from braid.from_store import ORIGIN_ONLY, may_answer
from braid.http import target_at
from braid.transfer_table import Candidate, host_of, path_of, serves, storing
from topology.model import Role
from topology.transfer import TransferMode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from braid.tls.hello import ClientHello
    from braid.transfer_table import Standing
    from gateway.proxy.events import ClientData, Request
    from topology.model import Node, SocketAddress, Topology
    from topology.transfer import TransferRow

    Look = Callable[[], Standing | None]
    """At how far the connection is."""

_TELLING = frozenset(name.decode() for name in (b"cache-control", b"pragma", *ORIGIN_ONLY))


def candidate_of(data: ClientData, request: Request, standing: Look) -> Candidate:
    ends = data.application, data.client.host, data.region, data.vip.port
    return Candidate(*ends, request.method, request.host, request.path, standing=standing)


def candidate_of_hello(data: ClientData, hello: ClientHello, standing: Look) -> Candidate:
    ends = data.application, data.client.host, data.region, data.vip.port
    return Candidate(*ends, "", hello.sni, "", hello.alpn, standing)


def is_for(row: TransferRow, proxy: str, request: Request, topology: Topology) -> bool:
    """Whether that proxy may be offered a request that the row names. What a proxy lacks it fetches by this way: from
    its own requests it gets nothing, and where it serves all of it nothing from those of others either."""
    via = request.headers.get("via", "")
    if row.mode is not TransferMode.SERVE:
        return not has_passed(via, proxy)
    if not serves(row, request.method, upgrade="upgrade" in request.headers):
        return False
    return not via or not any(has_passed(via, node.name) for node in topology.by_role(Role.CONTENT))


def key_of(request: Request, vip: SocketAddress) -> str:
    """As content proxies name what they store."""
    return _key(request.host, vip.port, f"{request.path}?{request.query}" if request.query else request.path)


def _key(host: str, port: int, target: str) -> str:
    return f"http://{host if port == 80 else f'{host}:{port}'}{target}"


def outdated_by(request: Request, vip: SocketAddress, elsewhere: Sequence[bytes]) -> frozenset[str]:
    """Keys whose stored answers an unsafe request made worthless, as it succeeded (RFC 9111 4.4). ``elsewhere``:
    Location and Content-Location of its answer."""
    found = (target_at(reference, request.host, vip.port) for reference in elsewhere)
    others = (_key(request.host, vip.port, target.decode("latin-1")) for target in found if target)
    return frozenset((key_of(request, vip), *others))


def proxies_storing(topology: Topology, application: str, key: str) -> list[Node]:
    """Those that may be offered what is stored by this key, and have to hear that it has changed."""
    if not topology.transfers or host_of(key) not in topology.applications[application].hostnames:
        return []
    return [topology.nodes[name] for name in sorted(storing(topology.transfers, application, path_of(key)))]


def fields_of(head: bytes) -> bytes:
    """What stands for the fields of a request, of whose head ``head`` is: a client says the same ones again, mostly."""
    return blake2b(head.partition(b"\r\n")[2], digest_size=16).digest()


def is_for_origin(request: Request) -> bool:
    """Whether no stored answer may serve it, by its own fields: a reload, or a condition that only the origin knows."""
    headers = request.headers
    if _TELLING.isdisjoint(headers):
        return False

    def value(name: bytes) -> bytes | None:
        found = headers.get(name.decode())
        return None if found is None else found.encode("latin-1", "replace")

    return not may_answer(request.method.encode(), value)


def has_passed(via: str, proxy: str) -> bool:
    """Whether a proxy names itself in a Via field (RFC 9110 7.6.3)."""
    return bool(via) and any(words[1:2] == [proxy] for words in (each.lower().split() for each in via.split(",")))
