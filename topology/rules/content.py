"""Content proxies: that what they serve is there, can be reached, and fits the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.model import Protocol, Role
from topology.tls import HTTP_1_1, HTTP_2

if TYPE_CHECKING:
    from topology.model import SocketAddress
    from topology.problem import Key
    from topology.schema import ContentShape, ContentTlsShape
    from topology.shape import Draft


def check(draft: Draft) -> None:
    for name, node in draft.document.nodes.items():
        if node.content is not None:
            key: Key = ("nodes", name, "content")
            _applications(draft, key, node.content)
            _edges(draft, key, node.content)
            if node.content.largest_mb * 2 > node.content.size_mb:
                message = f"{node.content.largest_mb} MB for one answer, {node.content.size_mb} MB for all"
                draft.report.add((*key, "largest_mb"), message, "make it at most half of size_mb")
            _listen(draft, key, node.content)
            if node.content.tls is not None:
                _protocols(draft, (*key, "tls"), node.content.tls)


def _protocols(draft: Draft, key: Key, tls: ContentTlsShape) -> None:
    spoken = (HTTP_2, HTTP_1_1)
    for position, protocol in enumerate(tls.alpn or ()):
        if protocol not in spoken:
            message = f"a content proxy does not speak {protocol!r}"
            draft.report.add((*key, "alpn", position), message, f"write {' or '.join(spoken)}")


def _applications(draft: Draft, key: Key, content: ContentShape) -> None:
    known = draft.document.applications
    for position, name in enumerate(content.applications):
        place = (*key, "applications", position)
        if name in content.applications[:position]:
            draft.report.add(place, f"{name} is written twice", "keep the first")
        elif name not in known:
            if not draft.is_broken("applications", name):
                draft.report.add(place, f"unknown application {name}", f"use one of {', '.join(known) or 'none yet'}")
        elif all(ports.protocol not in (Protocol.TCP, Protocol.ANY) for ports in known[name].ports):
            draft.report.add(place, f"{name} has no TCP port, so no HTTP", "remove it, or add its port")


def _listen(draft: Draft, key: Key, content: ContentShape) -> None:
    taken: list[SocketAddress] = []
    for place, addresses in (((), content.listen), (("tls",), content.tls.listen if content.tls else ())):
        for position, address in enumerate(addresses):
            if address in taken:
                draft.report.add((*key, *place, "listen", position), f"{address} is written twice", "keep one")
            taken.append(address)


def _edges(draft: Draft, key: Key, content: ContentShape) -> None:
    regions = draft.document.regions
    known = [name for name, region in regions.items() if region.role is Role.EDGE]
    for position, name in enumerate(content.edges or ()):
        found = regions.get(name)
        if (found is None and not draft.is_broken("regions", name)) or (found and found.role is not Role.EDGE):
            remedy = f"use edge regions: {', '.join(known) or 'there is none yet'}"
            draft.report.add((*key, "edges", position), f"{name} is no edge region", remedy)
