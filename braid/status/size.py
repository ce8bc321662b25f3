"""Paths that carry less than they should, in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.status.changes import clock

if TYPE_CHECKING:
    from braid.status.paths import PathStatus

LEAST = 1280
"""Bytes: IPv6's least MTU. What does not carry it is in state ``error``."""


def is_narrow(mtu: int | None, configured: int | None, state: str) -> bool:
    """Packets of the configured size do not pass."""
    return mtu is not None and (state == "error" or mtu < (configured or mtu))


def size(path: PathStatus) -> str:
    """ "1340 bytes"."""
    return f"packets below {LEAST} bytes" if path.mtu_state == "error" else f"{path.mtu} bytes"


def narrowness(path: PathStatus) -> str:
    """ "carries only 1340 bytes since 12:03:04 UTC"; empty when it carries all sizes."""
    if not is_narrow(path.mtu, path.mtu_configured, path.mtu_state):
        return ""
    return f"carries only {size(path)}" + (f" since {clock(path.mtu_since)}" if path.mtu_since is not None else "")
