"""The seam to the Rust core: commands and desired state down, events and counters up. Only it imports ``dataplane``.

``CoreApi`` is the native class's own surface, so a fake in a test is one plain class. The functions below give its
tuples and JSON their types.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol, assert_never

import trio

from braid.desired import MAX_PATH_ID
from braid.events import (
    ConnectionEnded,
    ConnectionHeld,
    Control,
    CoreEvent,
    Down,
    Established,
    Failed,
    Initiation,
    Losses,
    Rekey,
    SentOn,
    ServiceRequest,
    Stream,
    Up,
)
from braid.status.merge import merge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from braid.desired import Desired
    from dataplane import _native

RoleName = Literal["edge", "intermediate", "gateway", "dns", "content"]

EVENTS_PER_TURN = 256
MAX_CONTROL_BYTES = 1100


Which = Literal["steady", "all", "guests"]
"""Flows that never ask the control side; all; of all, those that were another gateway's."""


class ConnectionApi(Protocol):
    """What a gateway's proxies use of ``dataplane``'s ``Core``: connections between fast path and stack."""

    def take(self, connection: int) -> None: ...
    def open_servers(
        self, taken: list[int], wanted: list[tuple[int, str, int, bool]]
    ) -> Sequence[tuple[str, int] | None]: ...
    def hold(self, connection: int) -> bool: ...
    def splice(
        self, connection: int, client: bytes, server: bytes, to_client: bytes, to_server: bytes, until: int | None
    ) -> None: ...
    def reset_connection(self, connection: int) -> None: ...
    def adopt(self, record: bytes, guest: bool = False) -> int | None: ...


class FlowApi(Protocol):
    """What a gateway that is drained, or takes over flows, uses of ``dataplane``'s ``Core``."""

    def copy_flows(
        self, shard: int, pools: list[str], which: Which, start: int, since: int
    ) -> tuple[list[bytes], int, int, int, int | None, int]: ...
    def tell_flow(self, connection: int, pools: list[str], which: Which) -> tuple[int, bytes] | None: ...
    def leave_flow(self, connection: int) -> None: ...
    def forget_given(self, shard: int, start: int, everything: bool) -> int | None: ...
    def take_flows(self, shard: int, piece: bytes) -> tuple[int, int, int, str]: ...


class LineApi(Protocol):
    """What a content proxy, whose decisions are made in another process, uses of ``dataplane``'s ``Core``."""

    def open_line(self, hears: int, says: int, kinds: bytes) -> None: ...
    def close_line(self) -> None: ...
    def line_is_bad(self) -> bool: ...


class Hold(Protocol):
    """What the data threads will have said."""

    def wait(self) -> bool: ...


class OfferApi(Protocol):
    """What a gateway that offers connections to content proxies uses of ``dataplane``'s ``Core``."""

    def offer(
        self,
        fd: int,
        head: bytes | None,
        offer: tuple[bytes, int, bytes],
        proxy: int,
    ) -> tuple[int, bytes, tuple[int, int], tuple[int, int], int, Hold, bool]: ...
    def offers_of(self, relay: _native.Relay, stored: _native.Stored, deadline: int) -> None: ...


