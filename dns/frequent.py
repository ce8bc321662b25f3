"""Queries of the frequent shape, read in three look-ups: an address of an application's hostname, with no options but
a client's prefix. Every other query goes to the gate; both read alike, which a test shows. Pure.

A question is looked up as it stands in the query, in lower case. That is safe although lengths and type stand in it:
lower case changes no byte below 65, and no length and no type that is looked up has another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dns.asker import Additional
from dns.client import passed_on
from dns.message import AA, BEHIND_ID, QR, RD
from dns.options import UDP_SIZE, opt_record, subnet_option
from topology.model import ClientSubnetUse

if TYPE_CHECKING:
    from dns.options import Edns
    from dns.view import View

PLAIN_UDP = 512
"""Bytes of an answer over UDP to whoever says nothing of EDNS (RFC 1035 section 2.3.4)."""
LONGEST_ADDITIONAL = 64
"""Bytes; with one option for a client's prefix they are at most 35."""
REMEMBERED = 16_384
"""Additional sections, some hundred bytes each: as many as there are client prefixes that resolvers ask for."""

_AD, _CD = 0x0020, 0x0010


MOST_ANSWERS = 15
"""Records of one answer whose header is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    rd: int
    """The flag as the answer has it."""
    opt: bool
    """Whether one record must follow the question."""
    heads: tuple[bytes, ...]
    """By number of answers: what follows the id in the answer's header."""


def _shape(rd: int, opt: int) -> Shape:
    return Shape(rd, bool(opt), tuple(BEHIND_ID.pack(QR | AA | rd, 1, n, 0, opt) for n in range(MOST_ANSWERS + 1)))


SHAPES = {
    (rd | ad | cd).to_bytes(2, "big") + bytes((0, 1, 0, 0, 0, 0, 0, opt)): _shape(rd, opt)
    for rd in (0, RD)
    for ad in (0, _AD)
    for cd in (0, _CD)
    for opt in (0, 1)
}
"""By flags and counts of the header."""


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
    view.additionals[rest] = _additional(edns, view)


def _additional(edns: Edns, view: View) -> Additional:
    limit, subnet, use = udp_limit(edns), edns.subnet, view.config.settings.client_subnet
    if subnet is None or use is ClientSubnetUse.OFF:
        opt = opt_record(0, edns.do)
        return Additional(limit, opt, tail=opt, prefix_tail=opt)
    whole = opt_record(0, edns.do, subnet_option(subnet, 0))
    place = len(whole) - len(subnet.address) - 1
    opt, after = whole[:place], whole[place + 1 :]
    client = passed_on(subnet, use)
    if client is None:
        return Additional(limit, opt, after, subnet.family, tail=whole, prefix_tail=whole)
    asker = view.asker(client)
    tail, prefix_tail = (opt + bytes([scope]) + after for scope in (asker.scope, asker.prefix_scope))
    return Additional(limit, opt, after, subnet.family, asker, tail, prefix_tail)
