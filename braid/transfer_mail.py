"""Messages about transferred connections on their way between neighbours: in parts where they are long, read once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid import entrusted, missed, outdated, stored, transfer
from braid.entrusted import is_entrusting
from braid.missed import is_missed
from braid.outdated import is_outdated
from braid.stored import is_stored
from braid.transfer import is_transfer
from braid.transfer_parts import Assembler, is_part, split
from braid.transfer_progress import decode_heard, decode_promised, is_heard, is_promised

if TYPE_CHECKING:
    from braid.entrusted import Entrusting
    from braid.missed import Missed
    from braid.outdated import Dropped, Outdated
    from braid.role import NodeHandle
    from braid.stored import StoredPages, Wanted
    from braid.transfer import TransferMessage
    from braid.transfer_progress import Heard, Promised

    Message = TransferMessage | Promised | Heard | StoredPages | Wanted | Outdated | Dropped | Entrusting | Missed

_READERS = (
    (is_transfer, transfer.decode),
    (is_promised, decode_promised),
    (is_heard, decode_heard),
    (is_stored, stored.decode),
    (is_outdated, outdated.decode),
    (is_entrusting, entrusted.decode),
    (is_missed, missed.decode),
)


class Inbox:
    def __init__(self) -> None:
        self._parts = Assembler()

    def read(self, peer: int, data: bytes, now: float) -> Message | None:
        """A control message of a node. None: it is about something else, or a part of one that is not whole yet.
        BadPacket for what nobody has written."""
        if is_part(data):
            whole = self._parts.receive(peer, data, now)
            if whole is None:
                return None
            data = whole
        for is_ours, decode in _READERS:
            if is_ours(data):
                return decode(data)
        return None


def send(node: NodeHandle, peer: int, message: bytes) -> str:
    """To a neighbour, if there is one of that number; its name."""
    found = node.situation().topology.by_number(peer)
    if found is None:
        return ""
    for part in split(message):
        node.tell(found.name, part)
    return found.name
