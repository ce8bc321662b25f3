"""What a content proxy shows of itself."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ContentStatus:
    answers: int = 0
    """Stored now, and what they occupy of the disk."""
    bytes: int = 0
    bytes_limit: int = 0
    connections: int = 0
    """Of clients, now."""
    fetches: int = 0
    """Answers being fetched that others may wait for."""
    requests: dict[str, int] = field(default_factory=dict)
    """By what became of them: hit, miss, validated, stale, passed, failed."""
    client_bytes: int = 0
    """Sent to clients."""
    origin_bytes: int = 0
    """Bodies that came from origins."""
    events: dict[str, int] = field(default_factory=dict)
    """What else happened: stored, evicted, purged, damaged, collapsed, origin_connect ..."""
