"""Prefixes with labels: which one holds an address, which ones overlap. Made for tens of thousands of prefixes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from topology.model import IPAddress, IPNetwork

Label = TypeVar("Label")


class Spans(Generic[Label]):
    def __init__(self) -> None:
        self._labels: dict[tuple[int, int, int], Label] = {}
        self._lengths: dict[int, set[int]] = {4: set(), 6: set()}

    def add(self, network: IPNetwork, label: Label) -> Label | None:
        """The label of the same prefix added earlier, which is kept; None when it is new."""
        key = (network.version, network.prefixlen, int(network.network_address))
        if key in self._labels:
            return self._labels[key]
        self._labels[key] = label
        self._lengths[network.version].add(network.prefixlen)
        return None

    def holder(self, address: IPAddress) -> Label | None:
        """The label of the longest prefix that holds the address."""
        return next(self._holders(address, address.max_prefixlen), None)

    def overlap(self, network: IPNetwork) -> Label | None:
        """The label of the longest prefix that holds the network, itself not counted."""
        return next(self._holders(network.network_address, network.prefixlen - 1), None)

    def _holders(self, address: IPAddress, longest: int) -> Iterator[Label]:
        for length in sorted(self._lengths[address.version], reverse=True):
            if length <= longest:
                shift = address.max_prefixlen - length
                key = (address.version, length, int(address) >> shift << shift)
                if key in self._labels:
                    yield self._labels[key]
