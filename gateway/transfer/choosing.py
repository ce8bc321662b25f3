"""By which row of the routing table a connection is offered, to which proxy, and what that is known to have. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.transfer_table import chosen, matching
from gateway.transfer.offer import candidate_of, candidate_of_hello, is_for, is_for_origin
from gateway.transfer.stored import Is
from topology.transfer import TransferMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.role import Situation
    from braid.tls.hello import ClientHello
    from braid.transfer_table import Candidate
    from gateway.proxy.events import ClientData, Request
    from gateway.transfer.stored import StoredTable
    from topology.transfer import TransferRow


class Chooser:
    """``count`` hears of what is refused, by its reason."""

    def __init__(self, stored: StoredTable, wall: Callable[[], float], count: Callable[[str], None]) -> None:
        self._stored = stored
        self._wall = wall
        self._count = count

    def of_request(self, situation: Situation, data: ClientData, request: Request) -> tuple[TransferRow, str] | None:
        found = self._of(situation, candidate_of(data, request))
        return found if found is not None and is_for(*found, request, situation.topology) else None

    def of_hello(self, situation: Situation, data: ClientData, hello: ClientHello) -> str | None:
        found = self._of(situation, candidate_of_hello(data, hello))
        return None if found is None else found[1]

    def known(self, row: TransferRow, request: Request, peer: int, content: str, fields: bytes, now: float) -> Is:
        """Of what the proxy has to have; where it serves all of it, only whether it has refused to a moment ago."""
        if row.mode is TransferMode.SERVE:
            return Is.COLD if self._stored.is_cold(peer, content, now) else Is.STORED
        return Is.UNFIT if is_for_origin(request) else self._stored.look_up(peer, content, now, fields)

    def _of(self, situation: Situation, candidate: Candidate) -> tuple[TransferRow, str] | None:
        row = matching(situation.topology.transfers, candidate, self._wall())
        if row is None:
            return None
        proxy = chosen(row, candidate, situation.links.neighbour_up)
        if proxy is None:
            self._count("refused/no_proxy")
            return None
        return row, proxy
