"""What a role's service may do with its node: made of the control side, for ``Role.serve``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.core import take_events
from braid.role import NodeHandle

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.control import ControlPlane
    from braid.core import Which
    from topology.model import SocketAddress


def node_handle(control: ControlPlane, ready: Callable[[], bool]) -> NodeHandle:
    """Everything in it follows the node: the topology in force, the sessions of the moment."""
    return NodeHandle(
        situation=control.situation,
        replan=control.replan,
        send_control=lambda name, message: _send_control(control, name, message),
        tell=lambda name, message: _tell(control, name, message),
        send_to_peer=lambda name, message: _send_to_peer(control, name, message),
        changed=lambda: control.changed,
        reloaded=lambda: control.reloaded,
        set_syn_keys=control.core.set_syn_keys,
        set_owner=_Owners(control),
        hear=lambda: take_events(control.core, control.receive, control.settle),
        held=lambda hold: control.ask(hold.wait, False),
        draining=lambda: control.draining,
        ready=ready,
        traffic=lambda: control.traffic,
        connections=control.core,
        flows=_Flows(control),
        offers=control.core,
        lines=control.core,
    )


def _number(control: ControlPlane, name: str, *, adjacent: bool) -> int | None:
    """Of a node that there is a working session with."""
    node = control.topology.nodes.get(name)
    return None if node is None or not control.sessions.is_up(node.number, adjacent) else int(node.number)


def _send_control(control: ControlPlane, name: str, message: bytes) -> bool:
    number = _number(control, name, adjacent=True)
    return number is not None and control.ask(lambda: control.core.send_control(number, True, message), False)


def _tell(control: ControlPlane, name: str, message: bytes) -> None:
    number = _number(control, name, adjacent=True)
    if number is not None:
        control.core.tell([(number, message)])


def _send_to_peer(control: ControlPlane, name: str, message: bytes) -> bool:
    number = _number(control, name, adjacent=False)
    return number is not None and control.core.send_control(number, False, message, wait=False)


def _ends(client: SocketAddress, vip: SocketAddress) -> tuple[tuple[str, int], tuple[str, int]]:
    return (str(client.host), client.port), (str(vip.host), vip.port)


class _Flows:
    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    def copy_flows(
        self, shard: int, pools: list[str], which: Which, start: int, since: int
    ) -> tuple[list[bytes], int, int, int, int | None, int]:
        nothing: tuple[list[bytes], int, int, int, int | None, int] = ([], 0, 0, 0, None, since)
        return self._control.ask(lambda: self._control.core.copy_flows(shard, pools, which, start, since), nothing)

    def tell_flow(self, connection: int, pools: list[str], which: Which) -> tuple[int, bytes] | None:
        return self._control.ask(lambda: self._control.core.tell_flow(connection, pools, which), None)

    def leave_flow(self, connection: int) -> None:
        self._control.core.leave_flow(connection)

    def forget_given(self, shard: int, start: int, everything: bool) -> int | None:
        return self._control.ask(lambda: self._control.core.forget_given(shard, start, everything), None)

    def take_flows(self, shard: int, piece: bytes) -> tuple[int, int, int, str]:
        return self._control.ask(lambda: self._control.core.take_flows(shard, piece), (0, 0, 0, ""))


class _Owners:
    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    def __call__(self, client: SocketAddress, vip: SocketAddress, owner: str, wait: bool = True) -> bool:
        ends = _ends(client, vip)
        return self._control.ask(lambda: self._control.core.set_owner(*ends, owner, wait), False)
