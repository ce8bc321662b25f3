"""Which gateway may say what about the owner of a connection, and in which order it counts."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from braid.transfer import REMEMBER, Steer
from edge.steering import Steering, allowed
from tests.topology.test_transfers import ROW, text
from topology.model import SocketAddress
from topology.source import parse

if TYPE_CHECKING:
    from topology.model import Topology

TOPOLOGY = parse(text(ROW.replace("c-1, c-2", "c-1")), "net.yaml")
(VIP,) = TOPOLOGY.vips
CLIENT = SocketAddress(ip_address("10.1.0.10"), 4000)


def number(name: str, topology: Topology = TOPOLOGY) -> int:
    return int(topology.nodes[name].number)


STEER = Steer(b"i" * 16, 1, number("c-1"), CLIENT, SocketAddress(VIP.address, 80))


def test_a_gateway_of_the_application_gives_connections_to_proxies_of_the_routing_table() -> None:
    assert allowed(TOPOLOGY, "e-1", number("g-1"), STEER)
    assert allowed(TOPOLOGY, "e-1", number("g-1"), replace(STEER, node=None))


@pytest.mark.parametrize(
    ("sender", "message"),
    [
        ("m-1", STEER),
        ("c-1", STEER),
        ("g-1", replace(STEER, node=number("c-2"))),
        ("g-1", replace(STEER, node=number("m-1"))),
        ("g-1", replace(STEER, node=65_000)),
        ("g-1", replace(STEER, vip=SocketAddress(ip_address("10.1.0.142"), 80))),
    ],
)
def test_nobody_else_does(sender: str, message: Steer) -> None:
    assert not allowed(TOPOLOGY, "e-1", number(sender), message)


def test_what_was_said_later_counts_whenever_it_comes() -> None:
    steering, gateway = Steering(), number("g-1")
    assert steering.is_new(gateway, STEER, 0.0)
    assert steering.is_new(gateway, STEER, 0.0), "a repetition is answered again"
    assert steering.is_new(gateway, replace(STEER, id=b"j" * 16, order=2), 0.1), "also of another transfer"
    assert not steering.is_new(gateway, STEER, 0.2)
    assert steering.is_new(gateway, replace(STEER, client=SocketAddress(ip_address("10.1.0.11"), 4000)), 0.2)
    assert steering.is_new(gateway, STEER, 0.3 + REMEMBER), "forgotten"


def test_orders_wrap() -> None:
    steering, gateway = Steering(), number("g-1")
    assert steering.is_new(gateway, replace(STEER, order=0xFFFFFFFF), 0.0)
    assert steering.is_new(gateway, replace(STEER, order=0), 0.0)
    assert not steering.is_new(gateway, replace(STEER, order=0xFFFFFFFF), 0.0)
