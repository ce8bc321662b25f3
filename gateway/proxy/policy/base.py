"""What every server selection policy is: it picks one of the servers that may be used now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topology.model import Target


class Load(Protocol):
    """What is known of servers now."""

    def active(self, server: Target) -> int:
        """Connections or requests under way."""
        ...

    def latency(self, server: Target) -> float:
        """Smoothed seconds to the first byte of an answer, as expected now; 0 when nothing is known."""
        ...


class ServerSelectionPolicy(Protocol):
    def pick(self, servers: Sequence[Target], load: Load, key: int) -> Target:
        """``servers`` is not empty and in the order of the file; ``key`` is 64 bits of what the hashes go by."""
        ...
