"""By which row of the routing table a connection is offered, to which proxy, and what that is known to have. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.delegation import NOTHING
from braid.transfer_table import chosen, matching
from gateway.transfer.offer import candidate_of, candidate_of_hello, is_for, is_for_origin
from gateway.transfer.stored import Is
from topology.transfer import TransferMode

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from braid.role import Situation
    from braid.tls.hello import ClientHello
    from braid.transfer_table import Candidate
    from gateway.proxy.events import ClientData, Request
    from gateway.transfer.agent import TransferAgent
    from gateway.transfer.offer import Look
    from gateway.transfer.stored import StoredTable
    from topology.model import IPAddress
    from topology.transfer import TransferRow


class Chooser:
    """By what proxies store, and have of this gateway's connections, as the ``agent`` knows."""

    def __init__(self, stored: StoredTable, agent: TransferAgent, rng: Random, wall: Callable[[], float]) -> None:
        self.leaving: set[int] = set()
        """Numbers of proxies that drain: they take nothing more, until they are other processes."""
        self._stored = stored
        self._agent = agent
        self._rng = rng
        self._wall = wall

    def of_request(
        self, situation: Situation, data: ClientData, request: Request, standing: Look
    ) -> tuple[TransferRow, str] | None:
        found = self._of(situation, candidate_of(data, request, standing), data.vip.host)
        return found if found is not None and is_for(*found, request, situation.topology) else None

    def of_hello(self, situation: Situation, data: ClientData, hello: ClientHello, standing: Look) -> str | None:
        found = self._of(situation, candidate_of_hello(data, hello, standing), data.vip.host)
        return None if found is None else found[1]

    def known(self, row: TransferRow, request: Request, peer: int, content: str, fields: bytes, now: float) -> Is:
        """Of what the proxy has to have; where it serves all of it, only whether it has refused to a moment ago."""
        if row.mode is TransferMode.SERVE:
            return Is.COLD if self._stored.is_cold(peer, content, now) else Is.STORED
        return Is.UNFIT if is_for_origin(request) else self._stored.look_up(peer, content, now, fields)

    def _of(self, situation: Situation, candidate: Candidate, vip: IPAddress) -> tuple[TransferRow, str] | None:
        row = matching(situation.topology.transfers, candidate, self._wall())
        if row is None:
            return None
        open_, nodes = self._agent.open, situation.topology.nodes
        load = lambda name: open_[nodes[name].number]  # noqa: E731
        is_up = situation.links.neighbour_up

        def stays(proxy: str) -> bool:
            return is_up(proxy) and nodes[proxy].number not in self.leaving

        def may(proxy: str) -> bool:
            found = situation.delegations.get(proxy, NOTHING)
            return stays(proxy) and found.covers(vip) and found.names_host(candidate.host)

        proxy = chosen(row, candidate, may, load, self._rng)
        if proxy is None:
            leaving = "draining" if any(map(is_up, row.proxies)) else "no_proxy"
            self._agent.count("refused/" + ("not_delegated" if any(map(stays, row.proxies)) else leaving))
            return None
        return row, proxy
