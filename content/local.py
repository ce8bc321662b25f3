"""Tells the kernel which VIPs' connections this node may have (``content.reach``)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from braid.linux import LinuxError, ip, ip_batch
from content.reach import INWARD, OUTWARD, PRIORITY, changes

if TYPE_CHECKING:
    from content.reach import Local


async def apply(before: Local, after: Local) -> list[str]:
    """Go over from one to the other; returns warnings. LinuxError when IPv4 cannot be set up."""
    await ip_batch(changes(before, after, 4), family=4)
    try:
        await ip_batch(changes(before, after, 6), family=6)
    except LinuxError as error:
        return [f"IPv6 is not available: {error}"]
    return []


async def clear() -> None:
    """Remove all of ours, also what a crash left."""
    for family in ("-4", "-6"):
        for table in (INWARD, OUTWARD):
            with suppress(LinuxError):
                await ip(family, "route", "flush", "table", table)
        with suppress(LinuxError):
            while True:
                await ip(family, "rule", "delete", "priority", PRIORITY)
