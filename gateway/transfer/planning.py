"""What is decided of a connection's requests ahead: the relay offers most of them by that, or keeps them, before Python
hears of them (``dataplane/line/src/plan.rs``). What plans leave open ``choosing`` decides. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from braid.delegation import NOTHING
from braid.transfer_table import joins
from dataplane._native import Plan
from topology.model import Role
from topology.transfer import HashedBy, ProxyPolicy, TransferMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from braid.delegation import Delegation
    from braid.role import Situation
    from dataplane._native import PlanRow
    from gateway.proxy.events import ClientData
    from topology.model import IPAddress, SocketAddress, Topology
    from topology.transfer import TransferRow

MOST = 1000
"""Plans that are kept for connections to come."""


class _Ends(NamedTuple):
    """What a connection's plan depends on."""

    application: str
    vip: SocketAddress
    region: str
    client: IPAddress | None


class _Grounds(NamedTuple):
    """What all plans depend on."""

    topology: Topology
    up: frozenset[str]
    leaving: frozenset[int]
    delegations: Mapping[str, Delegation]


class Plans:
    """``leaving``: numbers of proxies that drain."""

    def __init__(self, leaving: set[int]) -> None:
        self._leaving = leaving
        self._grounds: _Grounds | None = None
        self._by_client: frozenset[str] = frozenset()
        """Applications whose rows look at the client."""
        self._known: dict[_Ends, Plan] = {}

    def follow(self, situation: Situation) -> bool:
        """Whether plans that were made may be wrong now; here they are forgotten."""
        topology, delegations, before = situation.topology, situation.delegations, self._grounds
        proxies = {name for row in topology.transfers for name in row.proxies}
        up = frozenset(name for name in proxies if situation.links.neighbour_up(name))
        now = _Grounds(
            topology, up, frozenset(self._leaving), {name: delegations.get(name, NOTHING) for name in proxies}
        )
        if before is not None and topology is before.topology and now[1:] == before[1:]:
            return False
        self._grounds = now
        self._by_client = frozenset(row.application for row in topology.transfers if row.clients)
        self._known.clear()
        return True

    def of(self, situation: Situation, data: ClientData) -> Plan:
        """In the situation that was followed last."""
        client = data.client.host if data.application in self._by_client else None
        ends = _Ends(data.application, data.vip, data.region, client)
        found = self._known.get(ends)
        if found is None:
            if len(self._known) >= MOST:
                self._known.clear()
            found = self._known[ends] = self._made(situation, data)
        return found

    def _made(self, situation: Situation, data: ClientData) -> Plan:
        nodes, delegations = situation.topology.nodes, situation.delegations

        def has(name: str) -> bool:
            """Whether it may be asked, of this VIP's connections."""
            may = situation.links.neighbour_up(name) and nodes[name].number not in self._leaving
            return may and delegations.get(name, NOTHING).covers(data.vip.host)

        number: Callable[[str], int] = lambda name: nodes[name].number  # noqa: E731
        rows = [
            _in_words(row, [(name, number(name), list(delegations[name].names)) for name in filter(has, row.proxies)])
            for row in situation.topology.transfers
            if row.application == data.application and joins(row, data.client.host, data.region, data.vip.port)
        ]
        fetchers = [node.name for node in situation.topology.by_role(Role.CONTENT)]
        return Plan(data.vip.port, fetchers, rows)


def _in_words(row: TransferRow, proxies: list[tuple[str, int, list[str]]]) -> PlanRow:
    policy: Literal["first", "by_path", ""]
    match row.policy, row.hash:
        case ProxyPolicy.FIRST, _:
            policy = "first"
        case ProxyPolicy.HASH, HashedBy.PATH:
            policy = "by_path"
        case _:
            policy = ""
    serves, conditional = row.mode is TransferMode.SERVE, row.connection is not None
    return row.path, list(row.methods), list(row.hosts), row.until, conditional, serves, policy, proxies
