"""All zones of a DNS node as packed answers: immutable, a name is found in one look-up.

RFC 1034 section 4.3.2, 2308, 4592 (wildcards), 8020 (empty non-terminals).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dns.records import Records

_WILDCARD = b"\x01*"


@dataclass(frozen=True, slots=True)
class Reply:
    """What stands after the question, packed; owner names are pointers to the question's name or written in full."""

    answer: bytes = b""
    answers: int = 0
    negative: bool = False
    """The zone's SOA follows in the authority section."""
    extra: bytes = b""
    extras: int = 0
    """Additional records; left out as a whole when they do not fit."""


NODATA = Reply(negative=True)


@dataclass(frozen=True, slots=True)
class Zone:
    apex: bytes
    """Wire form in lower case, as all names here."""
    soa: Records
    """In pieces, see ``records.soa_around``; with the TTL of negative answers (RFC 2308 section 3)."""
    name: str
    """As its answers are counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Steered:
    """A question whose answer depends on the client."""

    application: str
    zone: Zone
    counted: tuple[str, str]
    """Type and zone, as they are counted."""
    vips: tuple[Reply | None, ...]
    """Per edge its VIPs of this type."""
    vips_degraded: tuple[Reply | None, ...]
    """The same with a TTL for times of trouble."""
    varies: bool
    """Whether any edge has addresses of this type: else the answer is the same for all."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name that exists; without anything it is an empty non-terminal."""

    zone: Zone
    replies: Mapping[int, Reply]
    otherwise: Reply = NODATA
    """To every other type: for an alias the alias."""
    steered: Mapping[int, Steered] = field(default_factory=dict)
    """A and AAAA of an application's hostname."""

    @property
    def application(self) -> str | None:
        return next((steered.application for steered in self.steered.values()), None)


@dataclass(frozen=True, slots=True)
class Zones:
    names: Mapping[bytes, Name]
    steered: Mapping[bytes, Steered]
    """The same of all names, by question: name, type and class, in lower case."""
    apexes: tuple[Zone, ...] = ()

    def find(self, name: bytes) -> tuple[Zone, Name | None] | None:
        """The zone, and the name that answers, which may be a wildcard; None outside every zone.

        Costs one look-up for a name that exists, else one per label.
        """
        found = self.names.get(name)
        if found is not None:
            return found.zone, found
        while name and name != b"\x00":
            name = name[1 + name[0] :]
            encloser = self.names.get(name)
            if encloser is not None:
                return encloser.zone, self.names.get(_WILDCARD + name)
        return None