class CoreApi(ConnectionApi, FlowApi, LineApi, OfferApi, Protocol):
    """What the node uses of ``dataplane``'s ``Core``; its contracts are in ``dataplane/_native.pyi``."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def event_fd(self) -> int: ...
    def events(self, limit: int = EVENTS_PER_TURN) -> Sequence[_native.Event]: ...
    def let_wait(self, kinds: bytes) -> None: ...
    def last_turn(self) -> int: ...
    def configure(self, desired: str) -> None: ...
    def set_syn_keys(self, current: int, keys: list[tuple[int, bytes]], gateways: list[int]) -> None: ...
    def initiate(self, peer: int, adjacent: bool, peer_static: bytes, certificate: bytes) -> None: ...
    def accept(self, initiation: int) -> None: ...
    def refuse(self, initiation: int, reason: str) -> None: ...
    def close_session(self, peer: int, adjacent: bool) -> None: ...
    def send_control(self, peer: int, adjacent: bool, message: bytes, wait: bool = True) -> bool: ...
    def tell(self, messages: list[tuple[int, bytes]]) -> None: ...
    def set_owner(self, client: tuple[str, int], vip: tuple[str, int], owner: str, wait: bool = True) -> bool: ...
    def snapshot(self, whole: bool = True) -> str: ...
    def arrivals(self) -> str: ...
    def flows(self, limit: int = 1000) -> str: ...


def open_core(
    *,
    role: RoleName,
    number: int,
    private_key: bytes,
    listen: Sequence[tuple[str, int]],
    tun_fds: Sequence[int],
    mtu: int,
    udp_gso: bool,
    udp_gro: bool,
    tun_offload: bool,
    rate_mbit: int,
    receive_us: int,
    send_us: int,
    shards: int,
) -> CoreApi:
    """Bind each shard's sockets, adopt the TUN queues, none or one for each shard.

    OSError says what failed; ImportError: the core is not built.
    """
    from dataplane import Core

    return Core(
        role=role,
        number=number,
        private_key=private_key,
        listen=list(listen),
        tun_fds=list(tun_fds),
        mtu=mtu,
        udp_gso=udp_gso,
        udp_gro=udp_gro,
        tun_offload=tun_offload,
        rate_mbit=rate_mbit,
        receive_us=receive_us,
        send_us=send_us,
        shards=shards,
    )


def typed_event(raw: _native.Event) -> CoreEvent:
    # Where there are many, it is these.
    match raw:
        case ("service_request", connection, _app, _edge, client, server, _held, held_at, guest):
            return ServiceRequest(connection, client, server, held_at / 1e9, guest)
        case ("held", connection, at):
            return ConnectionHeld(connection, at / 1e9)
        case ("ended", connection, why, bytes_in, bytes_out):
            return ConnectionEnded(connection, why, bytes_in, bytes_out)
        case ("initiation", number, peer, adjacent, static_key, certificate):
            return Initiation(number, peer, adjacent, static_key, certificate)
        case ("established", peer, adjacent, epoch, initiator, boot):
            return Established(peer, adjacent, epoch, initiator, boot)
        case ("up", peer, adjacent):
            return Up(peer, adjacent)
        case ("down", peer, adjacent):
            return Down(peer, adjacent)
        case ("rekey", peer, adjacent):
            return Rekey(peer, adjacent)
        case ("control", peer, adjacent, message):
            return Control(peer, adjacent, message)
        case ("losses", peer, seconds, streams, lost, both, sent, delays):
            return Losses(
                peer,
                seconds,
                tuple(Stream(number, _paths(on), *counts) for number, on, *counts in streams),
                dict(lost),
                {(one, other): count for one, other, count in both},
                tuple(SentOn(*counts) for counts in sent),
                {path: microseconds / 1e6 for path, microseconds in delays},
            )
        case ("failed", message):
            return Failed(message)
        case _:
            assert_never(raw)


def _paths(bits: int) -> frozenset[int]:
    return frozenset(path for path in range(MAX_PATH_ID + 1) if bits >> path & 1)


def read_snapshot(core: CoreApi, *, whole: bool = True) -> dict[str, Any]:
    """Counters and states of all shards together; ``braid.status.build`` gives them their types. Without ``whole`` the
    sessions with neighbours are left out: what looks each second can do without."""
    return merge(json.loads(core.snapshot(whole)))


def read_arrivals(core: CoreApi) -> dict[str, Any]:
    """The part of a snapshot that says which paths arrive, how long they take, and what came and went."""
    return merge(json.loads(core.arrivals()))


def read_flows(core: CoreApi, limit: int) -> list[dict[str, Any]]:
    flows: list[dict[str, Any]] = json.loads(core.flows(limit))
    return flows


def configure(core: CoreApi, desired: Desired) -> None:
    """Apply the whole desired state in one piece. ValueError: the core refuses it, which is a bug of the planner."""
    core.configure(desired.to_json())


async def pump_events(
    core: CoreApi, receive: Callable[[CoreEvent], None], settle: Callable[[], None] = lambda: None
) -> NoReturn:
    """Hand every event of the core to ``receive``, oldest first, and call ``settle`` after all that came at once. Never
    returns; what either raises ends it."""
    descriptor = core.event_fd()
    while True:
        await trio.lowlevel.wait_readable(descriptor)
        take_events(core, receive, settle)


def take_events(core: CoreApi, receive: Callable[[CoreEvent], None], settle: Callable[[], None]) -> None:
    """The same for those that are there, those that wait (``CoreApi.let_wait``) too."""
    for raw in core.events(EVENTS_PER_TURN):
        receive(typed_event(raw))
    settle()
