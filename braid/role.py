"""What a role adds to the node that all roles share. Each role's room has one class that is a ``Role``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    import trio

    from braid.app_numbers import AppNumbers
    from braid.core import ConnectionApi, FlowApi, Hold, LineApi, OfferApi
    from braid.delegation import Delegation
    from braid.desired import Desired
    from braid.events import ConnectionEvent, Control
    from braid.status.content import ContentStatus
    from braid.status.drain import DrainStatus
    from braid.status.flow import FlowStatus, ProxyStatus
    from braid.status.snapshot import Check, TargetStatus
    from braid.status.transfers import TransferStatus
    from braid.transfer import Reason
    from topology.model import IPAddress, IPNetwork, SocketAddress, Topology


class StartError(Exception):
    """The node cannot start on this host; the message names the remedy."""


class Links(Protocol):
    """Whom the node can reach at this moment, by node name."""

    def neighbour_up(self, name: str) -> bool: ...
    def peer_up(self, name: str) -> bool:
        """Whether packets to an end-to-end peer can be sealed and get onto a path."""
        ...

    def usable_paths(self, name: str) -> int:
        """Paths to an end-to-end peer that are in use and whose first hop answers."""
        ...

    def round_trips(self) -> Mapping[int, float]:
        """Milliseconds to end-to-end peers, by node number, on the quickest path that packets take now; those that are
        measured."""
        ...


@dataclass(frozen=True, slots=True)
class Situation:
    """What a role decides from."""

    topology: Topology
    node: str
    links: Links
    delegations: Mapping[str, Delegation] = field(default_factory=dict)
    """By content node, its own as well: what its certificate allows it."""


class SetOwner(Protocol):
    def __call__(self, client: SocketAddress, vip: SocketAddress, owner: str, wait: bool = True) -> bool: ...


class Serves(Protocol):
    """Refuses offered connections for a content proxy, by what it is told that this one serves. At first, and after
    ``forget``, it refuses none."""

    def forget(self) -> None: ...
    def add(self, told: Sequence[bytes]) -> None:
        """Each a key and what is stored under it (``content.serving.told_of``)."""
        ...

    def clock(self, now: float) -> None:
        """The time is that, in Unix seconds; to be said now and again, since it may be set."""
        ...

    def remove(self, keys: Sequence[bytes]) -> None: ...
    def refuse(self, reason: Reason | None) -> None:
        """Everything, for that reason; or only what is not served."""
        ...

    def judge(self, vip: IPAddress, gateways: Sequence[int]) -> None:
        """Connections of that VIP, if one of these nodes asks; none of them any more."""
        ...


@dataclass(frozen=True, slots=True)
class NodeHandle:
    """What a role's service may use of the node."""

    situation: Callable[[], Situation]
    replan: Callable[[], None]
    """To be called when something changed that ``complete`` depends on."""
    send_control: Callable[[str, bytes], bool]
    """To a neighbour by name; False when it has no session."""
    tell: Callable[[str, bytes], None]
    """To a neighbour by name, without waiting for word whether it could be sent."""
    send_to_peer: Callable[[str, bytes], bool]
    """To an end-to-end peer by name, along all paths of its widest set; False when it has no session. Does not wait for
    word whether it could be sent."""
    changed: Callable[[], trio.Event]
    """An event that is set at the next change of links, topology or draining."""
    reloaded: Callable[[], trio.Event]
    """An event that is set when the topology is next replaced."""
    set_syn_keys: Callable[[int, list[tuple[int, bytes]], list[int]], None]
    """As the core's."""
    set_owner: SetOwner
    """As the core's, of client and VIP."""
    hear: Callable[[], None]
    """Receive what has come and woken nobody, before something is done because it has not come."""
    held: Callable[[Hold], bool]
    """Waits for what the data threads say to an offer."""
    draining: Callable[[], bool]
    ready: Callable[[], bool]
    traffic: Callable[[], Mapping[str, int]]
    """What the data plane's IO has counted, as ``io`` of the status page; at most half a second old."""
    connections: ConnectionApi | None = None
    """The core's commands for connections between its fast path and the stack."""
    flows: FlowApi | None = None
    """The core's commands for flows that go to another gateway."""
    offers: OfferApi | None = None
    """The core's command by which a connection is offered to another node."""
    lines: LineApi | None = None
    """The core's commands for a process beside this one that decides about connections."""
    serves: Serves | None = None
    """Who refuses, for a content proxy, what it does not serve."""
    recapture: Callable[[], Awaitable[None]] | None = None
    """To be called when ``captured`` changed: the host answers for what it says now."""
    topology_file: Path | None = None
    """Where the topology comes from; a role may keep what its operator decides beside it."""


