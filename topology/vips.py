"""VIPs: which address of an edge's pools stands for which application.

An application's position in a pool is a hash of its name; when it is taken, the next free one is used, applications in
the order of the file. So an application added at the end of the file moves no other.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from topology.model import Application, IPAddress, IPNetwork, Node, Role, Topology, Vip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class PoolTooSmall(ValueError):
    """More applications than addresses: ``needed`` and ``size`` of ``family`` (4 or 6) at ``edge``."""

    def __init__(self, edge: str, family: int, needed: int, size: int) -> None:
        super().__init__(f"{edge}: {needed} applications need a VIP, its IPv{family} pools hold {size}")
        self.edge, self.family, self.needed, self.size = edge, family, needed, size


def assign_vips(nodes: Iterable[Node], applications: Iterable[Application]) -> tuple[Vip, ...]:
    """One VIP per edge, application and address family that the edge's pools and the application's targets share.

    Edges and applications keep their order; within an application the family of the edge's first pool comes first.
    Raises ``PoolTooSmall``.
    """
    ordered = tuple(applications)
    return tuple(vip for node in nodes if node.role is Role.EDGE for vip in _vips_of_edge(node, ordered))


def vip_for(topology: Topology, edge: str, application: str) -> tuple[Vip, ...]:
    """By which addresses clients of the edge node know the application; at most one per family."""
    return tuple(vip for vip in topology.vips if vip.edge == edge and vip.application == application)


def usable_range(pool: IPNetwork) -> range:
    """Offsets from the network address that may be VIPs.

    Not the network and broadcast addresses of IPv4, nor IPv6's subnet-router anycast address (RFC 4291 2.6.1); pools
    of one or two addresses are used whole (RFC 3021, RFC 6164).
    """
    size = 1 << (pool.max_prefixlen - pool.prefixlen)
    if size <= 2:
        return range(size)
    return range(1, size - 1 if pool.version == 4 else size)


def pool_size(pools: Iterable[IPNetwork], family: int) -> int:
    """Addresses usable as VIPs."""
    # len() of a range is limited to the machine's word, an IPv6 pool is not.
    ranges = (usable_range(pool) for pool in pools if pool.version == family)
    return sum(usable.stop - usable.start for usable in ranges)


def families_of(application: Application) -> frozenset[int]:
    """4, 6 or both: those in which the application has a target."""
    return frozenset(target.address.version for target in application.targets)


def _vips_of_edge(edge: Node, applications: Sequence[Application]) -> Iterator[Vip]:
    families = tuple(dict.fromkeys(pool.version for pool in edge.vip_pools))
    places = {family: _positions(edge, family, applications) for family in families}
    for application in applications:
        for family in families:
            if application.name in places[family]:
                address = _address_at(edge.vip_pools, family, places[family][application.name])
                yield Vip(edge.name, application.name, address)


def _positions(edge: Node, family: int, applications: Sequence[Application]) -> dict[str, int]:
    wanting = [application.name for application in applications if family in families_of(application)]
    size = pool_size(edge.vip_pools, family)
    if len(wanting) > size:
        raise PoolTooSmall(edge.name, family, len(wanting), size)
    places: dict[str, int] = {}
    taken: set[int] = set()
    for name in wanting:
        position = _hash(name) % size
        while position in taken:
            position = (position + 1) % size
        taken.add(position)
        places[name] = position
    return places


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8, person=b"braid-vip").digest())


def _address_at(pools: Iterable[IPNetwork], family: int, position: int) -> IPAddress:
    for pool in pools:
        if pool.version != family:
            continue
        usable = usable_range(pool)
        size = usable.stop - usable.start
        if position < size:
            return pool.network_address + usable.start + position
        position -= size
    raise ValueError(f"position {position} lies behind the pools")
