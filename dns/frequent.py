"""Queries of the frequent shape, read in three look-ups: an address of an application's hostname, with no options but
a client's prefix. Every other query goes to the gate; both read alike, which a test shows. Pure.

A question is looked up as it stands in the query, in lower case. That is safe although lengths and type stand in it:
lower case changes no byte below 65, and no length and no type that is looked up has another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dns.client import passed_on
from dns.message import RD
from dns.options import UDP_SIZE, opt_record, subnet_option
from topology.model import ClientSubnetUse

if TYPE_CHECKING:
    from dns.client import Client
    from dns.options import Edns
    from dns.view import View
    from dns.zone import Reply, Zone

PLAIN_UDP = 512
"""Bytes of an answer over UDP to whoever says nothing of EDNS (RFC 1035 section 2.3.4)."""
LONGEST_ADDITIONAL = 64
"""Bytes; with one option for a client's prefix they are at most 35."""
REMEMBERED = 16_384
"""Additional sections, some hundred bytes each: as many as there are client prefixes that resolvers ask for."""

_AD, _CD = 0x0020, 0x0010


class Shape(NamedTuple):
    rd: int
    """The flag as the answer has it."""
    opt: bool
    """Whether one record must follow the question."""


SHAPES = {
    (rd | ad | cd).to_bytes(2, "big") + bytes((0, 1, 0, 0, 0, 0, 0, opt)): Shape(rd, bool(opt))
    for rd in (0, RD)
    for ad in (0, _AD)
    for cd in (0, _CD)
    for opt in (0, 1)
}
"""By flags and counts of the header."""


class Steered(NamedTuple):
    """A question whose answer depends on the client."""

    application: str
    zone: Zone
    label: str
    """Of the type, as it is counted."""
    vips: tuple[Reply | None, ...]
    """Per edge its VIPs of this type."""
    vips_degraded: tuple[Reply | None, ...]
    """The same with a TTL for times of trouble."""
    varies: bool
    """Whether any edge has addresses of this type: else the answer is the same for all."""


class Additional(NamedTuple):
    """What follows the question, and what the answer gets for it."""

    limit: int
    """Bytes of the answer."""
    opt: bytes = b""
    """Our OPT record, all of it or up to the scope."""
    after: bytes | None = None
    """What follows the scope; None when none is given."""
    family: int = 0
    """Of the client's prefix."""
    client: Client | None = None
    """Whom the prefix tells us of; else it is the sender."""


NOTHING = Additional(PLAIN_UDP)


def udp_limit(edns: Edns | None) -> int:
    """Bytes of an answer over UDP."""
    return PLAIN_UDP if edns is None else min(max(edns.udp_size, PLAIN_UDP), UDP_SIZE)


def remember(view: View, rest: bytes, edns: Edns | None) -> None:
    """``rest`` is what followed the question of a query that the gate has read, ``edns`` what it read in it."""
    if edns is None or len(rest) > LONGEST_ADDITIONAL or edns.cookie is not None or edns.nsid or edns.keepalive:
        return
    if len(view.additionals) >= REMEMBERED:
        view.additionals.clear()
    view.additionals[rest] = _additional(edns, view.config.settings.client_subnet)


def _additional(edns: Edns, use: ClientSubnetUse) -> Additional:
    limit, subnet = udp_limit(edns), edns.subnet
    if subnet is None or use is ClientSubnetUse.OFF:
        return Additional(limit, opt_record(0, edns.do))
    whole = opt_record(0, edns.do, subnet_option(subnet, 0))
    scope = len(whole) - len(subnet.address) - 1
    return Additional(limit, whole[:scope], whole[scope + 1 :], subnet.family, passed_on(subnet, use))
