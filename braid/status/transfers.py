"""What a gateway or a content proxy shows of connection transfers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from braid.status.durations import Durations


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """Numbers since the start, but ``open``."""

    open: int = 0
    """Being offered, moved, or coming back; at a proxy the connections that it has."""
    requests: int = 0
    """Offered by the gateway, or heard of by the proxy."""
    accepted: int = 0
    moved: int = 0
    """Served by the proxy."""
    returned: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """By reason; the origin served."""
    events: dict[str, int] = field(default_factory=dict)
    """``lost``, ``late``, ``stray``, ``expired``, ``aborted``, ``bad``, ``unstored`` (taken
    though the answer is not stored: ``mode: serve``); of connections whose proxy is gone
    ``proxy_gone``, ``resumed``, ``served_anew`` and ``reset_`` with a reason."""
    seconds: float = 0.0
    """Of all that were moved together: at a gateway from the request until the proxy had taken over, at a proxy from
    its question to the first byte of the answer."""
    durations: dict[str, int] = field(default_factory=dict)
    """How many of these took how long: by the upper bound in milliseconds, and ``inf``, each in one bucket alone."""
    bytes: int = 0
    """Proxy: sent to clients on transferred connections, which the gateway did not have to send."""
    passed_on: int = 0
    """Clients' packets that came when their connection had gone, and were sent after it."""


def transfer_status(counts: Mapping[str, int], *, open_: int, took: Durations, sent: int = 0) -> TransferStatus:
    """From the counts of either state machine."""
    words = {word: count for word, count in counts.items() if "/" not in word}
    refused = {word.partition("/")[2]: count for word, count in counts.items() if word.startswith("refused/")}
    requests = words.pop("requested", 0) + words.pop("requests", 0)
    moved = words.pop("moved", 0) + words.pop("served", 0)
    return TransferStatus(
        open=open_,
        requests=requests,
        accepted=words.pop("accepted", 0),
        moved=moved,
        returned=words.pop("returned", 0),
        refused=dict(sorted(refused.items())),
        events=dict(sorted(words.items())),
        seconds=took.seconds,
        durations=took.counts(),
        bytes=sent,
    )
