"""Rows of the routing table of transfers that are allowed but hardly move what was meant, as ``braid check`` warns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.content import MEGABYTE
from topology.transfer import KILOBYTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from topology.model import Topology
    from topology.transfer import TransferRow


def warnings(topology: Topology) -> Iterator[str]:
    drains = {row.position for row in topology.drains}
    places = [place for place in range(len(topology.transfers) + len(drains)) if place not in drains]
    for index, (place, row) in enumerate(zip(places, topology.transfers, strict=False)):
        key = f"transfers[{place}]"
        for before, other in zip(places, topology.transfers[:index], strict=False):
            if _covers(other, row):
                yield f"{key}: never reached, transfers[{before}] holds for all that it names"
                break
        yield from _names(topology, key, row)
        if "*" in row.path:
            yield f"{key}.path: holds for paths that begin with it, and * stands for itself"
        largest = max(content.largest for name in row.proxies if (content := topology.nodes[name].content) is not None)
        if row.least > largest:
            yield (
                f"{key}.least_kb: {row.least // KILOBYTE} kB, and its proxies keep at most"
                f" largest_mb, {largest // MEGABYTE} MB: nothing moves"
            )


def _names(topology: Topology, key: str, row: TransferRow) -> Iterator[str]:
    served = {
        hostname
        for name in row.proxies
        if (content := topology.nodes[name].content) is not None
        for application in content.applications
        for hostname in topology.applications[application].hostnames
    }
    for word, patterns in (("hosts", row.hosts), ("sni", row.sni)):
        for position, pattern in enumerate(patterns):
            if not any(_is_named(hostname, pattern) for hostname in served):
                yield f"{key}.{word}[{position}]: its proxies answer for no hostname {pattern}: nothing moves by it"


def _is_named(hostname: str, pattern: str) -> bool:
    return hostname.endswith(pattern[1:]) if pattern.startswith("*.") else hostname == pattern


def _covers(first: TransferRow, other: TransferRow) -> bool:
    """Whether ``first`` holds for whatever ``other`` holds for, and always."""
    return (
        first.application == other.application
        and first.until is None
        and first.connection is None
        and (not first.clients or (bool(other.clients) and all(
            any(each.version == wide.version and each.subnet_of(wide) for wide in first.clients)  # type: ignore[arg-type]
            for each in other.clients
        )))
        and (not first.ports or (bool(other.ports) and all(
            any(wide.low <= each.low and each.high <= wide.high for wide in first.ports) for each in other.ports
        )))
        and set(other.methods) <= set(first.methods)
        and other.path.startswith(first.path)
        and _wider(first.edges, other.edges)
        and _wider(first.hosts, other.hosts)
        and _wider(first.sni, other.sni)
        and _wider(first.alpn, other.alpn)
    )  # fmt: skip


def _wider(first: Sequence[str], other: Sequence[str]) -> bool:
    return not first or (bool(other) and set(other) <= set(first))
