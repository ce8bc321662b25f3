"""Gives the data plane the keys of SYN cookies, period after period."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, NoReturn

import trio

from gateway.cookies import SECRET_BYTES, next_change, period_keys

if TYPE_CHECKING:
    from braid.role import NodeHandle


async def run(node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Keys from the region's secret, or from one of this process where the topology has none.

    Started when the data plane has its first keys. Follows the wall clock, as other gateways do, and the topology.
    """
    own = secrets.token_bytes(SECRET_BYTES)
    while True:
        reloaded = node.reloaded()
        situation = node.situation()
        region = situation.topology.regions[situation.topology.nodes[situation.node].region]
        now = time.time()
        current, keys = period_keys(region.cookie_secret or own, now)
        node.set_syn_keys(current, list(keys))
        if task_status is not trio.TASK_STATUS_IGNORED:
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
        with trio.move_on_after(max(next_change(now) - now, 0.1)):
            await reloaded.wait()
