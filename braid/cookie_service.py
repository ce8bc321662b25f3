"""Gives the data plane the keys of SYN cookies, period after period."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, NoReturn

import trio

from braid.cookies import SECRET_BYTES, next_change, period_keys
from topology.model import CookiePlace, Role
from topology.vips import vip_for

if TYPE_CHECKING:
    from braid.role import NodeHandle
    from topology.model import Topology


async def run(node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Keys from the secrets of regions, or from one of this process where a gateway's region has none.

    Started when the data plane has its first keys. Follows the wall clock, as other nodes do, and the topology.
    """
    own = secrets.token_bytes(SECRET_BYTES)
    while True:
        reloaded = node.reloaded()
        situation = node.situation()
        now = time.time()
        for secret, gateways in wanted(situation.topology, situation.node, own):
            current, keys = period_keys(secret, now)
            node.set_syn_keys(current, list(keys), gateways)
        if task_status is not trio.TASK_STATUS_IGNORED:
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
        with trio.move_on_after(max(next_change(now) - now, 0.1)):
            await reloaded.wait()


def wanted(topology: Topology, name: str, own: bytes) -> list[tuple[bytes, list[int]]]:
    """Secrets that a node has cookies from, each with the gateways in whose name; a gateway's own are nobody else's."""
    node = topology.nodes[name]
    if node.role is Role.GATEWAY:
        return [(topology.regions[node.region].cookie_secret or own, [])]
    regions = dict.fromkeys(
        region
        for application in topology.applications.values()
        if application.cookie_at is CookiePlace.EDGE and vip_for(topology, name, application.name)
        for region in application.gateways
    )
    return [
        (topology.regions[region].cookie_secret, [gateway.number for gateway in topology.nodes_of(region)])
        for region in regions
    ]
