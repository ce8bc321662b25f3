"""What gateways say about where their clients go, at an edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from braid.moves import Divert
from edge.diverts import Diverts
from topology.source import load

TOPOLOGY = load(Path("topology/examples/two-gateways.yaml"))
A, B, FAR = (int(TOPOLOGY.nodes[name].number) for name in ("gw-1-1", "gw-1-2", "gw-2-1"))
ID = b"12345678"


def test_clients_of_a_gateway_go_to_its_sibling_until_it_says_otherwise() -> None:
    diverts = Diverts()
    assert diverts.receive(TOPOLOGY, A, Divert(ID, 5, B, ("listened",))) is True
    assert diverts.receive(TOPOLOGY, A, Divert(ID, 6, B, ("listened",))) is False, "said again"
    assert diverts.of("shop", (A, B, FAR)) == ((A, B),)
    assert diverts.of("listened", (A, B)) == (), "its connections do not move"
    assert diverts.of("shop", (A,)) == (), "the other one does not serve it"
    assert diverts.receive(TOPOLOGY, A, Divert(ID, 7, 0, ())) is True
    assert diverts.of("shop", (A, B)) == ()


def test_what_was_said_before_does_not_count_when_it_comes_late() -> None:
    diverts = Diverts()
    assert diverts.receive(TOPOLOGY, A, Divert(ID, 6, 0, ())) is False
    assert diverts.receive(TOPOLOGY, A, Divert(ID, 5, B, ())) is None
    assert diverts.of("shop", (A, B)) == ()


def test_a_gateway_that_starts_again_is_believed_though_its_clock_was_set_back() -> None:
    diverts = Diverts()
    assert diverts.receive(TOPOLOGY, A, Divert(ID, 1000, B, ())) is True
    diverts.restarted(A)
    diverts.restarted(B)
    assert diverts.of("shop", (A, B)) == ((A, B),), "it may be drained still"
    assert diverts.receive(TOPOLOGY, A, Divert(ID, 20, 0, ())) is True
    assert diverts.receive(TOPOLOGY, A, Divert(ID, 19, B, ())) is None


@pytest.mark.parametrize(
    ("sender", "to"), [(A, FAR), (A, A), (A, 999), (999, B), (int(TOPOLOGY.nodes["edge-1"].number), B)]
)
def test_nobody_else_decides(sender: int, to: int) -> None:
    diverts = Diverts()
    assert diverts.receive(TOPOLOGY, sender, Divert(ID, 5, to, ())) is None
    assert diverts.of("shop", (A, B, FAR)) == ()
