"""What certificates allow in tests: what ``braid pki`` would write into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.delegation import Delegation, wanted
from braid.role import Situation

if TYPE_CHECKING:
    from braid.role import Links
    from topology.model import Topology


def delegations(topology: Topology) -> dict[str, Delegation]:
    return {node.name: wanted(topology, node.name) for node in topology.nodes.values() if node.content is not None}


def situation(topology: Topology, node: str, links: Links | None = None) -> Situation:
    """Without ``links`` for what asks nobody's state."""
    return Situation(topology, node, links, delegations(topology))  # type: ignore[arg-type]
