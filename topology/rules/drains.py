"""Rows of the routing table that drain a gateway: that both gateways are of one region, and that no two contradict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.drains import clashes
from topology.model import Role
from topology.schema import DrainShape

if TYPE_CHECKING:
    from topology.problem import Key
    from topology.shape import Draft


def check(draft: Draft) -> None:
    rows = [(place, row) for place, row in enumerate(draft.document.transfers) if isinstance(row, DrainShape)]
    sound = [(place, row) for place, row in rows if _gateways(draft, ("transfers", place), row)]
    for clash in clashes([(row.gateway, row.to) for _, row in sound]):
        place, _ = sound[clash.index]
        draft.report.add(("transfers", place, clash.word), clash.message, clash.remedy)


def _gateways(draft: Draft, key: Key, row: DrainShape) -> bool:
    """Whether both are gateways of one region."""
    nodes, regions = draft.document.nodes, draft.document.regions
    if any(draft.is_broken("nodes", name) for name in (row.gateway, row.to)):
        return False
    gateways = {
        name: node.region
        for name, node in nodes.items()
        if node.region in regions and regions[node.region].role is Role.GATEWAY
    }
    sound = True
    for word, name in (("gateway", row.gateway), ("to", row.to)):
        if name not in gateways:
            known = ", ".join(gateways) or "there is none yet"
            draft.report.add((*key, word), f"{name} is no gateway", f"use gateways: {known}")
            sound = False
    if sound and gateways[row.gateway] != gateways[row.to]:
        region = gateways[row.gateway]
        others = [name for name, other in gateways.items() if other == region and name != row.gateway]
        remedy = (
            f"use {' or '.join(others)}" if others else "it is the only one there: add another gateway to the region"
        )
        draft.report.add((*key, "to"), f"{row.to} is not of {region}, the region of {row.gateway}", remedy)
        sound = False
    return sound
