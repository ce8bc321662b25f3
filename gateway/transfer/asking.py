"""A proxy is asked to take a connection: what is done first, as its client waits, and what is noted meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import trio

from braid.process import give_way
from braid.tcp.offering import Offer, make_offer
from braid.transfer import Numbers, TransferRequest
from gateway.transfer.moving import Moving
from gateway.transfer.stored import ANY

if TYPE_CHECKING:
    from braid.role import NodeHandle
    from gateway.normalpath.promotion import Promoted
    from gateway.proxy.events import ClientData
    from gateway.transfer.moving import Holder

US = "gateway"
"""In what is noted of messages; others go by their names."""


class Question(NamedTuple):
    data: ClientData
    proxy: str
    peer: int
    """Number of the proxy."""
    content: str
    holder: Holder
    descriptor: int
    head: bytes | None
    """What was read of the connection already; None: nothing was, and what came goes along."""
    was: Promoted | None
    """To the data plane."""
    fields: bytes = ANY
    may_return: bool = True


def ask(
    node: NodeHandle, asked: Question, id_: bytes, deadline: int, moment: tuple[float, float]
) -> tuple[Moving, TransferRequest, bool]:
    """``deadline`` in milliseconds. ``moment``: now, by both clocks. Whether the proxy has been asked: else the request
    is too long for one message, and is to be sent. FreezeError, and nothing has happened."""
    assert node.offers is not None
    data, proxy, peer, content, holder, descriptor, head, was, fields, may_return = asked
    key = content.encode("latin-1", "replace")
    offered = make_offer(
        node.offers, descriptor, Offer(id_, deadline, key, peer, head), v6=data.client.host.version == 6
    )
    give_way()
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
    request = TransferRequest(id_, deadline, Numbers(*offered.next), offered.initial, key, offered.record)
    return moving, request, offered.asked
