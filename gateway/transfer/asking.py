"""A proxy is asked to take a connection: what is done first, as its client waits, and what is noted meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import trio

from braid.process import give_way
from braid.stored import octets
from braid.tcp.offering import Offer, make_offer
from braid.transfer import Numbers, TransferRequest
from gateway.transfer.moving import Moving
from gateway.transfer.state import ASK_FOR
from gateway.transfer.stored import ANY

if TYPE_CHECKING:
    from braid.role import NodeHandle
    from braid.tcp.offering import Offered
    from gateway.normalpath.promotion import Promoted
    from gateway.proxy.events import ClientData
    from gateway.transfer.moving import Holder

DEADLINE = round(ASK_FOR * 1000)
"""Milliseconds."""
US = "gateway"
"""In what is noted of messages; others go by their names."""


class Question(NamedTuple):
    data: ClientData
    proxy: str
    peer: int
    """Number of the proxy."""
    content: str
    holder: Holder
    was: Promoted | None
    """To the data plane."""
    fields: bytes = ANY
    may_return: bool = True


Moment = tuple[float, float]
"""By both clocks."""
Source = tuple[int, bytes | None]
"""A client's socket, and what was read of the connection already; None: nothing was, and what came goes along."""


def ask(node: NodeHandle, asked: Question, source: Source, id_: bytes) -> Offered:
    """FreezeError, and nothing has happened."""
    assert node.offers is not None
    descriptor, head = source
    offer = Offer(id_, DEADLINE, octets(asked.content), asked.peer, head)
    offered = make_offer(node.offers, descriptor, offer, v6=asked.data.client.host.version == 6)
    give_way()
    return offered


def asked_by(
    node: NodeHandle, asked: Question, id_: bytes, offered: Offered, moment: Moment
) -> tuple[Moving, TransferRequest]:
    """``moment``: when it was offered."""
    data, proxy, peer, content, holder, was, fields, may_return = asked
    # A refusal may be under way already, and should not have to wait for this.
    now, wall = moment
    holder.wait(id_, now)
    # From here on the client waits for others.
    moving = Moving(
        id_, data.application, data.client, data.vip, data.edge, proxy, peer, content, now, wall, holder, may_return,
        offered.socket, lambda: node.held(offered.held), offered.received, fields,
        told=Numbers(*offered.next), was=was,
    )  # fmt: skip
    if offered.asked:
        moving.note(trio.current_time(), US, proxy, TransferRequest)
    numbers = Numbers(*offered.next)
    return moving, TransferRequest(id_, DEADLINE, numbers, offered.initial, octets(content), offered.record)
