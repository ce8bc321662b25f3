"""The running node as its status endpoint sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from braid.status.flow import FlowStatus
    from braid.status.picture import Choice, Overlay
    from braid.status.recorder import Recorder
    from braid.status.snapshot import Check, NodeStatus


class NodeView(Protocol):
    """Called from the trio thread; nothing here may block."""

    def snapshot(self) -> NodeStatus: ...
    def flows(self, limit: int) -> list[FlowStatus]:
        """At most ``limit`` flows, most recently used first; empty where there is no NAT table."""
        ...

    def ready(self) -> tuple[Check, ...]:
        """Everything a client's packet needs; the node is ready when all are ok."""
        ...

    def alive(self) -> Check:
        """False when only a restart helps (the data thread is stuck)."""
        ...

    @property
    def recorder(self) -> Recorder:
        """What the node remembers."""
        ...

    def steering(self, hostname: str | None, client: str | None) -> dict[str, Any] | None:
        """``braid.role.Steers``; None at a node that is no such role."""
        ...

    def overlay(self) -> tuple[Overlay, tuple[Choice, ...]]:
        """Everything the node knows of all nodes, and what carries the applications between them, worst first."""
        ...
