"""Conditions for being ready that several roles share. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.status.snapshot import Check
from topology.graph import neighbours
from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from braid.role import Situation


def neighbour_check(situation: Situation, roles: Iterable[Role] = (Role.INTERMEDIATE,)) -> Check:
    """At least one neighbour of these roles has a working session."""
    wanted = set(roles)
    names = [node.name for node in neighbours(situation.topology, situation.node) if node.role in wanted]
    ok = any(situation.links.neighbour_up(name) for name in names)
    return Check("neighbour", ok, "" if ok else f"no session with any neighbour of {_some(names)}")


def peer_check(situation: Situation, peers: Iterable[str]) -> Check:
    """At least one end-to-end peer can be sent to. Trivially true without peers."""
    names = list(peers)
    ok = not names or any(situation.links.peer_up(name) for name in names)
    return Check("gateway", ok, "" if ok else f"no usable session with any gateway of {_some(names)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "") if names else "the topology"