@runtime_checkable
class Steers(Protocol):
    """A role that names edges to clients."""

    def steering(self, hostname: str | None, client: str | None) -> dict[str, Any] | None:
        """The state of every application and edge, or the decision for one client of a hostname. None while there is
        none; ``ValueError`` for an argument that is wrong."""
        ...


@runtime_checkable
class Proxies(Protocol):
    """A role that ends clients' connections itself."""

    def proxied_flows(self, limit: int) -> list[FlowStatus]: ...
    def spliced(self) -> Mapping[int, str]:
        """Connections that went on in the data plane, and why they have their server."""
        ...

    def proxies(self) -> tuple[ProxyStatus, ...]: ...


@runtime_checkable
class Promotes(Protocol):
    """A role whose stack takes connections from the fast path."""

    def receive_connection(self, event: ConnectionEvent) -> None: ...
    def settle_connections(self) -> None:
        """All events that came at once were received."""
        ...


@runtime_checkable
class Stores(Protocol):
    """A role that answers from what it has stored."""

    def content(self) -> ContentStatus | None:
        """None until it has read it."""
        ...


@runtime_checkable
class Transfers(Protocol):
    """A role that gives connections to another node, or takes them over."""

    def transfers(self) -> TransferStatus | None:
        """None while the topology has none for it."""
        ...


@runtime_checkable
class Drains(Protocol):
    """A role whose connections can go to another node."""

    def remember(self, topology_file: Path, topology: Topology, node: str) -> None:
        """What an operator has decided before the node started."""
        ...

    def drain(self) -> DrainStatus: ...


@runtime_checkable
class Finishes(Protocol):
    """A role with connections that should not break off."""

    def finish(self) -> bool:
        """The node was told to stop: end what may be ended now. True while something is under way that should go on
        for a moment."""
        ...


class RoleRuntime(Protocol):
    def has_tun(self, topology: Topology, node: str) -> bool:
        """Whether packets pass between its host and the overlay. Looked at when the node starts."""
        ...

    def peers(self, topology: Topology, node: str) -> Mapping[str, frozenset[int]]:
        """End-to-end peers by name, with every fixed number of copies that some application sends there."""
        ...

    def targets_of(self, topology: Topology, node: str) -> Mapping[str, tuple[str, ...]]:
        """Of these peers, those to which applications with a target loss send, and the applications' names."""
        ...

    def captured(self, topology: Topology, node: str) -> tuple[IPNetwork, ...]:
        """Prefixes to be routed into the TUN."""
        ...

    def complete(self, desired: Desired, situation: Situation, numbers: AppNumbers) -> Desired:
        """Adds the role's own part to the neighbours and paths."""
        ...

    def checks(self, situation: Situation) -> tuple[Check, ...]:
        """Conditions for being ready."""
        ...

    def receive_control(self, control: Control, now: float) -> None: ...

    def receive_neighbour(self, number: int, up: bool, now: float) -> None:
        """A neighbour session began or ceased to work."""
        ...

    def receive_restart(self, number: int, adjacent: bool, now: float) -> None:
        """A neighbour or an end-to-end peer is another process now, perhaps without having been missed: what the one
        before was told, and what it had, is gone."""
        ...

    async def serve(self, node: NodeHandle, *, task_status: trio.TaskStatus[None]) -> None:
        """The role's own tasks; started when what they bind is bound."""
        ...

    def targets(self, topology: Topology, node: str) -> tuple[TargetStatus, ...]: ...
    def counters(self) -> Mapping[str, int]:
        """For the status page."""
        ...
