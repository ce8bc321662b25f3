"""Clients by address: every address lies in one cell, in which the same edges serve it. Pure, made once per reload.

Cells are ranges between the ends of the edges' prefixes, so those of one family never overlap; and the widest prefix
around a client that stays inside its cell is the scope for which an answer is right (RFC 7871 section 7.2.1).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from topology.model import IPNetwork

BITS = {4: 32, 6: 128}
REMEMBERED = 16_384

Group = tuple[int, ...]
"""Indices into the edges of the configuration."""


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """The edges for some clients; every edge stands in it once. Cells are told apart by identity: there is one for
    each set of edges."""

    serving: tuple[Group, ...]
    """Those with the longest matching prefix, then with shorter ones, at last those that serve everybody."""
    others: Group
    """Those that are meant for other clients."""

    @property
    def order(self) -> Group:
        return tuple(edge for group in (*self.serving, self.others) for edge in group)


class ClientMap:
    def __init__(self, serves: Sequence[Sequence[IPNetwork]]) -> None:
        """``serves``: per edge the client prefixes it is meant for; empty means everybody."""
        self._families = {version: _Family(version, serves) for version in BITS}

    def find(self, version: int, number: int) -> tuple[Cell, int]:
        """The cell of an address, as an integer, and the scope: a prefix length, 0 when there is only one cell."""
        return self._families[version].find(number)

    def cells(self, version: int) -> tuple[Cell, ...]:
        return self._families[version].cells


class _Family:
    def __init__(self, version: int, serves: Sequence[Sequence[IPNetwork]]) -> None:
        self._bits = BITS[version]
        prefixes = {prefix for own in serves for prefix in own if prefix.version == version}
        owners: dict[int, dict[int, list[int]]] = {}
        for edge, own in enumerate(serves):
            for prefix in set(own):
                if prefix.version == version:
                    spare = self._bits - prefix.prefixlen
                    start = int(prefix.network_address) >> spare
                    owners.setdefault(prefix.prefixlen, {}).setdefault(start, []).append(edge)
        longest_first = sorted(owners.items(), reverse=True)
        everybody = tuple(edge for edge, own in enumerate(serves) if not own)
        known: dict[tuple[Group, ...], Cell] = {}
        self._starts: list[int] = []
        self._found: dict[int, tuple[Cell, int]] = {}
        """Clients that have asked: with many prefixes a search touches memory that is in no cache."""
        cells: list[Cell] = []
        for start in sorted({0, *_ends(prefixes, self._bits)}):
            matching = tuple(
                tuple(found)
                for length, starts in longest_first
                if (found := starts.get(start >> (self._bits - length))) is not None
            )
            if matching not in known:
                known[matching] = _cell(matching, everybody, len(serves))
            if not cells or cells[-1] is not known[matching]:
                self._starts.append(start)
                cells.append(known[matching])
        self.cells = tuple(cells)

    def find(self, number: int) -> tuple[Cell, int]:
        found = self._found.get(number)
        if found is None:
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            found = self._found[number] = self._search(number)
        return found

    def _search(self, number: int) -> tuple[Cell, int]:
        starts = self._starts
        after = bisect_right(starts, number)
        # The nearest addresses outside the cell; one bit more than is shared with either of them tells them apart.
        alone = self._bits + 1
        if after > 1:
            alone = min(alone, (number ^ (starts[after - 1] - 1)).bit_length())
        if after < len(starts):
            alone = min(alone, (number ^ starts[after]).bit_length())
        return self.cells[after - 1], self._bits + 1 - alone


def _ends(prefixes: Iterable[IPNetwork], bits: int) -> Iterable[int]:
    for prefix in prefixes:
        start, size = int(prefix.network_address), 1 << (bits - prefix.prefixlen)
        yield start
        if start + size < 1 << bits:
            yield start + size


def _cell(matching: tuple[Group, ...], everybody: Group, count: int) -> Cell:
    seen: set[int] = set()
    serving: list[Group] = []
    for group in (*matching, everybody):
        fresh = tuple(edge for edge in group if edge not in seen)
        seen.update(fresh)
        if fresh:
            serving.append(fresh)
    return Cell(tuple(serving), tuple(edge for edge in range(count) if edge not in seen))
