"""A client's connection is offered to a content proxy: its socket is frozen, its packets are held, and the proxy
is asked. The client waits, so that is one call of the core (``dataplane/py/src/offering.rs``).
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, NamedTuple

from braid.tcp.repair import FreezeError

if TYPE_CHECKING:
    from braid.core import Hold, OfferApi

    Made = tuple[int, bytes, tuple[int, int], tuple[int, int], int, Hold, bool]


class Offer(NamedTuple):
    id: bytes
    """Of the transfer."""
    deadline: int
    """Milliseconds."""
    content: bytes
    proxy: int
    head: bytes | None
    """What was read of the connection already, and goes along as unread; None: nothing was, and what came goes
    along."""


class Offered(NamedTuple):
    """A frozen connection as another node may take it over."""

    socket: socket.socket
    record: bytes
    next: tuple[int, int]
    """Next byte to send and to receive, before what came with it."""
    initial: tuple[int, int]
    """Numbers from which the peer's bytes and ours counted: of the connection's beginning, unless it came back."""
    received: int
    """What had come of the peer, as the kernel counts it (32 bits)."""
    held: Hold
    """Whether the client's packets are held."""
    asked: bool
    """The proxy is. False: the request is too long for one message, and the caller's to send."""


def make_offer(core: OfferApi, descriptor: int, offer: Offer, *, v6: bool) -> Offered:
    """The descriptor stays the caller's. FreezeError, and nothing has happened: something is under way on the
    connection, either side has ended, it is too large, or the socket is broken."""
    what = offer.id, offer.deadline, offer.content
    try:
        made = core.offer(descriptor, offer.head, what, offer.proxy)
    except ValueError as error:
        raise FreezeError(str(error)) from error
    except OSError as error:
        raise FreezeError(errno.errorcode.get(error.errno or 0, "failed").lower()) from error
    return offered_by(made, v6=v6)


def offered_by(made: Made, *, v6: bool) -> Offered:
    """By what the core says of it."""
    family = socket.AF_INET6 if v6 else socket.AF_INET
    return Offered(socket.socket(family, socket.SOCK_STREAM, 0, made[0]), *made[1:])
