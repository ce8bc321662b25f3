"""The moments at which a node's services look at what they look at again and again: the same ones for all.

A node at rest is woken by them alone, and what a look costs is mostly that caches are cold after a pause.
"""

from __future__ import annotations

import trio


async def beat(every: float) -> None:
    """Until trio's clock comes to the next multiple of so many seconds. All that wait for the same moment run then in
    one pass of the event loop, in any order."""
    await trio.sleep_until((trio.current_time() // every + 1) * every)
