"""How far a client's connection is when it might be offered, for rows of the routing table that want to know."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from braid.tcp.progress import counts_of
from braid.transfer_table import Standing

if TYPE_CHECKING:
    from gateway.normalpath.promotion import Promoted
    from gateway.proxy.relay import Relay
    from gateway.proxy.relayed import RelayedConnection


def of_request(relay: Relay, connection: RelayedConnection) -> Standing | None:
    """None where more than one request is under way: it does not move."""
    movable = relay.movable(connection)
    return None if movable is None else of_socket(movable[0], connection.promoted)


def of_socket(descriptor: int, promoted: Promoted | None) -> Standing | None:
    """None where there is no connection any more. Of one that no data plane knows only the socket tells."""
    try:
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
    except OSError:
        return None
    try:
        received, sent, window = counts_of(opened)
    except OSError:
        return None
    finally:
        opened.detach()
    if promoted is None:
        return Standing(1, received, sent, window)
    before_sent, before_received = promoted.before()
    return Standing(promoted.life.requests, received + before_received, sent + before_sent, window)
